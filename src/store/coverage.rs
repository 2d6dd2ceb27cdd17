//! Coverage: when this daemon listened, and when and why it did not.
//!
//! On a connection of its own, so that signs of life go on while a batch is under way.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Fault, Settings,
    link::{Link, answered},
};
use crate::event::column_text;

/// The statements are small: one that takes longer than this is not going to be answered.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a run of the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not consuming yet.
    Starting,
    /// Consuming, and able to store.
    Recording,
    /// PostgreSQL cannot store, or no checkpoint goes outside where acknowledgements wait for one, so nothing more is asked of the
    /// broker.
    Paused,
    /// There is no session with the broker.
    Disconnected,
    /// The exchange or the binding is missing: events pass by.
    Unbound,
    /// The process did not run: it was stopped by a signal, or its machine slept.
    Frozen,
    /// The run is over.
    Stopped,
}

impl State {
    /// All of them.
    pub const ALL: [State; 7] = [
        State::Starting,
        State::Recording,
        State::Paused,
        State::Disconnected,
        State::Unbound,
        State::Frozen,
        State::Stopped,
    ];

    /// The word under which it is written down.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Recording => "recording",
            State::Paused => "paused",
            State::Disconnected => "disconnected",
            State::Unbound => "unbound",
            State::Frozen => "frozen",
            State::Stopped => "stopped",
        }
    }
}

/// One run of the daemon, from the start of the process to its end.
#[derive(Debug, Clone)]
pub struct Run {
    /// Made up at the start.
    pub id: Uuid,
    /// Which daemon.
    pub instance: String,
    /// The exchange it records.
    pub exchange: String,
    /// The queue it records from.
    pub queue: String,
    /// When the process started.
    pub started_at: OffsetDateTime,
}

/// A run entered a state.
#[derive(Debug, Clone)]
pub struct Change {
    /// Changes of a run are numbered from 1.
    pub number: i64,
    /// When it happened.
    pub at: OffsetDateTime,
    /// What it is doing since.
    pub state: State,
    /// What led to it, in words.
    pub cause: String,
}

/// A connection that writes the coverage of one run. Where it ends without [`State::Stopped`], the run is found dead.
#[derive(Debug)]
pub struct CoverageLog {
    link: Link,
    run: Uuid,
}

impl CoverageLog {
    /// Connects, and makes the run known. The same run may be opened any number of times.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings, run: &Run) -> Result<CoverageLog, Fault> {
        let timeout = settings.statement_timeout.min(STATEMENT_TIMEOUT);
        let link = Link::open(settings, timeout).await?;
        let mut log = CoverageLog { link, run: run.id };
        let Link { connection, patience, .. } = &mut log.link;
        // The lock comes first: whoever sees the row finds it held. Should this machine vanish from the network, the
        // server ends the session, and with it the lock.
        let live = sqlx::query(
            "select set_config('idle_session_timeout', '60s', false),
                    pg_advisory_lock_shared(hashtextextended('audit.runs ' || $1::text, 0))",
        )
        .bind(run.id);
        answered(*patience, live.execute(&mut *connection)).await?;
        let known = sqlx::query(
            "insert into audit.runs (run, instance, version, exchange, queue, started_at, seen_at)
             values ($1, $2, $3, $4, $5, $6, $6)
             on conflict (run) do nothing",
        )
        .bind(run.id)
        .bind(column_text(&run.instance))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(column_text(&run.exchange))
        .bind(column_text(&run.queue))
        .bind(run.started_at);
        answered(*patience, known.execute(&mut *connection)).await?;
        Ok(log)
    }

    /// Writes what changed, and that the run was alive at `seen_at`, which is no earlier than any change. A change that
    /// is written already is left as it is.
    ///
    /// # Errors
    /// A [`Fault`]; the same may be written again.
    pub async fn write(
        &mut self,
        seen_at: OffsetDateTime,
        changes: &[Change],
    ) -> Result<(), Fault> {
        let write = sqlx::query(
            "with changes as (
                 insert into audit.coverage_changes (run, number, at, state, cause)
                 select $1, c.number, c.at, c.state, c.cause
                   from unnest($3::int8[], $4::timestamptz[], $5::text[], $6::text[]) as c (number, at, state, cause)
                 on conflict (run, number) do nothing
             )
             update audit.runs set seen_at = greatest(seen_at, $2), beat_at = now() where run = $1",
        )
        .bind(self.run)
        .bind(seen_at)
        .bind(changes.iter().map(|change| change.number).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.at).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.state.as_str()).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| column_text(&change.cause)).collect::<Vec<_>>());
        let Link { connection, patience, .. } = &mut self.link;
        answered(*patience, write.execute(connection)).await?;
        Ok(())
    }

    /// Writes down which other runs are dead: those that never said that they stopped, and hold their lock no more.
    /// Tells how many others live, or seem to.
    ///
    /// A run that has only lost its connection may be taken for dead too; its next sign of life makes that void.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn find_the_dead(&mut self) -> Result<i64, Fault> {
        // The locks are asked for last, and only for runs without an end.
        let find = sqlx::query_as(
            "with silent as materialized (
                 select r.run, r.seen_at from audit.runs r
                  where r.run <> $1
                    and not exists (select from audit.coverage_changes c where c.run = r.run and c.state = 'stopped')
                    and not exists (select from audit.deaths d where d.run = r.run and d.at >= r.seen_at)
             ), dead as (
                 insert into audit.deaths (run, at, found_by)
                 select s.run, s.seen_at, $1 from silent s
                  where pg_try_advisory_xact_lock(hashtextextended('audit.runs ' || s.run::text, 0))
                 on conflict (run, at) do nothing
                 returning run
             )
             select (select count(*) from silent) - (select count(*) from dead)",
        )
        .bind(self.run);
        let Link { connection, patience, .. } = &mut self.link;
        let (living,): (i64,) = answered(*patience, find.fetch_one(connection)).await?;
        Ok(living)
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}
