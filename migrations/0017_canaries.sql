-- Canaries: events that a daemon publishes through the bus to itself. They are events like any other, stored in the same way,
-- which is what they prove; this tells which they are. The mark is made before the event is published, with all that is published,
-- so that nobody's event is taken for one by its looks.
create table audit.canaries (
    id          uuid        primary key,
    instance    text        not null,
    sent_at     timestamptz not null default clock_timestamp(),
    exchange    text        not null,
    routing_key text        not null,
    properties  jsonb       not null,
    digest      bytea       not null
);
create index canaries_sent_at on audit.canaries (sent_at);
comment on table audit.canaries is 'Canaries that daemons were about to publish. What came of one is in audit.events, under its id.';
comment on column audit.canaries.id is 'Its event id: a uuid of version 8 that begins with 63616e61-7279.';
comment on column audit.canaries.instance is 'Which daemon published it: storage.instance, or the name of its machine.';
comment on column audit.canaries.sent_at is 'When, by the database''s clock.';
comment on column audit.canaries.exchange is 'The exchange it was published to.';
comment on column audit.canaries.routing_key is 'The routing key it was published with.';
comment on column audit.canaries.properties is 'Its properties, as in audit.events.';
comment on column audit.canaries.digest is 'SHA-256 of its body.';

-- For whoever may record events, so that no role that records needs another right than before.
create function audit.send_canary(id uuid, instance text, exchange text, routing_key text, properties jsonb, digest bytea) returns void
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not has_table_privilege(session_user, 'audit.events', 'insert') then
        raise exception 'permission denied for audit.canaries' using errcode = 'insufficient_privilege';
    end if;
    insert into audit.canaries (id, instance, exchange, routing_key, properties, digest)
    values (send_canary.id, send_canary.instance, send_canary.exchange, send_canary.routing_key, send_canary.properties, send_canary.digest);
end
$$;
comment on function audit.send_canary(uuid, text, text, text, jsonb, bytea) is 'Marks a canary before it is published. For roles that may insert into audit.events.';

create function audit.expire_canaries() returns bigint
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
    -- One may have been in the queue for long: it is in the partition of the time when it was received.
    delete from audit.canaries c
     where c.id = any (array(select o.id from audit.canaries o
                              where o.sent_at < (select min(p.from_at) from audit.partitions p) - interval '30 days' order by o.sent_at limit 10000));
    get diagnostics gone = row_count;
    return gone;
end
$$;
comment on function audit.expire_canaries() is 'Deletes some marks of canaries that were sent a month before the oldest partition begins, and tells how many. For roles that may insert into audit.events.';

create function audit.is_canary(event_id uuid, conflict boolean, exchange text, routing_key text, properties json, payload json, body bytea)
returns boolean
language sql stable parallel safe
return event_id between '63616e61-7279-8000-8000-000000000000' and '63616e61-7279-8fff-bfff-ffffffffffff' and not conflict
   and exists (select from audit.canaries c
                where c.id = is_canary.event_id and c.exchange = is_canary.exchange and c.routing_key = is_canary.routing_key
                  and c.properties = is_canary.properties::jsonb
                  and c.digest = sha256(coalesce(is_canary.body, convert_to(is_canary.payload::text, 'UTF8'))));
comment on function audit.is_canary(uuid, boolean, text, text, json, json, bytea) is 'Whether an event is a canary, by all that was marked before it was published.';

create function audit.is_canary(e audit.events) returns boolean
language sql stable parallel safe
return audit.is_canary(e.event_id, e.conflict, e.exchange, e.routing_key, e.properties, e.payload, e.body);
comment on function audit.is_canary(audit.events) is 'Whether an event is a canary: select … from audit.events e where not audit.is_canary(e).';
