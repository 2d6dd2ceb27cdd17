//! Checking: first the tree, whole and in its order, then the events, partition by partition.

mod events;
mod keeping;
mod tree;

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub use keeping::Keeping;

use super::{
    finding::Findings, given::Given, partition::EventCounts, progress::Differs, row::NoRow,
    seals::Counts,
};
use crate::{
    ledger::{Hash, NoteError, VerifierKey},
    store::{ReadError, Settings, Snapshot},
};

/// What is to be checked, and against what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The database.
    pub store: Settings,
    /// Checkpoints that were kept outside.
    pub given: Vec<Given>,
    /// Public keys whose signatures count.
    pub keys: Vec<VerifierKey>,
    /// Only events received from then on, in microseconds since 1970; the tree is always looked at whole.
    pub since: Option<i64>,
    /// Only events received before then.
    pub until: Option<i64>,
    /// How many partitions are read at once.
    pub jobs: NonZeroUsize,
    /// Bytes of batches that may be open at a time in each of them. Where more would be needed, as rows stand in another order than
    /// they were committed in, the server sorts them.
    pub window: usize,
    /// What was committed before then may be unsigned also where a given key was in use, in microseconds since 1970.
    pub unsigned_before: Option<i64>,
    /// How old a batch may be that is in no seal.
    pub unsealed_after: Duration,
}

/// How far it has come, for whoever looks on.
#[derive(Debug, Default)]
pub struct Meter {
    leaves: AtomicU64,
    all_leaves: AtomicU64,
    events: AtomicU64,
    all_events: AtomicU64,
}

impl Meter {
    /// Leaves of the tree that were recomputed, and how many there are.
    #[must_use]
    pub fn leaves(&self) -> (u64, u64) {
        (self.leaves.load(Relaxed), self.all_leaves.load(Relaxed))
    }

    /// Rows of events that were read, and about how many there are.
    #[must_use]
    pub fn events(&self) -> (u64, u64) {
        (self.events.load(Relaxed), self.all_events.load(Relaxed))
    }
}

/// A tree as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeState {
    /// Which one.
    pub epoch: i32,
    /// The position from which on it takes on what is recorded.
    pub position_from: i64,
    /// Its seals.
    pub seals: u64,
    /// Its leaves.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// How many of the given checkpoints it agrees with.
    pub agreed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// All that is wrong.
    pub findings: Findings,
    /// What was looked at on the way up the tree.
    pub counts: Counts,
    /// The trees.
    pub trees: Vec<TreeState>,
    /// What became of events.
    pub events: EventCounts,
    /// Partitions that were read.
    pub partitions: u64,
    /// Partitions that were dropped while this ran, and so were not read.
    pub gone: Vec<String>,
    /// What of it was done before the check was interrupted; none where nothing was.
    pub taken: Option<Taken>,
}

/// What was done before a check was interrupted, and was not done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Partitions, which the report counts, too.
    pub partitions: u64,
    /// Events of them that were compared with their leaves, which it counts, too.
    pub events: u64,
    /// The instant at which the first of them was seen, in microseconds since 1970.
    pub from: i64,
    /// That at which the last one was.
    pub to: i64,
}

/// Why it could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A checkpoint is nobody's word that counts.
    #[error("the checkpoint {name} cannot be relied on: {why}")]
    Unsigned {
        /// Where it was kept.
        name: String,
        /// What is wrong with its signatures.
        why: NoteError,
    },
    /// What comes is not what was asked for.
    #[error(transparent)]
    NoRow(#[from] NoRow),
    /// What was kept is of another history.
    #[error("{0}")]
    Differs(Differs),
    /// What is done cannot be kept.
    #[error("what is done cannot be kept: {0}")]
    Keep(#[source] io::Error),
    /// A part of it died.
    #[error("a part of the check died: {0}")]
    Died(#[from] tokio::task::JoinError),
}

/// Checks everything that stands in the database at this instant. What `keeping` has of an earlier one is not done again, and what is
/// done is given to it.
///
/// # Errors
/// It cannot be read. Nothing that was found before is said then, but `keeping` has it.
pub async fn check(
    request: &Request,
    meter: &Arc<Meter>,
    mut keeping: Keeping,
) -> Result<Report, CheckError> {
    // Where it cannot be kept that shows before hours of work.
    keeping.keep()?;
    let snapshot = Arc::new(Snapshot::take(&request.store).await?);
    let (events, leaves) = snapshot.view().await?.amount().await?;
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    meter.all_events.store(number(events), Relaxed);
    meter.all_leaves.store(number(leaves), Relaxed);
    let (mut report, lawful) = tree::check(request, &snapshot, meter, &keeping.progress).await?;
    keeping.knows(&snapshot, &report).await?;
    events::check(request, &snapshot, lawful, meter, keeping, &mut report).await?;
    Ok(report)
}
