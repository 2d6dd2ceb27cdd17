-- Partitions leave when they are old enough, and are mended where somebody took one away.

create table audit.expired_partitions (
    name       text        not null,
    from_at    timestamptz not null,
    to_at      timestamptz not null,
    events     bigint,
    bytes      bigint,
    dropped_at timestamptz not null default now(),
    keep       interval,
    primary key (dropped_at, name)
);
comment on table audit.expired_partitions is 'Partitions of audit.events that are gone. Rows are written once, never updated.';
comment on column audit.expired_partitions.name is 'The table that it was, in the schema audit.';
comment on column audit.expired_partitions.from_at is 'First instant that it held.';
comment on column audit.expired_partitions.to_at is 'First instant after it.';
comment on column audit.expired_partitions.events is 'Events that were in it; null where somebody else dropped it.';
comment on column audit.expired_partitions.bytes is 'What its table and indexes took; null where somebody else dropped it.';
comment on column audit.expired_partitions.dropped_at is 'When it was dropped, or was found missing, by the database''s clock.';
comment on column audit.expired_partitions.keep is 'retention.keep at that time; null where somebody else dropped it.';

create table audit.retention_clock (
    one          boolean     primary key default true check (one),
    looked_at    timestamptz not null,
    steady_since timestamptz not null
);
comment on table audit.retention_clock is 'The database''s clock as retention saw it: one row. After a jump nothing is dropped for a day.';
comment on column audit.retention_clock.one is 'There is one row.';
comment on column audit.retention_clock.looked_at is 'When retention looked last.';
comment on column audit.retention_clock.steady_since is 'Since when no two looks were more than a day apart, in either direction.';

comment on table audit.runs is 'One row a run of the daemon, from its start to its end. Its signs of life, the ends in audit.access_log and the one row of audit.retention_clock are the only values of this schema that are ever updated.';

-- Serves retention, and the bursts of audit.coverage.
create index rejections_received_at on audit.rejections (received_at);

create function audit.is_attached(partition text) returns boolean
language sql stable strict
set search_path = pg_catalog, pg_temp
return exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = 'audit.events'::regclass and not i.inhdetachpending
                  and c.relnamespace = 'audit'::regnamespace and c.relname = is_attached.partition);
comment on function audit.is_attached(text) is 'Whether the table of that name in the schema audit is a partition of audit.events.';

