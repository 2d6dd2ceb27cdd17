-- For people. What is counted by the hour or by the day is counted for each of them apart, and a view first makes the list
-- of hours: so a condition on hour or day leaves out the partitions, and the rows, of all others.

create view audit.rates as
select h.hour, e.event_type, e.events, e.sources, e.conflicts, e.malformed
  from generate_series((select date_trunc('hour', min(p.from_at), 'UTC') from audit.partitions p),
                       (select least(max(p.to_at), now()) from audit.partitions p), interval '1 hour') h (hour)
 cross join lateral (
       select e.event_type, count(*) as events, count(distinct e.source) as sources,
              count(*) filter (where e.conflict) as conflicts, count(*) filter (where e.malformed) as malformed
         from audit.events e
        where e.received_at >= h.hour and e.received_at < h.hour + interval '1 hour'
        group by e.event_type) e;
comment on view audit.rates is 'How many events of each type came in each hour. Ask for a span of hours: where hour >= now() - interval ''1 day''.';
comment on column audit.rates.hour is 'First instant of the hour, in which the events were received.';
comment on column audit.rates.event_type is 'What happened, as the envelope says; null where it says nothing usable.';
comment on column audit.rates.events is 'How many came, conflicts included.';
comment on column audit.rates.conflicts is 'How many of them came under an id that was taken.';
comment on column audit.rates.malformed is 'How many of them are not what the envelope expects.';
comment on column audit.rates.sources is 'How many sources they came from.';

create view audit.seen as
select d.day, e.event_type, e.source, e.events, e.first_seen, e.last_seen
  from generate_series((select date_trunc('day', min(p.from_at), 'UTC') from audit.partitions p),
                       (select least(max(p.to_at), now()) from audit.partitions p), interval '24 hours') d (day)
 cross join lateral (
       select e.event_type, e.source, count(*) as events, min(e.received_at) as first_seen, max(e.received_at) as last_seen
         from audit.events e
        where e.received_at >= d.day and e.received_at < d.day + interval '24 hours'
        group by e.event_type, e.source) e;
comment on view audit.seen is 'When each type was first and last seen from each source, by day (UTC). Ask for a span of days, or for a type.';
comment on column audit.seen.day is 'First instant of the day (UTC).';
comment on column audit.seen.event_type is 'What happened, as the envelope says; null where it says nothing usable.';
comment on column audit.seen.source is 'Who produced it, as the envelope says; null where it says nothing usable.';
comment on column audit.seen.events is 'How many came on that day.';
comment on column audit.seen.first_seen is 'When the first of them was received.';
comment on column audit.seen.last_seen is 'When the last of them was received.';

create view audit.latency as
select h.hour, e.event_type, e.events, e.p50, e.p99, e.most, e.early, e.timeless
  from generate_series((select date_trunc('hour', min(p.from_at), 'UTC') from audit.partitions p),
                       (select least(max(p.to_at), now()) from audit.partitions p), interval '1 hour') h (hour)
 cross join lateral (
       select e.event_type, count(*) as events,
              percentile_cont(0.5) within group (order by e.received_at - e.event_time) as p50,
              percentile_cont(0.99) within group (order by e.received_at - e.event_time) as p99,
              max(e.received_at - e.event_time) as most,
              count(*) filter (where e.event_time > e.received_at) as early,
              count(*) filter (where e.event_time is null) as timeless
         from audit.events e
        where e.received_at >= h.hour and e.received_at < h.hour + interval '1 hour'
        group by e.event_type) e;
comment on view audit.latency is 'From the time an event says it happened to when it was received, by type and hour. The two are of different clocks. Ask for a span of hours.';
comment on column audit.latency.hour is 'First instant of the hour, in which the events were received.';
comment on column audit.latency.event_type is 'What happened, as the envelope says; null where it says nothing usable.';
comment on column audit.latency.events is 'How many came.';
comment on column audit.latency.p50 is 'Half of them took no longer.';
comment on column audit.latency.p99 is 'Ninety-nine in a hundred took no longer.';
comment on column audit.latency.most is 'The longest.';
comment on column audit.latency.early is 'How many say that they happened after they were received: a clock is wrong.';
comment on column audit.latency.timeless is 'How many say no readable time; they are in no other figure but events.';

