-- The ledger: what makes any later change of the history detectable from a few hundred bytes that are kept elsewhere.
-- docs/ledger.md has the formats.

alter table audit.batches
    add column previous  bytea,
    add column leaves    bytea,
    add column salts     bytea,
    add column signature bytea,
    add column key_id    bigint,
    -- Hashes cannot be compressed.
    alter column leaves set storage external,
    alter column salts set storage external;
comment on column audit.batches.previous is 'Hash of the header before it in its lane; null where the ledger was off.';
comment on column audit.batches.leaves is 'Leaf hashes of its events in order of seq, 32 bytes each; null where the ledger was off.';
comment on column audit.batches.salts is 'Salts of its events in order of seq, 16 bytes each. What is erased loses its salt: the only value of this table that ever changes.';
comment on column audit.batches.signature is 'Ed25519 signature of its header; null without ledger.key_file.';
comment on column audit.batches.key_id is 'Which key signed it: its key id, as in signed notes.';

-- What changes the ledger itself, or what is lawfully gone: erasures, dropped partitions, new keys, new epochs. Each is in the
-- tree. They stand in one order with the batches.
create table audit.acts (
    id        uuid        primary key,
    at        timestamptz not null,
    kind      text        not null,
    details   json        not null,
    signature bytea,
    key_id    bigint,
    position  bigint      not null default audit.position()
);
create index acts_position on audit.acts (position);
comment on table audit.acts is 'What was done to the history on purpose, each sealed like a batch. Rows are written once, never updated.';
comment on column audit.acts.id is 'A uuid of version 7.';
comment on column audit.acts.at is 'When, by the clock of whoever did it.';
comment on column audit.acts.kind is 'epoch, key, expired or erased; docs/ledger.md says what each holds.';
comment on column audit.acts.details is 'What exactly, by whom and why, as it is sealed.';
comment on column audit.acts.signature is 'Ed25519 signature of it; null without ledger.key_file.';
comment on column audit.acts.key_id is 'Which key signed it: its key id, as in signed notes.';
comment on column audit.acts.position is 'Its place among the batches; see audit.batches.position.';

-- Writers lock audit.batches before their transaction has a number: this is what the order rests on.
create function audit.act(id uuid, at timestamptz, kind text, details json, signature bytea, key_id bigint) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.ensure_order();
    lock table audit.batches in row exclusive mode;
    insert into audit.acts (id, at, kind, details, signature, key_id)
    values (act.id, act.at, act.kind, act.details, act.signature, act.key_id);
end
$$;
revoke all on function audit.act(uuid, timestamptz, text, json, bytea, bigint) from public;
comment on function audit.act(uuid, timestamptz, text, json, bytea, bigint) is 'Puts an act on record, as a part of the transaction that does it.';

-- For whoever may record events, so that no role that records needs another right than before.
create function audit.announce_expiry(id uuid, at timestamptz, details json, signature bytea, key_id bigint) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.acts' using errcode = 'insufficient_privilege';
    end if;
    perform audit.act(announce_expiry.id, announce_expiry.at, 'expired', announce_expiry.details, announce_expiry.signature,
                      announce_expiry.key_id);
end
$$;
comment on function audit.announce_expiry(uuid, timestamptz, json, bytea, bigint) is 'Puts on record that a partition is to be dropped. For roles that may insert into audit.events.';

create function audit.introduce_key(id uuid, at timestamptz, details json, signature bytea, key_id bigint) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.acts' using errcode = 'insufficient_privilege';
    end if;
    if not exists (select from audit.acts a where a.kind = 'key' and a.details ->> 'key' = introduce_key.details ->> 'key') then
        perform audit.act(introduce_key.id, introduce_key.at, 'key', introduce_key.details, introduce_key.signature,
                          introduce_key.key_id);
    end if;
end
$$;
comment on function audit.introduce_key(uuid, timestamptz, json, bytea, bigint) is 'Puts a key on record that signs from now on, unless it is. For roles that may insert into audit.events.';

-- An epoch has one tree. A new one is begun by an operator, after the database has lost what was sealed.
create table audit.epochs (
    epoch         integer     primary key,
    position_from bigint      not null,
    began_at      timestamptz not null default clock_timestamp()
);
comment on table audit.epochs is 'Trees of the ledger, one after the other.';
comment on column audit.epochs.epoch is 'From 1 on.';
comment on column audit.epochs.position_from is 'Batches and acts from this position on are in its tree.';
comment on column audit.epochs.began_at is 'When it was begun.';
-- What was stored before is not in the ledger.
insert into audit.epochs (epoch, position_from) values (1, audit.position());

