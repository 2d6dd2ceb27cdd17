-- What the history is asked by, and what serves it. docs/sql.md has the figures.

-- One index an id instead of one for originals and one for conflicts: whoever looks for an id finds both with it. An
-- original has no digest, and there is one of it; each conflict has its own.
do $$
declare
    partition text;
    id        text;
begin
    for partition in select p.name from audit.partitions p loop
        foreach id in array array['id', 'key'] loop
            execute format('drop index audit.%I, audit.%I', partition || '_event_' || id, partition || '_conflict_' || id);
            execute format('create unique index %I on audit.%I (%I, conflict_digest) nulls not distinct where %3$I is not null',
                           partition || '_event_' || id, partition, 'event_' || id);
        end loop;
    end loop;
end
$$;

create or replace function audit.ensure_partition(at timestamptz, granularity text, out from_at timestamptz, out to_at timestamptz)
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
    execute format('create unique index %I on audit.%I (event_id, conflict_digest) nulls not distinct where event_id is not null', partition || '_event_id', partition);
    execute format('create unique index %I on audit.%I (event_key, conflict_digest) nulls not distinct where event_key is not null', partition || '_event_key', partition);
    -- Attaching makes the indexes that are declared below.
    execute format('alter table audit.events attach partition audit.%I for values from (%L) to (%L)', partition, lo, hi);
    insert into audit.partitions (name, from_at, to_at) values (partition, lo, hi);
    from_at := lo;
    to_at := hi;
end
$$;

-- Time. Rows come in its order, so each goes to the end.
create index events_received_at on audit.events (received_at);

-- Equal entries share one: a tenth of the size, and half of the cost, of an index that also holds the time. Types and
-- keys are compared byte by byte, for which a pattern's beginning is a range.
create index events_event_type on audit.events (event_type text_pattern_ops);
create index events_routing_key on audit.events (routing_key text_pattern_ops);

-- Which stretches of the table can hold a source at all: next to nothing at ingest, where there are few sources and each
-- is nearly everywhere.
create index events_source on audit.events using brin (source text_bloom_ops (n_distinct_per_range = 64))
    with (pages_per_range = 64, autosummarize = on);

-- What an event led to. Nearly always one event leads to another, and the hash of its id is a third of it; GIN, which
-- takes more than one, is only for events that have more. New entries wait in a list, which whoever asks reads through, so it
-- is kept short; without it, events of a thousand causes take twice as long.
create index events_first_cause on audit.events (hashtextextended(correlation_ids[1], 0)) where correlation_ids[1] is not null;
create index events_causes on audit.events using gin (correlation_ids) with (gin_pending_list_limit = 512)
    where cardinality(correlation_ids) > 1;

-- What is odd, of which there is little.
create index events_odd on audit.events (received_at) where conflict or malformed;

comment on column audit.events.correlation_ids is 'Ids of the events that led to this one, without duplicates; verbatim, but for uuids, which are in their usual form. audit.caused_by(id) goes by index.';

-- A uuid as any of its spellings, which are those that the daemon reads.
create function audit.as_uuid(id text) returns uuid
language sql immutable strict parallel safe
return case when id ~ '^([0-9a-fA-F]{32}|(urn:uuid:)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[{][0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}[}])$'
            then replace(id, 'urn:uuid:', '')::uuid end;
comment on function audit.as_uuid(text) is 'The uuid that a text spells; null where it spells none.';

-- Where plans of these functions are made once a session, it is because making one for a history of months takes longer
-- than running it. Neither compiling one (jit) nor workers ever pay.

create function audit.event(id text) returns setof audit.events
language plpgsql stable strict rows 1
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    wanted uuid := audit.as_uuid(id);
begin
    if wanted is not null then
        return query select e.* from audit.events e where e.event_id = wanted order by e.received_at, e.seq;
    else
        return query select e.* from audit.events e where e.event_key = event.id order by e.received_at, e.seq;
    end if;
