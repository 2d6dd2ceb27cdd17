-- Replays: what was sent back onto a bus, by whom, where to, and how far it came.

create table audit.replays (
    id            uuid        primary key,
    created_at    timestamptz not null default now(),
    role          text        not null,
    address       inet,
    os_user       text        not null,
    host          text        not null,
    filter        jsonb       not null,
    chosen_at     timestamptz[],
    chosen_seq    bigint[],
    target        jsonb       not null,
    pace          jsonb       not null,
    most          bigint,
    matched       bigint      not null,
    runner        uuid        not null,
    runs          integer     not null default 1,
    state         text        not null default 'running',
    cause         text,
    noted_at      timestamptz not null default now(),
    reached_at    timestamptz not null default '-infinity',
    reached_seq   bigint      not null default 0,
    confirmed     bigint      not null default 0,
    unroutable    bigint      not null default 0,
    nacked        bigint      not null default 0,
    refused       bigint      not null default 0,
    body_bytes    bigint      not null default 0,
    constraint states check (state in ('running', 'stopped', 'failed', 'finished')),
    constraint chosen_events check ((chosen_at is null) = (chosen_seq is null)
                                    and cardinality(chosen_at) is not distinct from cardinality(chosen_seq))
);
create index replays_created_at on audit.replays (created_at);
comment on table audit.replays is 'One row a replay, made before its first event is published. How far it came is noted while it runs, at least once a second.';
comment on column audit.replays.id is 'Its id, which every message of it carries in the header x-replay-id.';
comment on column audit.replays.created_at is 'When it began, by the database''s clock.';
comment on column audit.replays.role is 'Role of the database that began it. Later runs of it are in audit.access_log, as the first one is.';
comment on column audit.replays.address is 'From where that role was connected; null over a socket of the server''s machine.';
comment on column audit.replays.os_user is 'User of the machine it was begun on, as the program says.';
comment on column audit.replays.host is 'That machine, as the program says.';
comment on column audit.replays.filter is 'Which events, by the options of bloodbank-audit events; times are those that were meant when it began.';
comment on column audit.replays.chosen_at is 'received_at of each event that was chosen one by one, of which those that fit the filter are replayed; null where the filter alone chooses.';
comment on column audit.replays.chosen_seq is 'seq of each of them.';
comment on column audit.replays.target is 'Where to: broker, exchange or queue, and what is changed on the way.';
comment on column audit.replays.pace is 'How fast.';
comment on column audit.replays.most is 'At most so many events; null where nothing limits it.';
comment on column audit.replays.matched is 'How many events it was about when it began.';
comment on column audit.replays.runner is 'Which process has it, or had it last; each run draws an id.';
comment on column audit.replays.runs is 'How many processes have worked on it, one after the other.';
comment on column audit.replays.state is 'running, or as it was when a process died; stopped by a signal; failed, and cause says why; finished.';
comment on column audit.replays.cause is 'Why it failed.';
comment on column audit.replays.noted_at is 'When this was noted last, by the database''s clock.';
comment on column audit.replays.reached_at is 'received_at of the last event that it is done with, and with all before it.';
comment on column audit.replays.reached_seq is 'seq of that event.';
comment on column audit.replays.confirmed is 'Events that the broker has taken and put into a queue.';
comment on column audit.replays.unroutable is 'Events that the broker gave back, since no queue was bound for them.';
comment on column audit.replays.nacked is 'Events that the broker did not take, such as those that a queue had no room for.';
comment on column audit.replays.refused is 'Events that could not be published as they are.';
comment on column audit.replays.body_bytes is 'Bytes of the bodies of those that were confirmed.';

comment on table audit.runs is 'One row a run of the daemon, from its start to its end. Its signs of life, the ends in audit.access_log, the one row of audit.retention_clock and how far audit.replays came are the only values of this schema that are ever updated.';

create function audit.replay_lock(replay uuid) returns bigint
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
return hashtextextended('audit.replays ' || replay::text, 0);
comment on function audit.replay_lock(uuid) is 'The advisory lock that a process holds for as long as it works on a replay.';

-- Whoever works on a replay holds its lock: two processes on one would send everything twice.
create function audit.begin_replay(replay uuid, runner uuid, os_user text, host text, filter jsonb, chosen_at timestamptz[],
                                   chosen_seq bigint[], target jsonb, pace jsonb, most bigint, matched bigint) returns void
