-- The history: events, the batches they were committed in, and what was rejected.
-- Everything is schema-qualified, so that no reader's or writer's search_path matters.

comment on schema audit is 'History of an event bus, written by bloodbank-audit';

-- Each writer takes a block of 10,000 numbers and hands them out itself, in order of arrival: a number is
-- known before the row is written, and a commit costs no trip for it. The unused rest of a block is a gap,
-- which means nothing.
create sequence audit.event_seq as bigint increment by 10000;

create table audit.events (
    seq             bigint      not null,
    received_at     timestamptz not null,
    event_time      timestamptz,
    event_id        uuid,
    redelivered     boolean     not null,
    conflict        boolean     not null,
    malformed       boolean     not null,
    event_key       text,
    event_type      text,
    source          text,
    exchange        text        not null,
    routing_key     text        not null,
    correlation_ids text[]      not null,
    defects         text[],
    properties      json        not null,
    payload         json,
    body            bytea,
    conflict_digest bytea,
    constraint body_in_one_column check ((payload is null) <> (body is null)),
    constraint digest_of_conflicts check (conflict = (conflict_digest is not null))
) partition by range (received_at);

comment on table audit.events is 'One row a stored event. Rows are written once, never updated.';
comment on column audit.events.seq is 'Order of arrival at one writer; gaps mean nothing.';
comment on column audit.events.received_at is 'When the daemon took the delivery over, by its own clock. The table is partitioned by it.';
comment on column audit.events.event_time is 'When the producer says it happened; null where it says nothing readable. A time without zone is taken as UTC.';
comment on column audit.events.event_id is 'The event''s id where it is a uuid.';
comment on column audit.events.event_key is 'The event''s id, verbatim, where it is not a uuid.';
comment on column audit.events.redelivered is 'The broker said that this delivery may have been handed out before.';
comment on column audit.events.conflict is 'Another event with the same id but a different body, properties, exchange or routing key was stored before.';
comment on column audit.events.malformed is 'The body is not what the configured envelope expects. It is stored all the same.';
comment on column audit.events.correlation_ids is 'Ids of the events that led to this one, as published, without duplicates.';
comment on column audit.events.defects is 'What was unusual about this event, by name; null where nothing was. ARCHITECTURE.md lists the names.';
comment on column audit.events.properties is 'AMQP properties and headers with their types. A header whose type JSON cannot tell is named in header_types.';
comment on column audit.events.payload is 'The whole body, verbatim, where it is JSON that every SQL operator can read.';
comment on column audit.events.body is 'The whole body, verbatim, where it is anything else. audit.raw(events) gives the bytes of either.';

comment on column audit.events.conflict_digest is 'Of a conflict: SHA-256 of what makes it this event, so that the same conflict is stored once.';

-- The partitions of audit.events and what they span, kept by audit.ensure_partition.
create table audit.partitions (
    name       text        primary key,
    from_at    timestamptz not null unique,
    to_at      timestamptz not null unique,
    created_at timestamptz not null default now(),
    constraint span check (from_at < to_at)
);
comment on table audit.partitions is 'Partitions of audit.events: each holds received_at in [from_at, to_at).';

-- One row a transaction. A lane is one writer connection's life; its transactions are numbered from 1 without
-- gaps. After a commit whose answer was lost the same transaction is sent again: the duplicate key tells that
-- the first one had committed.
create table audit.batches (
    lane         uuid        not null,
    number       bigint      not null,
    committed_at timestamptz not null default now(),
    first_seq    bigint,
    events       integer     not null,
    conflicts    integer     not null,
    duplicates   integer     not null,
    rejections   integer     not null,
    body_bytes   bigint      not null,
    primary key (lane, number)
);
-- Serves "when was anything committed last", which bounds how far back a redelivery is looked for.
create index batches_committed_at on audit.batches (committed_at);
comment on table audit.batches is 'One row a committed transaction: what it stored, counted and rejected.';
comment on column audit.batches.committed_at is 'Start of the transaction, by the database''s clock.';
comment on column audit.batches.first_seq is 'seq of its first event; its events hold first_seq … first_seq + events - 1. Null without events.';
comment on column audit.batches.events is 'Events stored by this transaction, conflicts included.';
comment on column audit.batches.conflicts is 'How many of them carry an id that was stored before with different content.';
comment on column audit.batches.duplicates is 'Deliveries of events that were already stored, byte for byte: counted, not stored again.';
comment on column audit.batches.rejections is 'Deliveries that could not be stored: each has a row in audit.rejections and goes to the dead-letter queue.';
comment on column audit.batches.body_bytes is 'Bytes of the bodies of its events.';