end
$$;
comment on function audit.event(text) is 'The event of that id, a uuid or not, and those that came under the same id with other content; the first one first.';

create function audit.caused_by(id text) returns setof audit.events
language plpgsql stable strict rows 10
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    cause text := coalesce(audit.as_uuid(id)::text, id);
begin
    return query
        select e.* from audit.events e
         where hashtextextended(e.correlation_ids[1], 0) = hashtextextended(cause, 0) and e.correlation_ids[1] = cause
        union all
        select e.* from audit.events e
         where cardinality(e.correlation_ids) > 1 and e.correlation_ids @> array[cause] and e.correlation_ids[1] <> cause
         order by received_at, seq;
end
$$;
comment on function audit.caused_by(text) is 'The events that have this id among their correlation ids: what an event led to. Of the whole history.';

-- Of a type that is frequent the newest are among the newest of all. Of any other there are not so many in a partition that
-- sorting them would be slow: those of the present partition, then of eight times as many, and so on. Left to itself the
-- planner guesses how frequent a type is, and reads months through where it guesses wrong. Times are given as
-- `any (array[…])`, so that it goes by the type, and only leaves partitions out by them.
create function audit.newest(of_type text, "limit" integer default 50) returns setof audit.events
language plpgsql stable strict
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
declare
    hi     timestamptz := 'infinity';
    lo     timestamptz := (select max(p.from_at) from audit.partitions p where p.from_at <= now());
    width  integer := 1;
    wanted integer := "limit";
    recent audit.events[];
    got    integer;
begin
    recent := array(
        select r from (select e.* from audit.events e order by e.received_at desc, e.seq desc limit 5000) r
         where r.event_type = of_type limit wanted);
    if cardinality(recent) = wanted then
        return query select r.* from unnest(recent) r order by r.received_at desc, r.seq desc;
        return;
    end if;
    loop
        return query
            select r.* from (
                select e.* from audit.events e
                 where e.event_type = of_type and e.received_at >= any (array[coalesce(lo, '-infinity')])
                   and e.received_at < any (array[hi])
                offset 0) r
             order by r.received_at desc, r.seq desc limit wanted;
        get diagnostics got = row_count;
        wanted := wanted - got;
        exit when wanted <= 0 or lo is null;
        hi := lo;
        width := width * 8;
        lo := (select min(w.from_at) from (select p.from_at from audit.partitions p where p.from_at < hi
                                            order by p.from_at desc limit width) w);
    end loop;
end
$$;
comment on function audit.newest(text, integer) is 'The newest events of a type, newest first.';

-- From one key to the next that is greater, whatever the number of events of each.
create function audit.routing_keys(pattern text, since timestamptz default '-infinity', until timestamptz default 'infinity')
returns setof text
language sql stable strict
set search_path = pg_catalog, pg_temp
set jit = off
set max_parallel_workers_per_gather = 0
as $$
    with recursive span as materialized (
        select min(p.from_at) as lo, max(p.to_at) as hi from audit.partitions p where p.to_at > since and p.from_at < until
    ), keys as (
        (select e.routing_key from span s cross join lateral (
            select e.routing_key from audit.events e where e.received_at >= s.lo and e.received_at < s.hi
             order by e.routing_key using ~<~ limit 1) e)
        union all
        select n.routing_key from keys k cross join span s cross join lateral (
            select e.routing_key from audit.events e
             where e.routing_key ~>~ k.routing_key and e.received_at >= s.lo and e.received_at < s.hi
             order by e.routing_key using ~<~ limit 1) n
    )
    select k.routing_key from keys k where audit.topic_matches(k.routing_key, pattern)
$$;
comment on function audit.routing_keys(text, timestamptz, timestamptz) is 'The routing keys that match a topic pattern, of the partitions that hold that span of time. For patterns that begin with a wildcard: routing_key = any (array(select audit.routing_keys(...))).';