create table audit.seals (
    epoch         integer     not null references audit.epochs,
    number        bigint      not null,
    tree_from     bigint      not null,
    tree_size     bigint      not null,
    position_from bigint      not null,
    position_to   bigint      not null,
    acts          integer     not null,
    batches       integer     not null,
    root          bytea       not null,
    edge          bytea       not null,
    sealed_at     timestamptz not null default clock_timestamp(),
    primary key (epoch, number)
);
create unique index seals_tree_size on audit.seals (epoch, tree_size);
create index seals_position on audit.seals (position_to);
comment on table audit.seals is 'What was appended to the tree at once. Rows are written once, never updated.';
comment on column audit.seals.epoch is 'The tree.';
comment on column audit.seals.number is 'From 1 on in each tree, without gaps.';
comment on column audit.seals.tree_from is 'Leaves of the tree before.';
comment on column audit.seals.tree_size is 'Leaves of the tree with it.';
comment on column audit.seals.position_from is 'Its batches and acts are those from this position on …';
comment on column audit.seals.position_to is '… and before this one.';
comment on column audit.seals.acts is 'How many acts those are.';
comment on column audit.seals.batches is 'How many batches those are.';
comment on column audit.seals.root is 'RFC 6962 root of the tree with it.';
comment on column audit.seals.edge is 'Hashes of the complete subtrees at the tree''s right edge, the largest first: what it takes to append to it.';
comment on column audit.seals.sealed_at is 'When, by the database''s clock.';

create table audit.nodes (
    epoch integer  not null,
    level smallint not null,
    index bigint   not null,
    hash  bytea    not null,
    primary key (epoch, level, index)
);
comment on table audit.nodes is 'Inner nodes of the tree, of 256^level leaves each: what proofs are made from. Leaves are in audit.batches.';
comment on column audit.nodes.epoch is 'The tree.';
comment on column audit.nodes.level is 'From 1 on; as the levels of tlog-tiles.';
comment on column audit.nodes.index is 'Its place in its level, from 0 on.';
comment on column audit.nodes.hash is 'RFC 6962 hash of its leaves.';

create table audit.checkpoints (
    epoch     integer     not null,
    tree_size bigint      not null,
    key_id    bigint      not null,
    note      text        not null,
    signed_at timestamptz not null default clock_timestamp(),
    primary key (epoch, tree_size, key_id)
);
comment on table audit.checkpoints is 'Signed statements of the tree''s root: C2SP tlog-checkpoints. Those that count are kept elsewhere.';
comment on column audit.checkpoints.epoch is 'The tree.';
comment on column audit.checkpoints.tree_size is 'How many leaves it speaks of.';
comment on column audit.checkpoints.key_id is 'Which key signed it.';
comment on column audit.checkpoints.note is 'The signed note.';
comment on column audit.checkpoints.signed_at is 'When, by the database''s clock.';

-- For whoever may record events, so that no role that records needs another right than before.
create function audit.seal(epoch integer, number bigint, tree_from bigint, tree_size bigint, position_from bigint, position_to bigint,
                           acts integer, batches integer, root bytea, edge bytea, levels smallint[], indexes bigint[], hashes bytea[])
returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.seals' using errcode = 'insufficient_privilege';
    end if;
    insert into audit.seals (epoch, number, tree_from, tree_size, position_from, position_to, acts, batches, root, edge)
    values (seal.epoch, seal.number, seal.tree_from, seal.tree_size, seal.position_from, seal.position_to, seal.acts, seal.batches,
            seal.root, seal.edge);
    insert into audit.nodes (epoch, level, index, hash)
    select seal.epoch, n.level, n.index, n.hash from unnest(levels, indexes, hashes) as n (level, index, hash);
end
$$;
comment on function audit.seal(integer, bigint, bigint, bigint, bigint, bigint, integer, integer, bytea, bytea, smallint[], bigint[], bytea[])
    is 'Puts a seal on record, with the nodes that are full by it. For roles that may insert into audit.events.';

create function audit.sign_checkpoint(epoch integer, tree_size bigint, key_id bigint, note text) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.checkpoints' using errcode = 'insufficient_privilege';
    end if;
    insert into audit.checkpoints (epoch, tree_size, key_id, note)
    values (sign_checkpoint.epoch, sign_checkpoint.tree_size, sign_checkpoint.key_id, sign_checkpoint.note)
    on conflict do nothing;
end
$$;
comment on function audit.sign_checkpoint(integer, bigint, bigint, text) is 'Keeps a signed checkpoint. For roles that may insert into audit.events.';