create view audit.conflicts as
select e.received_at, e.seq, coalesce(e.event_id::text, e.event_key) as id, e.event_type, e.source, e.routing_key,
       (f.original).received_at as original_received_at, (f.original).seq as original_seq,
       array_remove(array[case when audit.raw(e) <> audit.raw(f.original) then 'body' end,
                          case when e.properties::text <> (f.original).properties::text then 'properties' end,
                          case when e.routing_key <> (f.original).routing_key then 'routing_key' end,
                          case when e.exchange <> (f.original).exchange then 'exchange' end], null) as differs
  from audit.events e
  left join lateral (
       select o.original
         from (select o as original, o.received_at, o.seq from audit.events o
                where o.event_id = e.event_id and o.conflict_digest is null
                union all
               select o, o.received_at, o.seq from audit.events o
                where o.event_key = e.event_key and o.conflict_digest is null) o
        order by o.received_at, o.seq limit 1) f on true
 where e.conflict;
comment on view audit.conflicts is 'Events that came under an id that was taken, beside the one that had it first. differs: in what. Ask for a span of received_at.';
comment on column audit.conflicts.received_at is 'When it was received.';
comment on column audit.conflicts.seq is 'Its number, as in audit.events.';
comment on column audit.conflicts.id is 'The id that was taken, as text.';
comment on column audit.conflicts.event_type is 'What happened, as the envelope says; null where it says nothing usable.';
comment on column audit.conflicts.source is 'Who produced it, as the envelope says; null where it says nothing usable.';
comment on column audit.conflicts.routing_key is 'The routing key it was published with.';
comment on column audit.conflicts.original_received_at is 'When the event that had the id first was received; null where it is gone.';
comment on column audit.conflicts.original_seq is 'Its number; null where it is gone.';
comment on column audit.conflicts.differs is 'In what the two differ: body, properties, routing_key, exchange.';

create view audit.malformed as
select e.received_at, e.seq, e.exchange, e.routing_key, e.source, coalesce(e.event_id::text, e.event_key) as id, e.defects,
       octet_length(audit.raw(e)) as body_bytes,
       regexp_replace(encode(substring(audit.raw(e) from 1 for 200), 'escape'), '[\x01-\x1f\x7f]', '.', 'g') as body_start
  from audit.events e
 where e.malformed;
comment on view audit.malformed is 'Stored events whose body is not what the envelope expects, and why. Ask for a span of received_at. Those that were rejected for it are in audit.rejections.';
comment on column audit.malformed.received_at is 'When it was received.';
comment on column audit.malformed.seq is 'Its number, as in audit.events.';
comment on column audit.malformed.exchange is 'The exchange it was published to.';
comment on column audit.malformed.routing_key is 'The routing key it was published with.';
comment on column audit.malformed.source is 'Who produced it, as the envelope says; null where it says nothing usable.';
comment on column audit.malformed.id is 'Its id as text; null where it has none.';
comment on column audit.malformed.defects is 'What is wrong, by name; ARCHITECTURE.md lists the names.';
comment on column audit.malformed.body_bytes is 'Length of the whole body.';
comment on column audit.malformed.body_start is 'The first 200 bytes, with what is not printable ASCII made so: fit for a terminal.';

-- The last interval of each type lasts until the end of the span.
create function audit.gaps(
    since  timestamptz default now() - interval '1 day',
    until  timestamptz default now(),
    factor double precision default 10)
returns table (event_type text, from_at timestamptz, to_at timestamptz, lasted interval, usually interval, events bigint)
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
    with intervals as materialized (
        select e.event_type, e.received_at as from_at, lead(e.received_at) over (partition by e.event_type order by e.received_at) as to_at
          from audit.events e
         where e.received_at >= since and e.received_at < until and e.event_type is not null
    ), regular as (
        select i.event_type, count(*) + 1 as events, percentile_cont(0.5) within group (order by i.to_at - i.from_at) as usually
          from intervals i
         where i.to_at is not null
         group by i.event_type
        having count(*) >= 20
           and percentile_cont(0.9) within group (order by i.to_at - i.from_at)
               <= 3 * percentile_cont(0.5) within group (order by i.to_at - i.from_at)
    )
    select i.event_type, i.from_at, i.to_at, coalesce(i.to_at, until) - i.from_at, r.usually, r.events
      from intervals i
      join regular r on r.event_type = i.event_type
     where r.usually > interval '0' and coalesce(i.to_at, until) - i.from_at > factor * r.usually
     order by i.from_at
$$;
comment on function audit.gaps(timestamptz, timestamptz, double precision) is 'When a type that usually comes regularly did not: times between two of its events of more than factor times the usual one. Usual is the median; regular is a type of more than 20 events in the span of whose intervals nine in ten are no more than three times that. to_at is null where none came since.';
