-- Replays that came back to the daemon: which delivery was a replay of which stored event.

create table audit.replayed (
    lane         uuid        not null,
    number       bigint      not null,
    ordinal      integer     not null,
    received_at  timestamptz not null,
    replay       uuid        not null,
    original_at  timestamptz not null,
    original_seq bigint      not null,
    redelivered  boolean     not null,
    exchange     text        not null,
    routing_key  text        not null,
    primary key (lane, number, ordinal),
    foreign key (lane, number) references audit.batches (lane, number)
);
create index replayed_received_at on audit.replayed (received_at);
create index replayed_replay on audit.replayed (replay);
create index replayed_original on audit.replayed (original_at, original_seq);
comment on table audit.replayed is 'Deliveries of replays on record, each with the bytes of a stored event: neither stored again, nor duplicates, nor conflicts. One that only says so is in audit.events, with the defect not-a-replay.';
comment on column audit.replayed.lane is 'Lane of the batch it was committed in, as in audit.batches.';
comment on column audit.replayed.number is 'Number of that batch.';
comment on column audit.replayed.ordinal is 'Which replay of that batch it is, from 0 on.';
comment on column audit.replayed.received_at is 'When the daemon took it over, by its own clock.';
comment on column audit.replayed.replay is 'Which replay, as in audit.replays.';
comment on column audit.replayed.original_at is 'received_at of the event that it is a replay of.';
comment on column audit.replayed.original_seq is 'seq of that event.';
comment on column audit.replayed.redelivered is 'The broker said that this delivery may have been handed out before: then it may be here twice.';
comment on column audit.replayed.exchange is 'The exchange it was published to.';
comment on column audit.replayed.routing_key is 'The routing key it was published with.';

alter table audit.batches add column replays integer not null default 0;
comment on column audit.batches.replays is 'Deliveries of replays: each has a row in audit.replayed.';

-- For whoever may record events, so that no role that records needs another right than before.
create function audit.record_replayed(lane uuid, number bigint, received_at timestamptz[], replay uuid[], original_at timestamptz[],
                                      original_seq bigint[], redelivered boolean[], exchange text[], routing_key text[]) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.replayed' using errcode = 'insufficient_privilege';
    end if;
    insert into audit.replayed (lane, number, ordinal, received_at, replay, original_at, original_seq, redelivered, exchange, routing_key)
    select record_replayed.lane, record_replayed.number, r.ordinal - 1, r.received_at, r.replay, r.original_at, r.original_seq,
           r.redelivered, r.exchange, r.routing_key
      from unnest(record_replayed.received_at, record_replayed.replay, record_replayed.original_at, record_replayed.original_seq,
                  record_replayed.redelivered, record_replayed.exchange, record_replayed.routing_key)
           with ordinality r (received_at, replay, original_at, original_seq, redelivered, exchange, routing_key, ordinal);
end
$$;
comment on function audit.record_replayed(uuid, bigint, timestamptz[], uuid[], timestamptz[], bigint[], boolean[], text[], text[]) is 'Records deliveries of replays beside the batch they came in. For roles that may insert into audit.events.';

create view audit.events_and_replays as
select e.*, null::uuid as replay from audit.events e
union all
select e.seq, r.received_at, e.event_time, e.event_id, r.redelivered, e.conflict, e.malformed, e.event_key, e.event_type, e.source,
       r.exchange, r.routing_key, e.correlation_ids, e.defects, e.properties, e.payload, e.body, e.conflict_digest, r.replay
  from audit.replayed r
  join audit.events e on e.received_at = r.original_at and e.seq = r.original_seq;
comment on view audit.events_and_replays is 'audit.events, and each replay of one that came back: the same event, received then. Ask for a span of received_at.';
comment on column audit.events_and_replays.seq is 'Its number; of a replay that of the event that it replays.';
comment on column audit.events_and_replays.received_at is 'When it was received; of a replay when that was.';
comment on column audit.events_and_replays.event_time is 'When the producer says it happened.';
comment on column audit.events_and_replays.event_id is 'The event''s id where it is a uuid.';
comment on column audit.events_and_replays.redelivered is 'The broker said that this delivery may have been handed out before.';
comment on column audit.events_and_replays.conflict is 'As in audit.events.';
comment on column audit.events_and_replays.malformed is 'As in audit.events.';
comment on column audit.events_and_replays.event_key is 'The event''s id where it is none.';
comment on column audit.events_and_replays.event_type is 'What happened, as the envelope says.';
comment on column audit.events_and_replays.source is 'Who produced it, as the envelope says.';
comment on column audit.events_and_replays.exchange is 'The exchange it was published to; of a replay that of the replay.';
comment on column audit.events_and_replays.routing_key is 'The routing key it was published with; of a replay that of the replay.';
comment on column audit.events_and_replays.correlation_ids is 'As in audit.events.';
comment on column audit.events_and_replays.defects is 'As in audit.events.';
comment on column audit.events_and_replays.properties is 'As in audit.events; of a replay those of the event.';
comment on column audit.events_and_replays.payload is 'As in audit.events.';
comment on column audit.events_and_replays.body is 'As in audit.events.';
comment on column audit.events_and_replays.conflict_digest is 'As in audit.events.';
comment on column audit.events_and_replays.replay is 'Which replay; null for the event itself.';