language sql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select pg_advisory_lock(audit.replay_lock(replay));
    insert into audit.replays (id, role, address, os_user, host, filter, chosen_at, chosen_seq, target, pace, most, matched, runner)
        values (begin_replay.replay, session_user, inet_client_addr(), begin_replay.os_user, begin_replay.host, begin_replay.filter,
                begin_replay.chosen_at, begin_replay.chosen_seq, begin_replay.target, begin_replay.pace, begin_replay.most,
                begin_replay.matched, begin_replay.runner);
$$;
revoke all on function audit.begin_replay(uuid, uuid, text, text, jsonb, timestamptz[], bigint[], jsonb, jsonb, bigint, bigint) from public;
comment on function audit.begin_replay(uuid, uuid, text, text, jsonb, timestamptz[], bigint[], jsonb, jsonb, bigint, bigint) is 'Puts a replay on record, and takes its lock for this session.';

create function audit.resume_replay(replay uuid, runner uuid, pace jsonb) returns text
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    found_state text;
begin
    if not pg_try_advisory_lock(audit.replay_lock(replay)) then
        return 'busy';
    end if;
    update audit.replays r
       set runner = resume_replay.runner, runs = r.runs + 1, state = 'running', cause = null, noted_at = now(),
           pace = coalesce(resume_replay.pace, r.pace)
     where r.id = replay and r.state <> 'finished';
    if found then
        return 'resumed';
    end if;
    select r.state into found_state from audit.replays r where r.id = replay;
    perform pg_advisory_unlock(audit.replay_lock(replay));
    return coalesce(found_state, 'unknown');
end
$$;
revoke all on function audit.resume_replay(uuid, uuid, jsonb) from public;
comment on function audit.resume_replay(uuid, uuid, jsonb) is 'Takes a replay up again, and its lock for this session: resumed; or why not, which is busy, finished or unknown.';

-- After its connection was lost a process takes the lock again, if nobody else has taken the replay up meanwhile.
create function audit.keep_replay(replay uuid, runner uuid) returns boolean
language sql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from audit.replays r where r.id = keep_replay.replay and r.runner = keep_replay.runner)
           and pg_try_advisory_lock(audit.replay_lock(replay));
$$;
revoke all on function audit.keep_replay(uuid, uuid) from public;
comment on function audit.keep_replay(uuid, uuid) is 'Takes the lock of a replay again for the process that has it; false where another one has.';

create function audit.note_replay(replay uuid, runner uuid, state text, cause text, reached_at timestamptz, reached_seq bigint,
                                  confirmed bigint, unroutable bigint, nacked bigint, refused bigint, body_bytes bigint) returns boolean
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update audit.replays r
       set state = note_replay.state, cause = note_replay.cause, noted_at = now(), reached_at = note_replay.reached_at,
           reached_seq = note_replay.reached_seq, confirmed = note_replay.confirmed, unroutable = note_replay.unroutable,
           nacked = note_replay.nacked, refused = note_replay.refused, body_bytes = note_replay.body_bytes
     where r.id = replay and r.runner = note_replay.runner;
    return found;
end
$$;
revoke all on function audit.note_replay(uuid, uuid, text, text, timestamptz, bigint, bigint, bigint, bigint, bigint, bigint) from public;
comment on function audit.note_replay(uuid, uuid, text, text, timestamptz, bigint, bigint, bigint, bigint, bigint, bigint) is 'Notes how far a replay has come; false where another process has taken it up.';

create function audit.grant_replayer(replayer regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.grant_reader(replayer);
    execute format('grant execute on function audit.begin_replay(uuid, uuid, text, text, jsonb, timestamptz[], bigint[], jsonb, jsonb, bigint, bigint), '
                   'audit.resume_replay(uuid, uuid, jsonb), audit.keep_replay(uuid, uuid), '
                   'audit.note_replay(uuid, uuid, text, text, timestamptz, bigint, bigint, bigint, bigint, bigint, bigint) to %s', replayer);
end
$$;
revoke all on function audit.grant_replayer(regrole) from public;
comment on function audit.grant_replayer(regrole) is 'Lets a role replay: read, and put replays on record. What it may publish is up to the broker. For the schema''s owner; may be repeated, and is to be after a migration.';
