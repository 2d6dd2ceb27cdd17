//! The batches whose events are being read.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

use super::row::Salt;
use crate::{ledger::Hash, store::EventBatch};

/// No batch has more events: a block of the sequence of their numbers.
const MOST_EVENTS: usize = 10_000;

/// What is known of an event of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Seen {
    /// No row of it has come.
    Not,
    /// Its row is as it was recorded.
    Right,
    /// The row of its number is another.
    Wrong,
}

/// A batch, and which of its events were seen.
#[derive(Debug)]
pub(super) struct Open {
    pub batch: EventBatch,
    pub seen: Vec<Seen>,
    /// How many of them were not.
    pub left: usize,
    /// Whether some may be elsewhere than where it was opened.
    crosses: bool,
}

/// Where an event stands in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The first number of the batch, and its position.
    pub batch: (i64, i64),
    /// Counted from 0.
    pub offset: usize,
}

/// What an event's leaf is, and its salt; the salt is zero where it cannot be told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Slot {
    #[serde(with = "super::base64")]
    pub leaf: Hash,
    #[serde(with = "super::base64")]
    pub salt: Salt,
}

impl Open {
    /// None of its events was seen; it is opened where those are that were received in this span.
    pub fn new(batch: EventBatch, span: &Range<i64>) -> Open {
        let events = match &batch.leaves {
            Some(leaves) => leaves.len() / size_of::<Hash>(),
            // What a header says that nothing else in it shows may be any number.
            None => usize::try_from(batch.events).unwrap_or_default().min(MOST_EVENTS),
        };
        let mut open = Open { batch, seen: vec![Seen::Not; events], left: events, crosses: false };
        open.crosses = open.times().is_none_or(|(from, to)| from < span.start || to >= span.end);
        open
    }

    /// Counts anew how many of its events were not seen.
    pub fn count_left(&mut self) {
        self.left = self.seen.iter().filter(|seen| **seen == Seen::Not).count();
    }

    /// Whether it has leaves: where the ledger was off it has none.
    pub fn is_covered(&self) -> bool {
        self.batch.leaves.is_some()
    }

    /// When its events were received, from first to last; none where its header says nothing that can be.
    pub fn times(&self) -> Option<(i64, i64)> {
        let times = self.batch.received_from.zip(self.batch.received_to);
        times.filter(|(from, to)| from <= to)
    }

    /// Whether something of it has not come, or may come elsewhere.
    pub fn is_wanting(&self) -> bool {
        self.is_covered() && (self.left > 0 || self.crosses)
    }

    /// What is recorded of an event; none where the batch has no leaves.
    pub fn slot(&self, offset: usize) -> Option<Slot> {
        let (leaves, _) = self.batch.leaves.as_deref()?.as_chunks();
        let (salts, _) = self.batch.salts.as_deref().unwrap_or_default().as_chunks();
        Some(Slot {
            leaf: *leaves.get(offset)?,
            salt: salts.get(offset).copied().unwrap_or_default(),
        })
    }

    /// Bytes that it takes.
    fn size(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.batch.leaves) + length(&self.batch.salts) + self.seen.len() + size_of::<Open>()
    }
}

/// Those of which something is still to come, by their first numbers.
#[derive(Debug, Default)]
pub(super) struct Window {
    open: BTreeMap<(i64, i64), Open>,
    size: usize,
}

impl Window {
    /// Takes one on.
    pub fn insert(&mut self, open: Open) {
        self.size += open.size();
        self.open.insert((open.batch.first_seq, open.batch.position), open);
    }

    /// Bytes that all of them take, about.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where the event of this number stands.
    pub fn find(&self, seq: i64) -> Option<Place> {
        let (key, open) = self.open.range(..=(seq, i64::MAX)).next_back()?;
        let offset = usize::try_from(seq.checked_sub(key.0)?).ok()?;
        (offset < open.seen.len()).then_some(Place { batch: *key, offset })
    }

    /// The batch.
    pub fn get_mut(&mut self, batch: (i64, i64)) -> Option<&mut Open> {
        self.open.get_mut(&batch)
    }

    /// Lets go of a batch.
    pub fn remove(&mut self, batch: (i64, i64)) -> Option<Open> {
        let open = self.open.remove(&batch)?;
        self.size -= open.size();
        Some(open)
    }

    /// Lets go of those that end before this number.
    pub fn before(&mut self, seq: i64) -> Vec<Open> {
        let mut gone = Vec::new();
        while let Some((key, open)) = self.open.first_key_value() {
            let events = i64::try_from(open.seen.len()).unwrap_or(i64::MAX);
            if key.0.saturating_add(events) > seq {
                break;
            }
            let key = *key;
            gone.extend(self.remove(key));
        }
        gone
    }

    /// Lets go of all that are left.
    pub fn rest(&mut self) -> Vec<Open> {
        self.size = 0;
        std::mem::take(&mut self.open).into_values().collect()
    }
}
