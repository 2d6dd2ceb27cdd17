-- Dead letters: what was done with each, by whom and why. And the way from a message to why it was rejected.

create index rejections_body_sha256 on audit.rejections (body_sha256, received_at);

create table audit.dead_letter_actions (
    run         uuid        not null,
    number      bigint      not null,
    at          timestamptz not null default now(),
    action      text        not null,
    role        text        not null,
    address     inet,
    os_user     text        not null,
    host        text        not null,
    queue       text        not null,
    target      text,
    reason      text,
    event_id    text,
    exchange    text        not null,
    routing_key text        not null,
    died_of     text        not null,
    body_sha256 bytea       not null,
    body_bytes  bigint      not null,
    primary key (run, number),
    constraint actions check (action in ('requeued', 'discarded'))
);
create index dead_letter_actions_at on audit.dead_letter_actions (at);
create index dead_letter_actions_event_id on audit.dead_letter_actions (event_id);
comment on table audit.dead_letter_actions is 'One row a dead letter that bloodbank-audit dead-letters sent again or discarded, committed before the message left the dead-letter queue. One whose row is here and that is still in that queue was kept by an outage between.';
comment on column audit.dead_letter_actions.run is 'Which run of the command; each draws an id.';
comment on column audit.dead_letter_actions.number is 'Its number within that run, from 0 on.';
comment on column audit.dead_letter_actions.at is 'When, by the database''s clock.';
comment on column audit.dead_letter_actions.action is 'requeued: the broker has confirmed it elsewhere. discarded: it is nowhere else.';
comment on column audit.dead_letter_actions.role is 'Which role of the database did it, as it had logged in.';
comment on column audit.dead_letter_actions.address is 'From where, as the server sees it; null on a Unix socket.';
comment on column audit.dead_letter_actions.os_user is 'Which user of the machine it was done on, as the command says.';
comment on column audit.dead_letter_actions.host is 'The name of that machine, as the command says.';
comment on column audit.dead_letter_actions.queue is 'The dead-letter queue, and the broker it is at.';
comment on column audit.dead_letter_actions.target is 'Where it was sent; null where it was discarded.';
comment on column audit.dead_letter_actions.reason is 'Why, in the words of whoever did it.';
comment on column audit.dead_letter_actions.event_id is 'The event''s id, where it has one.';
comment on column audit.dead_letter_actions.exchange is 'The exchange it was published to before it died.';
comment on column audit.dead_letter_actions.routing_key is 'The routing key it was published with before it died.';
comment on column audit.dead_letter_actions.died_of is 'Why it was a dead letter, as dead-letters list shows it.';
comment on column audit.dead_letter_actions.body_sha256 is 'SHA-256 of its body, as in audit.rejections.';
comment on column audit.dead_letter_actions.body_bytes is 'Length of its body.';

comment on column audit.events.exchange is 'The exchange it was published to, empty for the default exchange; a U+0000 in it is kept as U+FFFD. Of a dead letter that was sent back to the daemon''s queue: the one it was published to at first, as x-death in properties says.';
comment on column audit.events.routing_key is 'The routing key it was published with; a U+0000 in it is kept as U+FFFD. Of a dead letter that was sent back to the daemon''s queue: the one it had at first, as x-death in properties says.';

-- The same again, after a commit whose answer was lost, changes nothing.
create function audit.record_dead_letters(run uuid, action text, os_user text, host text, queue text, target text, reason text,
                                          number bigint[], event_id text[], exchange text[], routing_key text[], died_of text[],
                                          body_sha256 bytea[], body_bytes bigint[]) returns void
language sql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into audit.dead_letter_actions (run, number, action, role, address, os_user, host, queue, target, reason, event_id, exchange,
                                           routing_key, died_of, body_sha256, body_bytes)
    select record_dead_letters.run, l.number, record_dead_letters.action, session_user, inet_client_addr(),
           record_dead_letters.os_user, record_dead_letters.host, record_dead_letters.queue, record_dead_letters.target,
           record_dead_letters.reason, l.event_id, l.exchange, l.routing_key, l.died_of, l.body_sha256, l.body_bytes
      from unnest(record_dead_letters.number, record_dead_letters.event_id, record_dead_letters.exchange,
                  record_dead_letters.routing_key, record_dead_letters.died_of, record_dead_letters.body_sha256,
                  record_dead_letters.body_bytes)
           as l (number, event_id, exchange, routing_key, died_of, body_sha256, body_bytes)
        on conflict do nothing;
$$;
revoke all on function audit.record_dead_letters(uuid, text, text, text, text, text, text, bigint[], text[], text[], text[], text[], bytea[], bigint[]) from public;
comment on function audit.record_dead_letters(uuid, text, text, text, text, text, text, bigint[], text[], text[], text[], text[], bytea[], bigint[]) is 'Puts on record what is about to be done with dead letters.';

-- As before, and what whoever deals with dead letters needs.
create or replace function audit.grant_replayer(replayer regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.grant_reader(replayer);
    execute format('grant execute on function audit.begin_replay(uuid, uuid, text, text, jsonb, timestamptz[], bigint[], jsonb, jsonb, bigint, bigint), '
                   'audit.resume_replay(uuid, uuid, jsonb), audit.keep_replay(uuid, uuid), '
                   'audit.note_replay(uuid, uuid, text, text, timestamptz, bigint, bigint, bigint, bigint, bigint, bigint), '
                   'audit.record_dead_letters(uuid, text, text, text, text, text, text, bigint[], text[], text[], text[], text[], bytea[], bigint[]) '
                   'to %s', replayer);
end
$$;
comment on function audit.grant_replayer(regrole) is 'Lets a role replay, and send dead letters again or discard them: read, and put on record what it does. What it may publish or take is up to the broker. For the schema''s owner; may be repeated, and is to be after a migration.';
