//! Awaiting a state with a deadline.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// How long between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// The moment by which something has to have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    /// A deadline that far from now.
    #[must_use]
    pub fn after(within: Duration) -> Self {
        Self { at: Instant::now() + within, within }
    }

    /// Whether the moment has passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        Instant::now() >= self.at
    }

    /// How long is left, zero once the moment has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Looks every 20 ms until `look` returns `Ok`; see [`eventually`].
    ///
    /// # Errors
    /// When the moment passes first: what was awaited, and the last state seen.
    pub async fn until<T, S: Display, Look: Future<Output = Result<T, S>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Look,
    ) -> Result<T> {
        let mut last = None;
        loop {
            match timeout_at(self.at, look()).await {
                Ok(Ok(reached)) => return Ok(reached),
                Ok(Err(state)) => last = Some(state),
                Err(_) => match last {
                    Some(state) => bail!(
                        "not within {:?}: {what}; last seen: {state} (and one more look did not return)",
                        self.within
                    ),
                    None => {
                        bail!("not within {:?}: {what}; the first look did not return", self.within)
                    }
                },
            }
            if self.passed()
                && let Some(state) = last
            {
                bail!("not within {:?}: {what}; last seen: {state}", self.within);
            }
            sleep(INTERVAL.min(self.left())).await;
        }
    }
}

/// Awaits a state: calls `look` every 20 ms until it returns `Ok`, for at most `within`.
///
/// `look` returns `Err` with the state it saw instead; that state is in the error when time runs out. A
/// look that hangs is cut off at the deadline. (Not `AsyncFnMut`: what that returns cannot be required to
/// be `Send`, and so nothing that awaits a state could be spawned.)
///
/// # Errors
/// When the deadline passes first: what was awaited, and the last state seen.
pub async fn eventually<T, S: Display, Look: Future<Output = Result<T, S>>>(
    what: &str,
    within: Duration,
    look: impl FnMut() -> Look,
) -> Result<T> {
    Deadline::after(within).until(what, look).await
}
