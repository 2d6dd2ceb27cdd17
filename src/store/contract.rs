//! The store as the pipeline sees it.

use std::future::Future;

use time::OffsetDateTime;

use super::{Batch, BatchName, Fault};

/// What a committed transaction did. Can only be had from [`Append::append`]: nobody but the store can make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    pub(super) events: usize,
    pub(super) conflicts: usize,
    pub(super) duplicates: usize,
    pub(super) rejections: usize,
    pub(super) replays: usize,
    /// Put in by whoever hands it out.
    pub(super) name: Option<BatchName>,
}

impl Commit {
    /// Of a transaction without any entry.
    pub(super) const EMPTY: Commit =
        Commit { events: 0, conflicts: 0, duplicates: 0, rejections: 0, replays: 0, name: None };

    /// Under which header it is on record; `None` where there was nothing to commit.
    pub fn name(&self) -> Option<BatchName> {
        self.name
    }

    /// Events stored, conflicts included.
    pub fn events(&self) -> usize {
        self.events
    }

    /// How many of them carry an id that was stored before with other content.
    pub fn conflicts(&self) -> usize {
        self.conflicts
    }

    /// Deliveries of events that were stored already.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// Deliveries of replays recorded.
    pub fn replays(&self) -> usize {
        self.replays
    }

    /// Rejections recorded.
    pub fn rejections(&self) -> usize {
        self.rejections
    }
}

/// The times that one partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First instant it holds.
    pub from: OffsetDateTime,
    /// First instant after it.
    pub to: OffsetDateTime,
    /// Where the partition before it starts; the same as `from` where there is none.
    pub previous: OffsetDateTime,
}

impl Span {
    /// Whether an event received at that time belongs into this partition.
    pub fn contains(&self, at: OffsetDateTime) -> bool {
        self.from <= at && at < self.to
    }
}

/// Where batches are committed.
pub trait Append: Send + Sized {
    /// Another one for the same place and the same session, so that two batches can be under way at once.
    fn beside(&self) -> Self;

    /// Takes notice of a fault that holds events up. One that was met ahead of a batch's turn does not, and may be of this
    /// connection alone.
    fn failed(&mut self, fault: &Fault);

    /// Numbers the events of a batch, unless they have their numbers. Those of a batch are consecutive, and higher than those
    /// of every batch that was numbered before it in this session, by whichever of the writers beside each other.
    fn number(&mut self, batch: &mut Batch) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The partition that holds `at`; it is made where it is missing.
    fn span(&mut self, at: OffsetDateTime) -> impl Future<Output = Result<Span, Fault>> + Send;

    /// Commits the whole batch, durably, or nothing of it.
    ///
    /// All of the batch belongs into one partition, and holds at most 10,000 entries, which are numbered. After a fault of
    /// [`Kind::Unavailable`](super::Kind::Unavailable) the same value may be given again, any number of times: it is
    /// stored once.
    fn append(&mut self, batch: &mut Batch) -> impl Future<Output = Result<Commit, Fault>> + Send;
}
