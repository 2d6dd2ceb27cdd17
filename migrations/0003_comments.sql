-- Comments of the columns that had none: every column of the schema is described in the database.

comment on column audit.events.event_type is 'What happened, as the envelope says; null where it says nothing usable.';
comment on column audit.events.source is 'Who produced it, as the envelope says; null where it says nothing usable.';
comment on column audit.events.exchange is 'The exchange it was published to; a U+0000 in it is kept as U+FFFD.';
comment on column audit.events.routing_key is 'The routing key it was published with; a U+0000 in it is kept as U+FFFD.';

comment on column audit.partitions.name is 'Its table in the schema audit.';
comment on column audit.partitions.from_at is 'First instant that it holds.';
comment on column audit.partitions.to_at is 'First instant after it.';
comment on column audit.partitions.created_at is 'When it was made, by the database''s clock.';

comment on column audit.batches.lane is 'The writer connection on which it was sent.';
comment on column audit.batches.number is 'Its number on that connection, counted from 1 without gaps.';

comment on column audit.rejections.lane is 'With number: the batch in audit.batches that recorded it.';
comment on column audit.rejections.number is 'With lane: the batch in audit.batches that recorded it.';
comment on column audit.rejections.ordinal is 'Its place among the rejections of that batch, from 0 on.';
comment on column audit.rejections.received_at is 'When the daemon took the delivery over, by its own clock.';
comment on column audit.rejections.detail is 'More on the reason: names of what is wrong with the body, its size and the limit, or the database''s words.';
comment on column audit.rejections.redelivered is 'The broker said that this delivery may have been handed out before.';
comment on column audit.rejections.event_id is 'The event''s id where it is a uuid.';
comment on column audit.rejections.event_key is 'The event''s id, verbatim, where it is not a uuid.';
comment on column audit.rejections.exchange is 'The exchange it was published to; a U+0000 in it is kept as U+FFFD.';
comment on column audit.rejections.routing_key is 'The routing key it was published with; a U+0000 in it is kept as U+FFFD.';
comment on column audit.rejections.properties is 'AMQP properties and headers with their types, as in audit.events.';

comment on column audit.coverage_changes.run is 'The run whose state changed.';
comment on column audit.deaths.run is 'The run that is dead.';

comment on table audit.schema_migrations is 'The steps of this schema that were applied.';
comment on column audit.schema_migrations.version is 'Number of the step.';
comment on column audit.schema_migrations.description is 'What it is about.';
comment on column audit.schema_migrations.installed_on is 'When it was applied, by the database''s clock.';
comment on column audit.schema_migrations.success is 'True: a step that fails is rolled back, and has no row.';
comment on column audit.schema_migrations.checksum is 'SHA-384 of its text.';
comment on column audit.schema_migrations.execution_time is 'Nanoseconds that it took.';