create table audit.rejections (
    lane        uuid        not null,
    number      bigint      not null,
    ordinal     integer     not null,
    received_at timestamptz not null,
    reason      text        not null,
    detail      text        not null,
    sqlstate    text,
    redelivered boolean     not null,
    event_id    uuid,
    event_key   text,
    exchange    text        not null,
    routing_key text        not null,
    properties  json        not null,
    body_sha256 bytea       not null,
    body_bytes  bigint      not null,
    body        bytea,
    primary key (lane, number, ordinal),
    foreign key (lane, number) references audit.batches (lane, number)
);
comment on table audit.rejections is 'Deliveries that could not be stored as events, with the reason; the message itself is in the dead-letter queue.';
comment on column audit.rejections.reason is 'malformed: the body is not what the envelope expects, and ingest.malformed is dead-letter. too-large: the body is larger than ingest.max_body. refused: the database refused the row.';
comment on column audit.rejections.sqlstate is 'The database''s error code where it refused the row.';
comment on column audit.rejections.body_sha256 is 'SHA-256 of the whole body.';
comment on column audit.rejections.body_bytes is 'Length of the whole body.';
comment on column audit.rejections.body is 'The first ingest.rejected_body bytes of the body, verbatim: all of it where body_bytes is no more.';

-- Makes sure that a partition for the given time exists and tells its span. The granularity only matters for a
-- partition that has to be made: one that exists, of whatever granularity, is used as it is, and a new one is
-- cut short where it would overlap a neighbour.
--
-- Attaching takes a weaker lock on audit.events than CREATE TABLE … PARTITION OF, which would wait for, and then
-- hold up, every reader of the history. The dedupe indexes are made on each partition, where a unique index need
-- not contain the partition key: one event an id, and beside it each conflicting one once. Those of conflicts, and
-- of ids that are no uuids, cost nothing where there are none.
create function audit.ensure_partition(at timestamptz, granularity text, out from_at timestamptz, out to_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
as $$
declare
    unit      text;
    lo        timestamptz;
    hi        timestamptz;
    partition text;
begin
    select p.from_at, p.to_at into from_at, to_at from audit.partitions p where p.from_at <= at and at < p.to_at;
    if found then
        return;
    end if;

    perform pg_advisory_xact_lock(hashtextextended('audit.ensure_partition', 0));
    select p.from_at, p.to_at into from_at, to_at from audit.partitions p where p.from_at <= at and at < p.to_at;
    if found then
        return;
    end if;

    unit := case granularity when 'daily' then 'day' when 'hourly' then 'hour' end;
    if unit is null then
        raise exception 'audit.ensure_partition: granularity is %, allowed are daily and hourly', granularity
            using errcode = 'invalid_parameter_value';
    end if;
    lo := date_trunc(unit, at);
    hi := lo + ('1 ' || unit)::interval;
    lo := greatest(lo, (select max(p.to_at) from audit.partitions p where p.to_at <= at));
    hi := least(hi, (select min(p.from_at) from audit.partitions p where p.from_at > at));

    partition := 'events_' || to_char(lo, case unit when 'day' then 'YYYYMMDD' else 'YYYYMMDD_HH24' end);
    if exists (select from audit.partitions p where p.name = partition) then
        partition := 'events_' || to_char(lo, 'YYYYMMDD_HH24MISS');
    end if;
    execute format('create table audit.%I (like audit.events including defaults including constraints including storage)', partition);
    execute format('create unique index %I on audit.%I (event_id) where event_id is not null and not conflict', partition || '_event_id', partition);
    execute format('create unique index %I on audit.%I (event_key) where event_key is not null and not conflict', partition || '_event_key', partition);
    execute format('create unique index %I on audit.%I (event_id, conflict_digest) where event_id is not null and conflict', partition || '_conflict_id', partition);
    execute format('create unique index %I on audit.%I (event_key, conflict_digest) where event_key is not null and conflict', partition || '_conflict_key', partition);
    execute format('alter table audit.events attach partition audit.%I for values from (%L) to (%L)', partition, lo, hi);
    insert into audit.partitions (name, from_at, to_at) values (partition, lo, hi);
    from_at := lo;
    to_at := hi;
end
$$;
revoke all on function audit.ensure_partition(timestamptz, text) from public;
comment on function audit.ensure_partition(timestamptz, text) is 'Makes the partition that holds the given time where there is none, and tells its span.';

-- json keeps its text byte for byte, so the bytes of the body are those of its text.
create function audit.raw(e audit.events) returns bytea
language sql stable parallel safe
return coalesce(e.body, convert_to(e.payload::text, 'UTF8'));
comment on function audit.raw(audit.events) is 'The exact bytes of the event''s body, whichever column holds them: select audit.raw(e) from audit.events e.';
