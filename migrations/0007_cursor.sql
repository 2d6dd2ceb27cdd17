-- Reading along: every committed event once, in an order that does not change any more.
--
-- Numbers that are given at insert are seen at commit: who remembers the highest one skips what commits late. A batch is
-- ordered by the number of its transaction instead, and is handed out when no transaction with a lower one can still
-- commit a batch. Of a transaction that is under way the server tells whether it can: a writer locks audit.batches before
-- its transaction has a number, and keeps the lock until it ends.

-- A database that is restored into another server has transactions with numbers of that server. What they have to be
-- raised by, so as to follow those that were restored.
create table audit.origin (
    "offset" bigint  not null,
    one_row  boolean primary key default true check (one_row)
);
insert into audit.origin ("offset") values (0);
comment on table audit.origin is 'One row, kept by audit.ensure_order.';
comment on column audit.origin."offset" is 'What is added to the number of a transaction, so that positions go on where the history comes from another server.';
comment on column audit.origin.one_row is 'There is one row.';

create function audit.position() returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
as $$ select pg_current_xact_id()::text::bigint + o."offset" from audit.origin o $$;
comment on function audit.position() is 'Where the batch of this transaction stands in the order of audit.events_since.';

alter table audit.batches
    add column position      bigint,
    add column received_from timestamptz,
    add column received_to   timestamptz;

-- Those that are there come before all others.
update audit.batches b set position = o.position
  from (select lane, number, row_number() over (order by committed_at, lane, number) - count(*) over () as position
          from audit.batches) o
 where b.lane = o.lane and b.number = o.number;

-- Each event belongs to the batch whose first number is the last one before its own.
update audit.batches b set received_from = s.received_from, received_to = s.received_to
  from (select m.batch, min(m.received_at) as received_from, max(m.received_at) as received_to
          from (select e.received_at, max(e.first_seq) over (order by e.seq, e.first_seq nulls last) as batch
                  from (select seq, received_at, null::bigint as first_seq from audit.events
                        union all
                        select first_seq, null, first_seq from audit.batches where first_seq is not null) e) m
         group by m.batch) s
 where b.first_seq = s.batch;

alter table audit.batches
    alter column position set not null,
    alter column position set default audit.position();
create unique index batches_position on audit.batches (position);
comment on column audit.batches.position is 'Place in the order of audit.events_since: the number of its transaction. Gaps mean nothing.';
comment on column audit.batches.received_from is 'received_at of its earliest event; null without events.';
comment on column audit.batches.received_to is 'received_at of its latest event; null without events.';

create function audit.ensure_order() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    last bigint := (select max(b.position) from audit.batches b);
begin
    if last < (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint + o."offset" from audit.origin o) then
        return;
    end if;
    -- No writer has a transaction, or gets one, before this one ends.
    lock table audit.batches in exclusive mode;
    last := (select max(b.position) from audit.batches b);
    update audit.origin o set "offset" = last + 1 - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
     where last >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + o."offset";
end
$$;
revoke all on function audit.ensure_order() from public;
comment on function audit.ensure_order() is 'Makes new batches follow those that are there, in a database that was restored into another server. The daemon calls it whenever it connects.';

-- Who was under way when the snapshot was taken counts as a writer, but for those that are seen to have no lock on
-- audit.batches, other than for reading, and, after that, to be under way still: a transaction lets go of its locks one by
-- one, after it has ended.
create function audit.horizon() returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
    snapshot constant pg_snapshot := pg_current_snapshot();
    others   xid[];
begin
    if pg_snapshot_xmin(snapshot) < pg_snapshot_xmax(snapshot) then
        with locks as materialized (
            select l.virtualtransaction, l.transactionid,
                   l.relation = 'audit.batches'::regclass and l.mode <> 'AccessShareLock'
                       and l.database = (select d.oid from pg_database d where d.datname = current_database()) as writes
              from pg_locks l where l.granted and l.locktype in ('relation', 'transactionid')
        )
        select array_agg(l.transactionid) into others from locks l
         where l.transactionid is not null
           and not exists (select from locks w where w.writes and w.virtualtransaction = l.virtualtransaction);
    end if;
    return (select o."offset" from audit.origin o) + (
        select coalesce(min(x.xid), pg_snapshot_xmax(snapshot))::text::bigint from pg_snapshot_xip(snapshot) x (xid)
         where (x.xid::xid = any (others) and pg_xact_status(x.xid) = 'in progress') is not true);
