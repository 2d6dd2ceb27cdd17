-- Coverage: when a daemon was listening, when none was, and why.

-- Each run of a daemon holds a shared advisory lock on its id for as long as it is connected; whoever gets the
-- exclusive one knows that the run is gone.
create table audit.runs (
    run        uuid        primary key,
    instance   text        not null,
    version    text        not null,
    exchange   text        not null,
    queue      text        not null,
    started_at timestamptz not null,
    seen_at    timestamptz not null,
    beat_at    timestamptz not null default now()
);
-- Serves "which run came after this one".
create index runs_in_order on audit.runs (queue, instance, started_at);
comment on table audit.runs is 'One row a run of the daemon, from its start to its end. Its signs of life are the only values of this schema that are ever updated.';
comment on column audit.runs.run is 'Made up at the start of the process.';
comment on column audit.runs.instance is 'Which daemon: storage.instance, or the name of its machine. A run is followed by the next one of the same instance on the same queue.';
comment on column audit.runs.version is 'The program''s version.';
comment on column audit.runs.exchange is 'The exchange it records.';
comment on column audit.runs.queue is 'The queue it records from.';
comment on column audit.runs.started_at is 'Start of the process, by its own clock.';
comment on column audit.runs.seen_at is 'Its last sign of life, by its own clock. Every five seconds while PostgreSQL can be reached.';
comment on column audit.runs.beat_at is 'The same by the database''s clock.';

create table audit.coverage_changes (
    run    uuid        not null references audit.runs (run),
    number bigint      not null,
    at     timestamptz not null,
    state  text        not null,
    cause  text        not null,
    primary key (run, number)
);
comment on table audit.coverage_changes is 'One row a change of a run''s state. Rows are written once, never updated. audit.coverage shows them as spans.';
comment on column audit.coverage_changes.number is 'Changes of a run are numbered from 1.';
comment on column audit.coverage_changes.at is 'When it happened, by the daemon''s clock; it may have been written later, when PostgreSQL was back.';
comment on column audit.coverage_changes.state is 'As in audit.coverage.';
comment on column audit.coverage_changes.cause is 'What led to it.';

create table audit.deaths (
    run      uuid        not null references audit.runs (run),
    at       timestamptz not null,
    found_by uuid        not null references audit.runs (run),
    found_at timestamptz not null default now(),
    primary key (run, at)
);
comment on table audit.deaths is 'Runs that ended without saying so, as another run found out. Rows are written once, never updated.';
comment on column audit.deaths.at is 'The run''s last sign of life, by its own clock. Void where the run gave a later one after all: it had only lost its connection.';
comment on column audit.deaths.found_by is 'The run that found out.';
comment on column audit.deaths.found_at is 'When it did, by the database''s clock.';

-- A run is dead where another run found it so, or where it has been silent for a minute; and not where it gave a sign
-- of life since, or said that it stopped.
create view audit.coverage as
with ends as (
    select r.run, coalesce(s.at, case when d.run is not null or r.beat_at < now() - interval '1 minute' then r.seen_at end) as at,
           s.at is null as silent
      from audit.runs r
      left join (select c.run, max(c.at) as at from audit.coverage_changes c where c.state = 'stopped' group by c.run) s on s.run = r.run
      left join audit.deaths d on d.run = r.run and d.at >= r.seen_at
), successors as (
    select r.run, (select min(n.started_at) from audit.runs n
                    where n.instance = r.instance and n.queue = r.queue and n.run <> r.run and n.started_at >= e.at) as at
      from audit.runs r join ends e on e.run = r.run
), spans as (
    select c.run, c.at as from_at, lead(c.at) over (partition by c.run order by c.number) as to_at, c.state, c.cause
      from audit.coverage_changes c
), bursts as (
    select min(i.first_at) as from_at, max(i.last_at) + interval '1 minute' as to_at,
           string_agg(i.rejections || ' ' || i.reason, ', ' order by i.reason) as cause
      from (select g.burst, g.reason, count(*) as rejections, min(g.received_at) as first_at, max(g.received_at) as last_at
              from (select b.received_at, b.reason, count(*) filter (where b.begins) over (order by b.received_at) as burst
                      from (select j.received_at, j.reason,
                                   j.received_at - lag(j.received_at) over (order by j.received_at) > interval '1 minute' as begins
                              from audit.rejections j) b) g
             group by g.burst, g.reason) i
     group by i.burst
)
select s.from_at, coalesce(s.to_at, case when s.state = 'stopped' then n.at else e.at end) as to_at,
       s.state, s.cause, r.instance, r.exchange, r.queue, s.run
  from spans s
  join audit.runs r on r.run = s.run
  join ends e on e.run = s.run
  join successors n on n.run = s.run
