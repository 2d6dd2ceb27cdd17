//! A batch: what one transaction is to commit.

use uuid::Uuid;

use crate::{
    event::{Delivery, Event, Rejection},
    ledger::Hash,
};

/// What a transaction does with one delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Store it as an event, unless it is stored already.
    Event(Event),
    /// Record why it cannot be stored.
    Rejection(Rejection),
}

impl Entry {
    /// What was delivered, understood as far as it could be.
    pub fn event(&self) -> &Event {
        match self {
            Entry::Event(event) => event,
            Entry::Rejection(rejection) => &rejection.event,
        }
    }

    /// The delivery behind it.
    pub fn delivery(&self) -> &Delivery {
        &self.event().delivery
    }
}

/// The entries of one transaction, in order of delivery.
///
/// A batch remembers under which header it was last sent, as long as it is unknown whether that transaction
/// committed. This is why a failed batch must be appended again as the same value: built anew, its events
/// without an id could be stored twice.
#[derive(Debug)]
pub struct Batch {
    entries: Vec<Entry>,
    /// The number of its first entry; the others follow.
    pub(super) first_seq: Option<i64>,
    pub(super) in_doubt: Option<HeaderKey>,
}

/// Names a batch header: the writer connection it was sent on, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeaderKey {
    pub lane: Uuid,
    pub number: i64,
    /// The hash of the header before it in the lane.
    pub previous: Hash,
}

/// Names a batch that is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchName {
    /// The lane that it was sent on.
    pub lane: Uuid,
    /// Its number there, from 1 on.
    pub number: i64,
}

impl HeaderKey {
    /// Without what it is chained to.
    pub fn name(&self) -> BatchName {
        BatchName { lane: self.lane, number: self.number }
    }
}

impl Batch {
    /// A batch that was never sent.
    pub fn new(entries: Vec<Entry>) -> Batch {
        Batch { entries, first_seq: None, in_doubt: None }
    }

    /// Its entries, in order of delivery.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Forgets all but the first so many. Only of a batch that is not to be stored.
    pub fn truncate(&mut self, entries: usize) {
        self.entries.truncate(entries);
    }

    /// Whether an earlier transaction with these entries may have committed.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.is_some()
    }

    /// Its first so many entries, and the others; each keeps its number.
    ///
    /// Not while it is in doubt: then it must be sent again whole.
    pub fn split_at(self, at: usize) -> [Batch; 2] {
        let first_seq = self.first_seq;
        let mut first = self.into_entries();
        let rest = first.split_off(at.min(first.len()));
        let after = i64::try_from(first.len()).unwrap_or(i64::MAX);
        [
            Batch { first_seq, ..Batch::new(first) },
            Batch { first_seq: first_seq.map(|seq| seq.saturating_add(after)), ..Batch::new(rest) },
        ]
    }

    /// Takes it apart. Not while it is in doubt either.
    pub fn into_entries(self) -> Vec<Entry> {
        debug_assert!(self.in_doubt.is_none(), "a batch in doubt must be sent again whole");
        self.entries
    }
}
