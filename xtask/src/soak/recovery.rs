//! How long it takes after a fault until events are stored again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::schedule::Planned;
use crate::figures::short;
use crate::history::{History, Totals};

/// How often to look.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// How often to add up the daemon's batches.
const TOTALS_EVERY: Duration = Duration::from_millis(500);
/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// The faults so far and what became of them.
#[derive(Default)]
pub struct Recoveries(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    kinds: BTreeMap<&'static str, Kind>,
    broken: Option<Planned>,
    pending: Option<(Planned, Instant)>,
    totals: Totals,
    broker_ends: u64,
    news: Vec<String>,
}

/// What one kind of fault came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kind {
    /// How many there were.
    pub count: u64,
    /// After how many of them events were stored before the next fault.
    pub recovered: u64,
    /// The longest time from a fault's end until an event was stored that was published after it.
    pub slowest: Duration,
}

impl Recoveries {
    /// A fault begins. One whose recovery was still awaited is overtaken by it.
    pub fn begin(&self, planned: Planned, ledger: &Ledger) {
        ledger.probe(None);
        let mut inner = self.inner();
        inner.kinds.entry(planned.fault.kind()).or_default().count += 1;
        inner.broken = Some(planned);
        inner.broker_ends += u64::from(planned.fault.ends_broker());
        if let Some((overtaken, _)) = inner.pending.take() {
            inner.news.push(format!("{overtaken}; overtaken by the next"));
        }
    }

    /// It has ended.
    pub fn end(&self, ledger: &Ledger) {
        let now = Instant::now();
        let mut inner = self.inner();
        inner.pending = inner.broken.take().map(|planned| (planned, now));
        drop(inner);
        ledger.probe(Some(now));
    }

    /// It could not be brought about.
    pub fn skip(&self, why: &str) {
        let mut inner = self.inner();
        if let Some(planned) = inner.broken.take() {
            if let Some(kind) = inner.kinds.get_mut(planned.fault.kind()) {
                kind.count -= 1;
            }
            inner.news.push(format!("{planned}: skipped, {why}"));
        }
    }

    /// What is broken now.
    pub fn broken(&self) -> Option<Planned> {
        self.inner().broken
    }

    /// Whether events are stored again after the last fault.
    pub fn is_recovered(&self) -> bool {
        let inner = self.inner();
        inner.pending.is_none() && inner.broken.is_none()
    }

    /// How often the broker was killed or restarted.
    pub fn broker_ends(&self) -> u64 {
        self.inner().broker_ends
    }

    /// What the daemon says it has done, by its own batches, as last seen.
    pub fn totals(&self) -> Totals {
        self.inner().totals
    }

    /// What has happened since this was last asked.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().news)
    }

    /// What each kind of fault came to.
    pub fn kinds(&self) -> BTreeMap<&'static str, Kind> {
        let mut kinds = self.inner().kinds.clone();
        kinds.retain(|_, kind| kind.count > 0);
        kinds
    }

    fn recovered(&self) {
        let mut inner = self.inner();
        let Some((planned, since)) = inner.pending.take() else { return };
        let took = since.elapsed();
        let kind = inner.kinds.entry(planned.fault.kind()).or_default();
        kind.recovered += 1;
        kind.slowest = kind.slowest.max(took);
        inner.news.push(format!("{planned}; stored again after {}", short(took)));
    }

    fn is_awaited(&self) -> bool {
        self.inner().pending.is_some()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks into the history until told to stop, past the proxies, on a new connection whenever the server is away.
pub async fn observe(
    url: String,
    ledger: Arc<Ledger>,
    recoveries: Arc<Recoveries>,
    stop: CancellationToken,
) -> Result<()> {
    let mut history = None;
    let mut counted = Instant::now();
    while !stop.is_cancelled() {
        let look = look(&url, &mut history, &ledger, &recoveries, &mut counted);
        if !matches!(timeout(LOOK_LIMIT, look).await, Ok(Ok(()))) {
            history = None;
        }
        tokio::select! {
            () = sleep(LOOK_AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

async fn look(
    url: &str,
    history: &mut Option<History>,
    ledger: &Ledger,
    recoveries: &Recoveries,
    counted: &mut Instant,
) -> Result<()> {
    let history = match history {
        Some(history) => history,
        None => history.insert(History::open(url).await?),
    };
    if recoveries.is_awaited() {
        let ids = ledger.probed();
        if !ids.is_empty() && history.holds_any(&ids).await? {
            recoveries.recovered();
        }
    }
    if counted.elapsed() >= TOTALS_EVERY {
        recoveries.inner().totals = history.new_totals().await?;
        *counted = Instant::now();
    }
    Ok(())
}