union all
select e.at, n.at, 'dead', 'no sign of life any more: it was killed, or its machine or the network failed',
       r.instance, r.exchange, r.queue, r.run
  from ends e
  join audit.runs r on r.run = e.run
  join successors n on n.run = e.run
 where e.silent and e.at is not null
union all
select b.from_at, case when b.to_at <= now() then b.to_at end, 'rejecting', b.cause, null, null, null, null
  from bursts b;
comment on view audit.coverage is 'Who was listening when, and why not: one row a span of one state of one run. audit.listening(at) tells what that means for the events of a moment.';
comment on column audit.coverage.from_at is 'First instant of the span, by the daemon''s clock.';
comment on column audit.coverage.to_at is 'First instant after it; null where it lasts.';
comment on column audit.coverage.state is 'recording: consuming and storing. starting: not consuming yet. paused: PostgreSQL cannot store, so nothing more is asked of the broker. disconnected: no session with the broker. unbound: the exchange or the binding was missing. frozen: the process did not run, since it or its machine was halted. stopped, dead: after the run, until the next one of the same instance starts. rejecting: deliveries were rejected, with no more than a minute between two; it ends with a minute of quiet.';
comment on column audit.coverage.cause is 'What led to it.';
comment on column audit.coverage.instance is 'Which daemon; null for rejecting.';
comment on column audit.coverage.exchange is 'The exchange it records; null for rejecting.';
comment on column audit.coverage.queue is 'The queue it records from; null for rejecting.';
comment on column audit.coverage.run is 'Which run of it; null for rejecting.';

create function audit.listening(at timestamptz)
returns table (exchange text, queue text, answer text, recorded_from timestamptz, states text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select q.exchange, q.queue,
           case when listening.at > now() then 'unknown'
                when here.recording then 'recorded'
                when here.unbound then 'missed'
                when here.states is null then 'unknown'
                when later.unbound_at < coalesce(later.recorded_from, 'infinity') then 'unknown'
                when later.recorded_from is null then 'waiting'
                else 'delayed'
           end,
           case when here.recording then listening.at else later.recorded_from end,
           here.states
      from (select distinct r.exchange, r.queue from audit.runs r) q
     cross join lateral (
           select bool_or(c.state = 'recording') as recording, bool_or(c.state = 'unbound') as unbound,
                  string_agg(c.instance || ' ' || c.state || ': ' || c.cause, '; ' order by c.from_at desc) as states
             from audit.coverage c
            where c.exchange = q.exchange and c.queue = q.queue and c.state <> 'rejecting'
              and c.from_at <= listening.at and (c.to_at is null or listening.at < c.to_at)) here
     cross join lateral (
           select min(c.from_at) filter (where c.state = 'recording') as recorded_from,
                  min(c.from_at) filter (where c.state = 'unbound') as unbound_at
             from audit.coverage c
            where c.exchange = q.exchange and c.queue = q.queue and c.state <> 'rejecting'
              and c.from_at > listening.at) later
     order by q.exchange, q.queue
$$;
comment on function audit.listening(timestamptz) is 'Were we listening then? One row a queue. answer: recorded: yes, as they came. delayed: no; the durable queue kept them, and they were recorded from recorded_from on. waiting: no, and nobody records yet; they wait in the queue. missed: the queue was not bound. unknown: nothing is known of that moment, or the binding was found missing afterwards. states: who was in which state and why.';