-- Drops the oldest partition that is wholly older than `keep`, and says what became of it; else up to 10,000 rejections
-- that are. To be called again as long as it answers `dropped` or `rejections`.
--
-- Taking a partition out locks the whole history for an instant. Whoever waits for that lock makes all others wait behind
-- it, so nobody waits for longer than a tenth of a second: rather it is tried again. The files themselves are removed
-- when the locks are gone.
--
-- A clock that is wrong must not cost history. Both clocks have to agree, the database's must not have jumped within the
-- last day, and what was committed within `keep` stays, under whatever time it was received: a partition that a clock
-- which was behind has filled is as old as its last commit.
create function audit.expire(keep interval, daemon_at timestamptz,
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
        for attempt in 1..attempts loop
            begin
                perform set_config('lock_timeout', patience, true);
                perform pg_advisory_xact_lock(hashtextextended('audit.ensure_partition', 0));
                execute format('alter table audit.events detach partition audit.%I', old.name);
                execute format('drop table audit.%I', old.name);
                delete from audit.partitions p where p.name = old.name;
                insert into audit.expired_partitions (name, from_at, to_at, events, bytes, keep)
                    values (old.name, old.from_at, old.to_at, number, bytes, keep);
                outcome := 'dropped';
                return;
            exception when lock_not_available then
                perform pg_sleep(pause);
            end;
        end loop;
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
revoke all on function audit.expire(interval, timestamptz) from public;
comment on function audit.expire(interval, timestamptz) is 'Drops the oldest partition that is wholly older than keep, or rejections that are, and says what it did. The caller''s own clock has to agree with the database''s.';

-- Brings audit.partitions and the partitions of audit.events together again where somebody changed one by hand, and says
-- what it found. Those that end after `since` are needed, for what is recorded: a table that is still there and fits is
-- attached again, else another one takes its place, and what does not fit is set aside under another name. What is older is
-- only named.
create function audit.mend_partitions(since timestamptz)
returns table (partition text, from_at timestamptz, to_at timestamptz, found text, aside text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
as $$
declare
    part  record;
    kind  "char";
    index text;
    anew  boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('audit.ensure_partition', 0));

    -- Attached by hand.
    for part in
        select c.relname::text as name, b.bounds[1]::timestamptz as lo, b.bounds[2]::timestamptz as hi
          from pg_inherits i
          join pg_class c on c.oid = i.inhrelid
          join lateral (select regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \(''(.*)''\) TO \(''(.*)''\)$') as bounds) b on true
         where i.inhparent = 'audit.events'::regclass and c.relnamespace = 'audit'::regnamespace and b.bounds is not null
           and not exists (select from audit.partitions p where p.name = c.relname)
    loop
        -- What the list has there is not attached.
        delete from audit.partitions p where p.from_at < part.hi and part.lo < p.to_at and not audit.is_attached(p.name);
        insert into audit.partitions (name, from_at, to_at) values (part.name, part.lo, part.hi);
        return query select part.name, part.lo, part.hi, 'unlisted', null::text;
    end loop;

    for part in
        select p.name, p.from_at as lo, p.to_at as hi from audit.partitions p
         where not audit.is_attached(p.name) order by p.from_at
    loop
        aside := null;
        select c.relkind into kind from pg_class c where c.relnamespace = 'audit'::regnamespace and c.relname = part.name;
        if kind is not null and part.hi <= since then
            return query select part.name, part.lo, part.hi, 'detached', null::text;
            continue;
        end if;
        anew := kind is null;
        if not anew then
            begin
                if exists (select from pg_inherits i where i.inhrelid = format('audit.%I', part.name)::regclass and i.inhdetachpending) then
                    execute format('alter table audit.events detach partition audit.%I finalize', part.name);
                end if;
                execute format('alter table audit.events attach partition audit.%I for values from (%L) to (%L)', part.name, part.lo, part.hi);
                return query select part.name, part.lo, part.hi, 'attached', null::text;
            exception when check_violation or datatype_mismatch or wrong_object_type or invalid_object_definition
                        or invalid_table_definition or undefined_column then
                anew := true;
                aside := part.name || to_char(clock_timestamp(), '"_aside_"YYYYMMDDHH24MISS');
                execute format('alter table audit.%I rename to %I', part.name, aside);
                for index in select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
                              where i.indrelid = format('audit.%I', aside)::regclass loop
                    execute format('alter index audit.%I rename to %I', index, index || to_char(clock_timestamp(), '"_aside_"YYYYMMDDHH24MISS'));
                end loop;
            end;
        end if;
        if anew then
            delete from audit.partitions p where p.name = part.name;
            if aside is null then
                insert into audit.expired_partitions (name, from_at, to_at) values (part.name, part.lo, part.hi);
            end if;
            if part.hi > since then
                -- Between its neighbours it becomes as long as it was.
                perform audit.ensure_partition(part.lo, case when part.hi - part.lo <= interval '1 hour' then 'hourly' else 'daily' end);
            end if;
            return query select part.name, part.lo, part.hi,
                                case when aside is not null then 'unfit' when part.hi > since then 'missing' else 'gone' end, aside;
        end if;
    end loop;
end
$$;
revoke all on function audit.mend_partitions(timestamptz) from public;
comment on function audit.mend_partitions(timestamptz) is 'Mends what somebody did to partitions of audit.events by hand, as far as those are concerned that end after the given time, and names it.';

-- Who looked.
create table audit.access_log (
    id         bigint      generated by default as identity primary key,
    at         timestamptz not null default now(),
    role       text        not null,
    address    inet,
    os_user    text        not null,
    host       text        not null,
    command    text        not null,
    filter     jsonb       not null,
    ended_at   timestamptz,
    count      bigint
);
create index access_log_at on audit.access_log (at);
comment on table audit.access_log is 'One row for each time somebody took events out of the history, or changed it, by a command; plain reading only with access_log.reads = true. SQL of one''s own leaves none.';
comment on column audit.access_log.id is 'In the order in which they began.';
comment on column audit.access_log.at is 'When it began, by the database''s clock. The row is there before the first event is.';
comment on column audit.access_log.role is 'Which role of the database asked, as it had logged in.';
comment on column audit.access_log.address is 'From where, as the server sees it; null on a Unix socket.';
comment on column audit.access_log.os_user is 'Which user of the machine it ran on, as the command says.';
comment on column audit.access_log.host is 'The name of that machine, as the command says.';
comment on column audit.access_log.command is 'Which command.';
comment on column audit.access_log.filter is 'What was asked for: the options that choose events.';
comment on column audit.access_log.ended_at is 'When all of it had been handed out; null where it was broken off, or is under way.';
comment on column audit.access_log.count is 'Events that were handed out; null as ended_at.';

-- Readers may add to it what they do, and say how it ended, and no more.
create function audit.log_access(os_user text, host text, command text, filter jsonb) returns bigint
language sql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into audit.access_log (role, address, os_user, host, command, filter)
        values (session_user, inet_client_addr(), log_access.os_user, log_access.host, log_access.command, log_access.filter)
        returning access_log.id
$$;
revoke all on function audit.log_access(text, text, text, jsonb) from public;
comment on function audit.log_access(text, text, text, jsonb) is 'Notes in audit.access_log that somebody begins to take events out, and gives the row''s id.';

create function audit.log_access_end(access bigint, events bigint) returns boolean
language sql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with ended as (
        update audit.access_log l set ended_at = now(), count = log_access_end.events
         where l.id = log_access_end.access and l.role = session_user and l.ended_at is null
        returning 1
    )
    select exists (select from ended)
$$;
revoke all on function audit.log_access_end(bigint, bigint) from public;
comment on function audit.log_access_end(bigint, bigint) is 'Notes how many events were handed out in all; once, by the role that began.';

-- As before, and what a reader needs to say what it does.
create or replace function audit.grant_reader(reader regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant usage on schema audit to %s', reader);
    execute format('grant select on all tables in schema audit to %s', reader);
    -- What later versions of the schema add.
    execute format('alter default privileges for role %s in schema audit grant select on tables to %s',
                   (select n.nspowner::regrole from pg_namespace n where n.nspname = 'audit'), reader);
    execute format('grant execute on function audit.log_access(text, text, text, jsonb), audit.log_access_end(bigint, bigint) to %s', reader);
end
$$;
comment on function audit.grant_reader(regrole) is 'Lets a role read all of the schema audit, and leave a row in audit.access_log when it does, and nothing else. For the schema''s owner; may be repeated, and is to be after a migration.';

-- As before, and what a daemon needs to look after partitions.
create or replace function audit.grant_writer(writer regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.grant_reader(writer);
    execute format('grant insert on audit.events, audit.batches, audit.rejections, audit.runs, audit.coverage_changes, audit.deaths to %s', writer);
    execute format('grant update (seen_at, beat_at) on audit.runs to %s', writer);
    execute format('grant usage on sequence audit.event_seq to %s', writer);
    execute format('grant execute on function audit.ensure_partition(timestamptz, text), audit.ensure_order() to %s', writer);
    execute format('grant execute on function audit.mend_partitions(timestamptz), audit.expire(interval, timestamptz) to %s', writer);
end
$$;
comment on function audit.grant_writer(regrole) is 'Lets a role record: what the daemon needs beside reading. It can add to the history, change nothing of it, and remove nothing but what is older than retention.keep. For the schema''s owner; may be repeated, and is to be after a migration.';
