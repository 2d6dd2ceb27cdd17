-- What led to an event, and what followed from it.

-- An event on the way of a trace. Without seq: nothing is stored under that id.
create type audit.trace_step as (
    depth       integer,
    id          text,
    seq         bigint,
    received_at timestamptz,
    event_time  timestamptz,
    event_type  text,
    source      text,
    routing_key text,
    conflict    boolean,
    causes      text[],
    earliest    timestamptz,
    latest      timestamptz
);
comment on type audit.trace_step is 'Of audit.trace: an event, and between which times those that it led to are looked for.';

-- Times are given as `any (array[…])` wherever an id selects the rows. A span seems more selective to the planner than an
-- id of which it knows nothing yet, and it would read the span; so it only uses it to leave partitions out.

-- Events that follow from one of these and name it second or later. They are in another index, whose entries are costlier
-- to look up, so it is asked once for many.
create function audit.trace_joins(steps audit.trace_step[]) returns setof audit.trace_step
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_indexscan = off
set enable_bitmapscan = on
set jit = off
set max_parallel_workers_per_gather = 0
as $$
begin
    return query
        select min(s.depth) + 1, j.id, j.seq, j.received_at, j.event_time, j.event_type, j.source, j.routing_key,
               j.conflict, j.correlation_ids, null::timestamptz, null::timestamptz
          from (select p.from_at, p.to_at, array_agg(distinct s.id) as ids
                  from audit.partitions p join unnest(steps) s on s.earliest < p.to_at and s.latest >= p.from_at
                 where s.id is not null
                 group by p.from_at, p.to_at) p
         cross join lateral (
               select coalesce(e.event_id::text, e.event_key) as id, e.seq, e.received_at, e.event_time, e.event_type,
                      e.source, e.routing_key, e.conflict, e.correlation_ids
                 from audit.events e
                where cardinality(e.correlation_ids) > 1 and e.correlation_ids && p.ids
                  and e.received_at >= any (array[p.from_at]) and e.received_at < any (array[p.to_at]) offset 0) j
         cross join lateral unnest(j.correlation_ids[2:]) c (id)
          join unnest(steps) s on s.id = c.id and j.received_at >= s.earliest and j.received_at < s.latest
         where j.id is distinct from s.id
         group by j.id, j.seq, j.received_at, j.event_time, j.event_type, j.source, j.routing_key, j.conflict, j.correlation_ids;
end
$$;

create function audit.trace(
    event_id   text,
    max_depth  integer default 100,
    within     interval default '7 days',
    max_events integer default 10000)