end
$$;
comment on function audit.horizon() is 'All batches with a lower position have committed, or never will.';

-- A cursor names the last batch it has seen something of, how many events of it where that was not all, and the end of
-- its lane: `1234@6a4a7c0f1d11` or `1234+17@6a4a7c0f1d11`.
create function audit.events_since(cursor text default null, "limit" integer default 1000)
returns table (next text, event audit.events)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
set max_parallel_workers_per_gather = 0
as $$
#variable_conflict use_column
declare
    parts   constant text[] := regexp_match(nullif(cursor, ''), '^(-?\d{1,18})(?:\+(\d{1,9}))?@([0-9a-f]{12})$');
    horizon constant bigint := audit.horizon();
    at      bigint := parts[1];
    seen    bigint := coalesce(parts[2]::bigint, 0);
    wanted  bigint := "limit";
    last    bigint;
begin
    if cursor <> '' and parts is null then
        raise exception 'audit.events_since: % is no cursor', quote_literal(left(cursor, 100))
            using errcode = 'invalid_parameter_value',
                  hint = 'A cursor is what the column next, or audit.cursor_at, gave; null begins with the first event.';
    end if;
    if at is not null and not exists (select from audit.batches b where b.position = at and right(b.lane::text, 12) = parts[3]) then
        raise exception 'audit.events_since: the cursor % is of another history', quote_literal(cursor)
            using errcode = 'invalid_parameter_value',
                  hint = 'The database was restored, or another server took over, without the last batches that this reader has seen. '
                         'Begin anew with audit.cursor_at(time), and expect events that were seen before.';
    end if;
    -- Of a batch of which not all was seen the rest comes first.
    if seen = 0 and at is not null then
        at := at + 1;
    end if;

    -- Batches may be found of which no event is there any more.
    loop
        select max(p.position) into last
          from (select b.position, sum(b.events) over (order by b.position) - b.events as before
                  from audit.batches b
                 where b.position >= coalesce(at, -9223372036854775808) and b.position < horizon and b.events > 0
                   and exists (select from audit.partitions p where p.from_at <= b.received_to and b.received_from < p.to_at)
                 order by b.position limit wanted) p
         where p.before < wanted + seen;
        exit when last is null;
        return query
            select b.position || case when e.seq < b.first_seq + b.events - 1 then '+' || e.seq - b.first_seq + 1 else '' end
                       || '@' || right(b.lane::text, 12),
                   e.event
              from audit.batches b
             cross join lateral (
                   select e.seq, e as event from audit.events e
                    where e.received_at >= b.received_from and e.received_at <= b.received_to
                      and e.seq >= b.first_seq + case when b.position = at then seen else 0 end
                      and e.seq < b.first_seq + b.events
                    order by e.seq offset 0) e
             where b.position >= coalesce(at, -9223372036854775808) and b.position <= last and b.events > 0
             order by b.position, e.seq
             limit wanted;
        exit when found;
        at := last + 1;
        seen := 0;
    end loop;
end
$$;
comment on function audit.events_since(text, integer) is 'The committed events that follow a cursor, at most so many; next: the cursor behind each. Null begins with the first event. No row: nothing more for now. Each event comes once, and none is skipped, whoever writes, dies or keeps a transaction open meanwhile.';

create function audit.cursor_at(since timestamptz default 'infinity') returns text
language sql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
    select coalesce((
        select b.position || '@' || right(b.lane::text, 12) from audit.batches b
         where b.position < least(audit.horizon(),
                   (select min(f.position) from audit.batches f
                     where since < 'infinity' and f.received_to >= since and f.committed_at >= since - interval '1 hour'))
         order by b.position desc limit 1), '')
$$;
comment on function audit.cursor_at(timestamptz) is 'A cursor for audit.events_since before the first event that was received at this time or later; some that were received before may follow too. Without a time: behind all that is committed. The clocks of daemons may be up to an hour ahead of the database''s.';
