-- Whoever fills the pending list of the index of correlation ids has to empty it, in the middle of a batch: 512 kB of it took a tenth of a
-- second, which was the slowest hundredth of all events at 10,000 a second. The least that can be set takes a hundredth.
create function audit.shorten_pending_list(partition text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    index regclass;
begin
    for index in select i.inhrelid::regclass from pg_inherits i join pg_index x on x.indexrelid = i.inhrelid
                  where i.inhparent = 'audit.events_causes'::regclass
                    and x.indrelid = format('audit.%I', shorten_pending_list.partition)::regclass
    loop
        execute format('alter index %s set (gin_pending_list_limit = 64)', index);
    end loop;
end
$$;
revoke all on function audit.shorten_pending_list(text) from public;
comment on function audit.shorten_pending_list(text) is 'Bounds what one batch may have to do for the index of correlation ids of a partition. For audit.ensure_partition: the index of the whole table cannot be changed.';

select audit.shorten_pending_list(p.name) from audit.partitions p where audit.is_attached(p.name);

-- The same as before, but for that.
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
    perform audit.shorten_pending_list(partition);
    insert into audit.partitions (name, from_at, to_at) values (partition, lo, hi);
    from_at := lo;
    to_at := hi;
end
$$;
