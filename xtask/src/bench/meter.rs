//! CPU time of each party between two moments.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use sqlx::PgConnection;
use testbed::Deadline;

use super::scale::Scale;
use super::scene::Scene;
use super::{cpu, database};

/// Quiet: the servers use less than this share of one core.
const QUIET: f64 = 0.06;
/// How long to look at whether they do.
const LOOK: Duration = Duration::from_millis(400);

/// A moment.
pub struct Mark {
    at: Instant,
    broker: f64,
    postgres: f64,
    us: f64,
    machine: (f64, f64),
    observer: u32,
}

/// What was used between two moments: CPU seconds, wall seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Used {
    pub seconds: f64,
    /// The broker's processes.
    pub broker: f64,
    /// The database server's, those of backends that have ended included and our observer's not.
    pub postgres: f64,
    /// Ourselves.
    pub us: f64,
    /// Everything on the machine.
    pub machine: f64,
    /// What the machine's host gave to others.
    pub stolen: f64,
}

impl Mark {
    /// Now. The observer is the connection whose own use is left out.
    ///
    /// # Errors
    /// When a server is gone.
    pub fn now(scene: &Scene, observer: u32) -> Result<Self> {
        let broker = scene.rabbitmq.pid().context("the broker is gone")?;
        let postgres = scene.postgres.pid().context("the database server is gone")?;
        Ok(Self {
            at: Instant::now(),
            broker: cpu::of_tree(broker)?,
            postgres: cpu::of_tree(postgres)? - cpu::of_process(observer)?,
            us: cpu::of_us()?,
            machine: cpu::of_machine()?,
            observer,
        })
    }

    /// What was used since.
    ///
    /// # Errors
    /// When a server is gone.
    pub fn until_now(&self, scene: &Scene) -> Result<Used> {
        let now = Self::now(scene, self.observer)?;
        Ok(Used {
            seconds: (now.at - self.at).as_secs_f64(),
            broker: now.broker - self.broker,
            postgres: now.postgres - self.postgres,
            us: now.us - self.us,
            machine: now.machine.0 - self.machine.0,
            stolen: now.machine.1 - self.machine.1,
        })
    }
}

/// The process that serves a connection.
///
/// # Errors
/// When the server fails.
pub async fn backend(connection: &mut PgConnection) -> Result<u32> {
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await?;
    Ok(u32::try_from(pid)?)
}

/// Has the server write down everything, and waits until neither server works on what was before, or no longer.
///
/// # Errors
/// When a server is gone.
pub async fn settle(scene: &Scene, scale: &Scale, observer: &mut PgConnection) -> Result<()> {
    database::run(observer, "checkpoint").await?;
    let backend = backend(observer).await?;
    let deadline = Deadline::after(scale.settling);
    while !deadline.passed() {
        let mark = Mark::now(scene, backend)?;
        tokio::time::sleep(LOOK).await;
        let used = mark.until_now(scene)?;
        if used.broker + used.postgres < QUIET * used.seconds {
            break;
        }
    }
    Ok(())
}

/// A place in the database server's write-ahead log.
pub struct Wal(String);

impl Wal {
    /// Where it is written now.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn now(observer: &mut PgConnection) -> Result<Self> {
        let query = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text");
        Ok(Self(query.fetch_one(observer).await.context("read the place in the log")?))
    }

    /// Bytes written since, by whomever.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn until_now(&self, observer: &mut PgConnection) -> Result<f64> {
        let query = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::float8";
        let query = sqlx::query_scalar(query).bind(&self.0);
        query.fetch_one(observer).await.context("read the place in the log")
    }
}