create table audit.exports (
    epoch     integer     not null,
    tree_size bigint      not null,
    sink      text        not null,
    instance  text        not null,
    receipt   text        not null,
    at        timestamptz not null default clock_timestamp(),
    primary key (epoch, tree_size, sink, instance)
);
comment on table audit.exports is 'Which checkpoints were taken where, outside this database. Rows are written once, never updated.';
comment on column audit.exports.epoch is 'The checkpoint''s epoch.';
comment on column audit.exports.tree_size is 'How many leaves it speaks of.';
comment on column audit.exports.sink is 'Where it was taken: file, log, exchange or webhook.';
comment on column audit.exports.instance is 'Which daemon handed it out.';
comment on column audit.exports.receipt is 'What was said to it there.';
comment on column audit.exports.at is 'When, by the database''s clock.';

create function audit.note_export(epoch integer, tree_size bigint, sink text, instance text, receipt text) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.exports' using errcode = 'insufficient_privilege';
    end if;
    insert into audit.exports (epoch, tree_size, sink, instance, receipt)
    values (note_export.epoch, note_export.tree_size, note_export.sink, note_export.instance, note_export.receipt)
    on conflict do nothing;
end
$$;
comment on function audit.note_export(integer, bigint, text, text, text) is 'Puts on record that a checkpoint was taken outside. For roles that may insert into audit.events.';

-- The same as before, and behind what is sealed, too: a seal ends where all was committed, which may be behind the last batch, and
-- nothing that comes later may be before that, or it would never be sealed.
create function audit.last_position() returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
return greatest((select max(b.position) from audit.batches b),
                (select max(a.position) from audit.acts a),
                (select s.position_to - 1 from audit.seals s order by s.epoch desc, s.number desc limit 1),
                (select max(e.position_from) - 1 from audit.epochs e));
revoke all on function audit.last_position() from public;
comment on function audit.last_position() is 'What is committed from now on comes behind this position.';

create or replace function audit.ensure_order() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    last bigint := audit.last_position();
begin
    if last < (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint + o."offset" from audit.origin o) then
        return;
    end if;
    -- No writer has a transaction, or gets one, before this one ends.
    lock table audit.batches in exclusive mode;
    last := audit.last_position();
    update audit.origin o set "offset" = last + 1 - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
     where last >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + o."offset";
end
$$;

-- Where the ledger is on, it says of a partition that it goes before it goes.
create function audit.is_announced(partition text, from_at timestamptz, to_at timestamptz) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return (select bool_and(a.position < (select max(s.position_to) from audit.seals s))
          from audit.acts a
         where a.kind = 'expired' and a.details ->> 'partition' = is_announced.partition
           and (a.details ->> 'from')::timestamptz = is_announced.from_at and (a.details ->> 'to')::timestamptz = is_announced.to_at);
comment on function audit.is_announced(text, timestamptz, timestamptz) is 'Whether all is sealed that was put on record of dropping this partition; null where nothing was.';
create index acts_expired on audit.acts ((details ->> 'partition')) where kind = 'expired';
-- Serves who looks for the batch of an event.
create index batches_first_seq on audit.batches (first_seq);
create index acts_erased on audit.acts (((details ->> 'seq')::bigint)) where kind = 'erased';
create function audit.is_erased(seq bigint, received_at timestamptz) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from audit.acts a
                where a.kind = 'erased' and (a.details ->> 'seq')::bigint = is_erased.seq
                  and (a.details ->> 'received_at')::timestamptz = is_erased.received_at);
comment on function audit.is_erased(bigint, timestamptz) is 'Whether the body of that event was erased on purpose.';
create index acts_key on audit.acts ((details ->> 'key')) where kind = 'key';

create function audit.has_leaves(from_at timestamptz, to_at timestamptz) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return exists (select from audit.batches b
                where b.received_from < has_leaves.to_at and b.received_to >= has_leaves.from_at and b.leaves is not null);
comment on function audit.has_leaves(timestamptz, timestamptz) is 'Whether the ledger covers events that were received in [from_at, to_at).';

-- The same as before, but for what the ledger has to say first. In the setting audit.ledger whoever asks tells what that is:
-- announced, that it is on record, or sealed, that this is sealed.
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
    ledger   constant text := current_setting('audit.ledger', true);
    covered  boolean;
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
        covered := ledger in ('sealed', 'announced') and audit.has_leaves(old.from_at, old.to_at);
        if covered and ledger = 'sealed' and audit.is_announced(old.name, old.from_at, old.to_at) is false then
            outcome := 'unsealed';
            return;
        end if;
        execute format('select count(*), pg_total_relation_size(%L::regclass) from audit.%I', format('audit.%I', old.name), old.name)
            into number, bytes;
        -- Also where it is not any more what was announced.
        if covered and not exists (select from audit.acts a
                                    where a.kind = 'expired' and a.details ->> 'partition' = old.name
                                      and (a.details ->> 'from')::timestamptz = old.from_at
                                      and (a.details ->> 'to')::timestamptz = old.to_at
                                      and (a.details ->> 'events')::bigint = number) then
            outcome := 'due';
            return;
        end if;
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
