//! How long somebody who is away is waited for.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// Waits between attempts, until they have failed for too long.
#[derive(Debug)]
pub struct Patience {
    backoff: Backoff,
    limit: Duration,
    since: Option<Instant>,
}

impl Patience {
    /// Attempts may fail for that long.
    #[must_use]
    pub fn new(limit: Duration) -> Patience {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        Patience { backoff, limit, since: None }
    }

    /// How long attempts have failed so far.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The wait after one more failure; none where that is enough.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is no iterator: it may go on after its end"
    )]
    pub fn next(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        (since.elapsed() < self.limit).then(|| self.backoff.next_delay())
    }

    /// Whether there was one failure, and no more.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.backoff.attempts() == 1
    }

    /// An attempt has succeeded; tells whether any failed before.
    pub fn renew(&mut self) -> bool {
        self.since = None;
        self.backoff.reset().is_some()
    }
}
