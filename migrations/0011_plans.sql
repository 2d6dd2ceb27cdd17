-- What is planned once a session, and how.

-- A batch of one event spent a fifth of its statement on finding its place in the order: what SQL functions run is planned at
-- each call, unless it becomes a part of the statement, which a default cannot. This is planned once a session.
create or replace function audit.position() returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select pg_current_xact_id()::text::bigint + o."offset" from audit.origin o);
end
$$;

-- Among 50 million events the newest of a rare type took a second: PostgreSQL went through all the times of each partition by
-- their index, as it supposes of times it does not know that few are meant. Now the events have to come sorted by type, which
-- is what the index of the types gives, and sorting them is not allowed but for the few that are found; a range that holds one
-- type alone, since among equals there is nothing to sort.
create or replace function audit.newest(of_type text, "limit" integer default 50) returns setof audit.events
language plpgsql stable strict
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
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
                 where e.event_type ~>=~ of_type and e.event_type ~<=~ of_type
                   and e.received_at >= any (array[coalesce(lo, '-infinity')]) and e.received_at < any (array[hi])
                 order by e.event_type using ~<~
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
