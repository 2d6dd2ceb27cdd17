-- What replays leave behind went never: which delivery was a replay of which event, also where that event is gone, and the events
-- that were chosen one by one for a replay, of which there may be a million. They go with the events.

create function audit.expire_replayed(cutoff timestamptz) returns bigint
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    oldest  timestamptz;
    deleted bigint;
begin
    -- Before it every event is gone. A partition that is held back holds what points into it.
    select min(p.from_at) into oldest from audit.partitions p;
    delete from audit.replayed r
     where r.ctid = any (array(select o.ctid from audit.replayed o
                                where o.original_at < oldest and o.original_at <= cutoff
                                order by o.original_at
                                limit 10000));
    get diagnostics deleted = row_count;
    return deleted;
end
$$;
revoke all on function audit.expire_replayed(timestamptz) from public;
comment on function audit.expire_replayed(timestamptz) is 'Deletes some rows of audit.replayed whose events were dropped, and tells how many. For audit.expire.';

create function audit.expire_chosen(cutoff timestamptz) returns bigint
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    emptied bigint;
begin
    -- Empty, and not null: without a list its filter alone would choose. A replay that is at work was noted just now.
    update audit.replays r
       set chosen_at = '{}', chosen_seq = '{}'
     where r.id in (select o.id from audit.replays o
                     where o.created_at <= cutoff and o.noted_at <= cutoff and cardinality(o.chosen_at) > 0
                     limit 100);
    get diagnostics emptied = row_count;
    return emptied;
end
$$;
revoke all on function audit.expire_chosen(timestamptz) from public;
comment on function audit.expire_chosen(timestamptz) is 'Empties the lists of chosen events of some replays that are older than anything is kept, and tells of how many. For audit.expire.';

comment on column audit.replays.chosen_at is 'received_at of each event that was chosen one by one, of which those that fit the filter are replayed; null where the filter alone chooses; empty once the replay is older than anything is kept.';
comment on table audit.runs is 'One row a run of the daemon, from its start to its end. Its signs of life, the ends in audit.access_log, the one row of audit.retention_clock, that of audit.origin, how far replays came and their lists of chosen events are the only values of this schema that are ever updated.';

create or replace function audit.expire(keep interval, daemon_at timestamptz,
                             out outcome text, out partition text, out from_at timestamptz, out to_at timestamptz,
                             out number bigint, out bytes bigint, out at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    patience constant text := '100ms';
    attempts constant integer := 30;
    pause    constant double precision := 0.5;
    cutoff   timestamptz;
    looked   timestamptz;
    steady   timestamptz;
    old      record;
    recent   timestamptz;
    late     boolean;
    held     record := null;
begin
    if keep is null or keep < interval '1 hour' then
        raise exception 'audit.expire: keep is %, allowed is one hour and more', keep using errcode = 'invalid_parameter_value';
    end if;
    if not pg_try_advisory_xact_lock(hashtextextended('audit.expire', 0)) then
        outcome := 'busy';
        return;
    end if;
    if abs(extract(epoch from daemon_at - now())) > 3600 then
        outcome := 'clocks-differ';
        at := now();
        return;
    end if;

    select c.looked_at, c.steady_since into looked, steady from audit.retention_clock c;
    if not found then
        steady := '-infinity';
    elsif now() not between looked - interval '1 day' and looked + interval '1 day' then
        steady := now();
    end if;
    insert into audit.retention_clock (looked_at, steady_since) values (now(), steady)
        on conflict (one) do update set looked_at = excluded.looked_at, steady_since = excluded.steady_since;
    if steady > now() - interval '1 day' then
        outcome := 'clock-jumped';
        at := steady + interval '1 day';
        return;
    end if;

    cutoff := now() - keep;
    for old in select p.name, p.from_at, p.to_at from audit.partitions p
                where p.to_at <= cutoff and p.from_at < (select max(n.from_at) from audit.partitions n)
                  and audit.is_attached(p.name)
                order by p.from_at
    loop
        partition := old.name;
        from_at := old.from_at;
        to_at := old.to_at;
        select max(b.committed_at) into recent from audit.batches b
         where b.committed_at > cutoff and b.received_from < old.to_at and b.received_to >= old.from_at;
        if recent is not null then
            -- Named where that is not just the end of the partition's own time.
            if recent > old.to_at + interval '1 day' and held is null then
                select old.name, old.from_at, old.to_at, recent as at into held;
            end if;
            continue;
        end if;
        execute format('select count(*), pg_total_relation_size(%L::regclass) from audit.%I', format('audit.%I', old.name), old.name)
            into number, bytes;
        late := false;
        for attempt in 1..attempts loop
            begin
                perform set_config('lock_timeout', patience, true);
                perform pg_advisory_xact_lock(hashtextextended('audit.ensure_partition', 0));
                -- Who was storing into it has committed by now, and nobody begins to.
                execute format('lock table audit.%I in access exclusive mode', old.name);
                if exists (select from audit.batches b
                            where b.committed_at > cutoff and b.received_from < old.to_at and b.received_to >= old.from_at) then
                    raise exception 'events came into audit.% while they were counted', old.name using errcode = 'AULAT';
                end if;
                execute format('alter table audit.events detach partition audit.%I', old.name);
                execute format('drop table audit.%I', old.name);
                delete from audit.partitions p where p.name = old.name;
                insert into audit.expired_partitions (name, from_at, to_at, events, bytes, keep)
                    values (old.name, old.from_at, old.to_at, number, bytes, keep);
                outcome := 'dropped';
                return;
            exception
                when lock_not_available then
                    perform pg_sleep(pause);
                when sqlstate 'AULAT' then
                    late := true;
                    exit;
            end;
        end loop;
        -- The next time it is held.
        continue when late;
        outcome := 'locked';
        return;
    end loop;

    delete from audit.rejections r
     where (r.lane, r.number, r.ordinal) in (
               select o.lane, o.number, o.ordinal
                 from audit.rejections o join audit.batches b on (b.lane, b.number) = (o.lane, o.number)
                where o.received_at <= cutoff and b.committed_at <= cutoff
                limit 10000);
    get diagnostics number = row_count;
    if number > 0 then
        outcome := 'rejections';
        return;
    end if;
    number := audit.expire_replayed(cutoff);
    if number > 0 then
        outcome := 'replayed';
        return;
    end if;
    number := audit.expire_chosen(cutoff);
    if number > 0 then
        outcome := 'chosen';
    elsif held is not null then
        outcome := 'held';
        partition := held.name;
        from_at := held.from_at;
        to_at := held.to_at;
        at := held.at;
    else
        outcome := 'nothing';
    end if;
end
$$;

-- Which event a replay was of, beside which replay it was.
create or replace view audit.events_and_replays as
select e.*, null::uuid as replay, null::timestamptz as original_at from audit.events e
union all
select e.seq, r.received_at, e.event_time, e.event_id, r.redelivered, e.conflict, e.malformed, e.event_key, e.event_type, e.source,
       r.exchange, r.routing_key, e.correlation_ids, e.defects, e.properties, e.payload, e.body, e.conflict_digest, r.replay,
       r.original_at
  from audit.replayed r
  join audit.events e on e.received_at = r.original_at and e.seq = r.original_seq;
comment on column audit.events_and_replays.original_at is 'received_at of the event that a replay is of, which has the same seq; null for the event itself.';
