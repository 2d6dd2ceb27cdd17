//! Watches events become visible in the history, and notes how long each took.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use crate::history::{History, Totals};

/// Looks take at most a fifth of the observer's time; the pause between two is within these bounds.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// How often to look where nothing is awaited, and how often to add up the daemon's batches.
const TOTALS_EVERY: Duration = Duration::from_millis(150);

/// What the observer last saw, for whoever shows it.
#[derive(Default)]
pub struct Seen(Mutex<Totals>);

impl Seen {
    /// The daemon's own count.
    pub fn totals(&self) -> Totals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, totals: Totals) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = totals;
    }
}

/// Looks until told to stop. While something is awaited it looks again and again; an idle bus costs a query every
/// 150 ms.
///
/// # Errors
/// When the database fails.
pub async fn observe(
    mut history: History,
    ledger: Arc<Ledger>,
    seen: Arc<Seen>,
    stop: CancellationToken,
) -> Result<()> {
    let mut counted = Instant::now();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = ledger.something_awaited() => {}
            () = sleep(TOTALS_EVERY) => {}
        }
        let started = Instant::now();
        let bodies = history.new_bodies().await?;
        let now = Instant::now();
        ledger.see(&bodies, now);
        if counted.elapsed() >= TOTALS_EVERY {
            seen.update(history.new_totals().await?);
            ledger.forget_overdue(now);
            counted = Instant::now();
        }
        sleep((4 * (now - started)).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
    Ok(())
}
