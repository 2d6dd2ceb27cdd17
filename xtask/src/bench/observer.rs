//! Sees events become visible, from another connection, at the least cost.
//!
//! An event is visible exactly when the header of its batch is, which is of the same transaction; events of one publisher
//! are stored in order. So it is enough to ask for new headers, which a key answers, and to add up what they hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::history;

/// From when on how many events were seen.
pub type Seen = Vec<(Instant, u64)>;

/// A thread of its own that asks, since the runtime's timers know milliseconds only.
pub struct Observer {
    /// Events that are published; while all of them are seen, nobody asks.
    published: Arc<AtomicU64>,
    last: Sender<Last>,
    thread: JoinHandle<Result<Seen>>,
}

/// When to end.
struct Last {
    /// With so many events seen,
    count: u64,
    /// or then.
    until: Instant,
}

impl Observer {
    /// Begins to ask, so long after each answer.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(url: String, pause: Duration) -> Result<Self> {
        let published = Arc::new(AtomicU64::new(0));
        let (last, told) = channel();
        let count = Arc::clone(&published);
        let thread = std::thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || observe(&url, pause, &count, &told))
            .context("start the observer")?;
        Ok(Self { published, last, thread })
    }

    /// Notes that one more event is about to be published.
    pub fn expect_one_more(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// What was seen, once everything is that was published by now.
    ///
    /// # Errors
    /// When the database failed, or not everything was seen within that time.
    pub async fn finish(self, within: Duration) -> Result<Seen> {
        let all = self.published.load(Ordering::Relaxed);
        // One that has failed does not listen, and says why.
        let _ = self.last.send(Last { count: all, until: Instant::now() + within });
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        let seen = joined.map_err(|_| anyhow!("the observer died"))??;
        let last = seen.last().map_or(0, |(_, count)| *count);
        anyhow::ensure!(last >= all, "{last} of {all} events became visible within {within:?}");
        Ok(seen)
    }
}

fn observe(
    url: &str,
    pause: Duration,
    published: &AtomicU64,
    last: &Receiver<Last>,
) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut connection = runtime.block_on(history::connect(url))?;
    let mut seen = Seen::new();
    let mut place = Place::default();
    let mut end: Option<Last> = None;
    loop {
        if place.count < published.load(Ordering::Relaxed)
            && runtime.block_on(place.advance(&mut connection))?
        {
            seen.push((Instant::now(), place.count));
        }
        if end.as_ref().is_some_and(|end| place.count >= end.count || Instant::now() > end.until) {
            return Ok(seen);
        }
        // Waits a part of a millisecond, which the runtime cannot.
        match last.recv_timeout(pause) {
            Ok(last) => end = Some(last),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody wants to know any more; this must not turn into a busy loop.
            Err(RecvTimeoutError::Disconnected) if end.is_none() => return Ok(seen),
            Err(RecvTimeoutError::Disconnected) => std::thread::park_timeout(pause),
        }
    }
}

/// How far the headers have been read.
#[derive(Default)]
struct Place {
    lane: Option<Uuid>,
    number: i64,
    count: u64,
}

impl Place {
    /// Whether there was anything new.
    async fn advance(&mut self, connection: &mut PgConnection) -> Result<bool> {
        let Some(lane) = self.lane else {
            let query = sqlx::query_scalar("select lane from audit.batches limit 1");
            self.lane = query.fetch_optional(&mut *connection).await.context("look for a lane")?;
            return match self.lane {
                Some(_) => Box::pin(self.advance(connection)).await,
                None => Ok(false),
            };
        };
        let query = "select number, events from audit.batches where lane = $1 and number > $2 order by number";
        let query = sqlx::query_as(query).bind(lane).bind(self.number);
        let new: Vec<(i64, i32)> = query.fetch_all(connection).await.context("look for batches")?;
        for (number, events) in &new {
            self.number = *number;
            self.count += u64::try_from(*events)?;
        }
        Ok(!new.is_empty())
    }
}