returns table (depth integer, id text, parent text, seq bigint, received_at timestamptz, event_time timestamptz,
               event_type text, source text, routing_key text, causes text[], copies bigint, missing boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
#variable_conflict use_column
declare
    -- How much earlier than the event that led to it one may have come; and how near to it its causes are looked for first.
    early  constant interval := least(interval '1 day', within);
    wanted constant text := coalesce(audit.as_uuid(trace.event_id)::text, trace.event_id);
    start  audit.trace_step[];
    above  audit.trace_step[] := '{}';
    below  audit.trace_step[] := '{}';
    fresh  audit.trace_step[];
    edge   audit.trace_step[];
begin
    if wanted is null then
        return;
    end if;
    select array_agg((0, wanted, e.seq, e.received_at, e.event_time, e.event_type, e.source, e.routing_key, e.conflict,
                      e.correlation_ids, case when within is null then '-infinity' else e.received_at - early end,
                      case when within is null then 'infinity' else e.received_at + within end)::audit.trace_step)
      into start from audit.event(wanted) e;
    if start is null then
        start := array[(0, wanted, null, null, null, null, null, null, null, null, '-infinity', 'infinity')::audit.trace_step];
    end if;

    -- What led to it: near the event that names it, then anywhere, and on from there.
    edge := start;
    loop
        select array_agg(u::audit.trace_step) into fresh from (
            with recursive up as (
                select s.* from unnest(edge) s
                union
                select u.depth - 1, c.id, e.seq, e.received_at, e.event_time, e.event_type, e.source, e.routing_key,
                       e.conflict, e.causes, u.earliest, u.latest
                  from up u
                 cross join lateral unnest(u.causes) c (id)
                  left join lateral (
                       select e.seq, e.received_at, e.event_time, e.event_type, e.source, e.routing_key, e.conflict,
                              e.correlation_ids as causes
                         from audit.events e
                        where e.event_id = audit.as_uuid(c.id)
                          and e.received_at >= any (array[case when within is null then '-infinity' else u.received_at - early end])
                          and e.received_at < any (array[case when within is null then 'infinity' else u.received_at + early end])
                       union all
                       select e.seq, e.received_at, e.event_time, e.event_type, e.source, e.routing_key, e.conflict,
                              e.correlation_ids
                         from audit.events e
                        where e.event_key = c.id
                          and e.received_at >= any (array[case when within is null then '-infinity' else u.received_at - early end])
                          and e.received_at < any (array[case when within is null then 'infinity' else u.received_at + early end])
                       ) e on true
                 where -u.depth < max_depth and c.id is distinct from u.id
            )
            select * from up limit max_events) u;
        above := above || fresh;
        exit when within is null or cardinality(above) >= max_events;
        select array_agg((m.depth, m.id, e.seq, e.received_at, e.event_time, e.event_type, e.source, e.routing_key,
                          e.conflict, e.correlation_ids, null, null)::audit.trace_step)
          into edge
          from (select f.id, max(f.depth) as depth from unnest(fresh) f
                 where f.seq is null and f.depth < 0 group by f.id) m
         cross join lateral audit.event(m.id) e;
        exit when edge is null;
    end loop;

    -- What followed: by first causes as far as they lead, then by the others, and on from there.
    edge := start;
    loop
        select array_agg(d::audit.trace_step) into fresh from (
            with recursive down as (
                select s.* from unnest(edge) s
                union
                select d.depth + 1, e.id, e.seq, e.received_at, e.event_time, e.event_type, e.source, e.routing_key,
                       e.conflict, e.causes, case when within is null then '-infinity' else e.received_at - early end,
                       case when within is null then 'infinity' else e.received_at + within end
                  from down d
                 cross join lateral (
                       select coalesce(e.event_id::text, e.event_key) as id, e.seq, e.received_at, e.event_time,
                              e.event_type, e.source, e.routing_key, e.conflict, e.correlation_ids as causes
                         from audit.events e
                        where hashtextextended(e.correlation_ids[1], 0) = hashtextextended(d.id, 0)
                          and e.correlation_ids[1] = d.id
                          and e.received_at >= any (array[d.earliest]) and e.received_at < any (array[d.latest])) e
                 where d.depth < max_depth and e.id is distinct from d.id
            )
            select * from down limit max_events) d;
        below := below || fresh;
        exit when cardinality(below) >= max_events;
        select array_agg((j.depth, j.id, j.seq, j.received_at, j.event_time, j.event_type, j.source, j.routing_key,
                          j.conflict, j.causes, case when within is null then '-infinity' else j.received_at - early end,
                          case when within is null then 'infinity' else j.received_at + within end)::audit.trace_step)
          into edge
          from audit.trace_joins(array(select f from unnest(fresh) f where f.depth < max_depth)) j
         where not exists (select from unnest(below) b where b.seq = j.seq and b.depth <= j.depth);
        exit when edge is null;
    end loop;

    return query
        with steps as (
            select coalesce(s.id, s.seq::text || ' ') as node, s.* from unnest(above || below) s
        ), nodes as (
            select distinct on (s.node) s.*
              from steps s
             order by s.node, s.seq is null, abs(s.depth), s.depth, s.conflict, s.received_at, s.seq
        ), copies as (
            select s.node, count(distinct s.seq) as copies, array_agg(distinct c.id) as causes
              from steps s left join lateral unnest(s.causes) c (id) on true
             group by s.node
        ), parents as (
            select distinct on (n.node) n.node, p.id
              from nodes n
              join copies v on v.node = n.node
             cross join lateral unnest(n.causes || v.causes) with ordinality c (id, place)
              join nodes p on p.id = c.id and p.node <> n.node and (n.depth <= 0 or p.depth = n.depth - 1)
             order by n.node, p.seq is null, c.place
        )
        select n.depth, n.id, p.id, n.seq, n.received_at, n.event_time, n.event_type, n.source, n.routing_key, n.causes,
               v.copies, n.seq is null
          from nodes n
          join copies v on v.node = n.node
          left join parents p on p.node = n.node
         where n.seq is not null or n.depth <> 0 or exists (select from steps s where s.depth > 0)
         order by n.depth, n.received_at, n.seq, n.id;
end
$$;
comment on function audit.trace(text, integer, interval, integer) is 'What led to an event and what followed from it, by correlation ids: one row an event. depth: how many links away; negative leads to it, 0 is the event itself. parent: an event of this trace that it follows from; of what followed, the one through which it is here. causes: all that it names. copies: how many events were seen under its id; the first one is shown. missing: it is named, and not stored. What followed from an event is looked for from a day before it to within after it, or anywhere where within is null; what led to it, anywhere. No more than max_depth links, and about max_events events, nearest first, each way.';
