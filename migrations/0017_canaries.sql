-- Canaries: events that a daemon publishes through the bus to itself. They are events like any other, stored in the same way,
-- which is what they prove; this tells which they are. The mark is made before the event is published, with its digest, so that
-- nobody's event is taken for one by its looks.
create table audit.canaries (
    id       uuid        primary key,
    instance text        not null,
    sent_at  timestamptz not null default clock_timestamp(),
    digest   bytea       not null
);
create index canaries_sent_at on audit.canaries (sent_at);
comment on table audit.canaries is 'Canaries that daemons were about to publish. What came of one is in audit.events, under its id.';
comment on column audit.canaries.id is 'Its event id: a uuid of version 8 that begins with 63616e61-7279.';
comment on column audit.canaries.instance is 'Which daemon published it: storage.instance, or the name of its machine.';
comment on column audit.canaries.sent_at is 'When, by the database''s clock.';
comment on column audit.canaries.digest is 'SHA-256 of its body.';

-- For whoever may record events, so that no role that records needs another right than before.
create function audit.send_canary(id uuid, instance text, digest bytea) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.canaries' using errcode = 'insufficient_privilege';
    end if;
    insert into audit.canaries (id, instance, digest) values (send_canary.id, send_canary.instance, send_canary.digest);
end
$$;
comment on function audit.send_canary(uuid, text, bytea) is 'Marks a canary before it is published. For roles that may insert into audit.events.';

create function audit.expire_canaries(keep interval) returns bigint
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    gone bigint;
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.canaries' using errcode = 'insufficient_privilege';
    end if;
    -- A partition of a day goes when all of it is old enough.
    delete from audit.canaries c
     where c.id = any (array(select o.id from audit.canaries o
                              where o.sent_at < now() - expire_canaries.keep - interval '2 days' order by o.sent_at limit 10000));
    get diagnostics gone = row_count;
    return gone;
end
$$;
comment on function audit.expire_canaries(interval) is 'Deletes some marks of canaries whose events are no longer kept, and tells how many. For roles that may insert into audit.events.';

create function audit.is_canary(id uuid, payload json, body bytea) returns boolean
language sql stable parallel safe
return id between '63616e61-7279-8000-8000-000000000000' and '63616e61-7279-8fff-bfff-ffffffffffff'
   and exists (select from audit.canaries c
                where c.id = is_canary.id and c.digest = sha256(coalesce(is_canary.body, convert_to(is_canary.payload::text, 'UTF8'))));
comment on function audit.is_canary(uuid, json, bytea) is 'Whether an event is a canary, by its id and its body: where not audit.is_canary(event_id, payload, body).';
