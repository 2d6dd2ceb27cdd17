//! The rows of a partition beside the batches that recorded them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use serde::{Deserialize, Serialize};

use super::{
    acts::{Erased, Expired, Lawful},
    damage::Damage,
    row::{Leaves, Row},
    window::{Open, Place, Seen, Slot, Window},
};
use crate::{ledger::Hash, store::EventBatch};

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Events that were compared with their leaves.
    pub checked: u64,
    /// How many of them are erased, lawfully.
    pub erased: u64,
    /// Events of batches without leaves: the ledger was off.
    pub uncovered: u64,
    /// Events that are lawfully gone with their partitions.
    pub expired: u64,
}

impl EventCounts {
    pub(super) fn add(&mut self, other: EventCounts) {
        let EventCounts { checked, erased, uncovered, expired } = other;
        // What is kept of an earlier check may say any number.
        self.checked = self.checked.saturating_add(checked);
        self.erased = self.erased.saturating_add(erased);
        self.uncovered = self.uncovered.saturating_add(uncovered);
        self.expired = self.expired.saturating_add(expired);
    }
}

/// A partition that is being read.
#[derive(Debug)]
pub(super) struct Partition<'a> {
    name: &'a str,
    span: Range<i64>,
    lawful: &'a Lawful,
    pub window: Window,
    leaves: Leaves,
    pub damage: Damage,
    pub counts: EventCounts,
}

impl<'a> Partition<'a> {
    /// Nothing of it is read yet.
    pub fn new(name: &'a str, span: Range<i64>, lawful: &'a Lawful) -> Partition<'a> {
        Partition {
            name,
            span,
            lawful,
            window: Window::default(),
            leaves: Leaves::default(),
            damage: Damage::default(),
            counts: EventCounts::default(),
        }
    }

    /// Opens a batch.
    pub fn open(&mut self, batch: EventBatch) {
        self.window.insert(Open::new(batch, &self.span));
    }

    /// Looks at a row; false where its batch is not open.
    pub fn row(&mut self, row: &Row<'_>) -> bool {
        let seq = row.seq();
        let Some(place) = self.window.find(seq) else { return false };
        let Some(open) = self.window.get_mut(place.batch) else { return false };
        let Some(slot) = open.slot(place.offset) else {
            self.counts.uncovered += 1;
            self.see(place, Seen::Right);
            return true;
        };
        let times = (open.batch.received_from, open.batch.received_to);
        let before = open.seen[place.offset];
        self.counts.checked += 1;
        let leaf = self.leaves.leaf(row, &slot.salt);
        let verdict = if leaf == slot.leaf { Ok(()) } else { self.differs(row, &slot) };
        match (verdict, before) {
            (_, Seen::Right) => self.damage.extra(row, self.name),
            (Ok(()), Seen::Wrong) => {
                self.damage.was_extra(seq);
                self.see(place, Seen::Right);
            }
            (Ok(()), Seen::Not) => self.see(place, Seen::Right),
            (Err(_), Seen::Wrong) => self.damage.extra(row, self.name),
            (Err(why), Seen::Not) => {
                self.damage.wrong(row, self.name, slot, times, why);
                self.see(place, Seen::Wrong);
            }
        }
        true
    }

    /// A leaf that a row does not make may be that of an event that was erased.
    fn differs(&mut self, row: &Row<'_>, slot: &Slot) -> Result<(), &'static str> {
        let Some(Erased { content, metadata }) = self.lawful.erased.get(&row.seq()) else {
            return Err(
                "its columns do not make the leaf that was recorded (nor with its salt in audit.batches)",
            );
        };
        let leaf: Hash = match metadata {
            None => self.leaves.without_content(row, &slot.salt, content),
            Some(metadata) => {
                self.leaves.of_commitments(row, row.seq(), row.received_at(), metadata, content)
            }
        };
        if leaf != slot.leaf {
            return Err(
                "it was erased, and what was left does not make the leaf that was recorded",
            );
        }
        if !row.is_without_body() {
            return Err("its content was erased, and it has one");
        }
        if metadata.is_some() && !row.is_without_metadata() {
            return Err("its metadata were erased, and it has some");
        }
        self.counts.erased += 1;
        Ok(())
    }

    /// A row of no batch.
    pub fn unknown(&mut self, row: &Row<'_>) {
        self.damage.extra(row, self.name);
    }

    fn see(&mut self, place: Place, seen: Seen) {
        let Some(open) = self.window.get_mut(place.batch) else { return };
        let before = std::mem::replace(&mut open.seen[place.offset], seen);
        if before == Seen::Not {
            open.left -= 1;
        }
        // As long as one of them is wrong the right one may come.
        if open.left == 0 && !open.is_wanting() && open.seen.iter().all(|seen| *seen == Seen::Right)
        {
            self.window.remove(place.batch);
        }
    }
}

/// A partition that has expired: the position of the act that says so, and its begin.
type ExpiredKey = (i64, i64);

fn key_of(expired: &Expired) -> ExpiredKey {
    (expired.position, expired.from)
}

/// Events that are gone, by the partitions of which any may have had them, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Vec<ExpiredKey>, u64)>", into = "Vec<(Vec<ExpiredKey>, u64)>")]
pub(super) struct OfExpired(BTreeMap<Vec<ExpiredKey>, u64>);

impl From<Vec<(Vec<ExpiredKey>, u64)>> for OfExpired {
    fn from(entries: Vec<(Vec<ExpiredKey>, u64)>) -> OfExpired {
        OfExpired(entries.into_iter().collect())
    }
}

impl From<OfExpired> for Vec<(Vec<ExpiredKey>, u64)> {
    fn from(of: OfExpired) -> Self {
        of.0.into_iter().collect()
    }
}

impl OfExpired {
    fn add(&mut self, one_of: Vec<ExpiredKey>, events: u64) {
        let gone = self.0.entry(one_of).or_default();
        *gone = gone.saturating_add(events);
    }

    /// Adds those of another span.
    pub fn join(&mut self, other: OfExpired) {
        for (one_of, events) in other.0 {
            self.add(one_of, events);
        }
    }

    /// How many events more of each partition's time are gone than it had, where those of a batch that may have been in several
    /// went with whichever of them had room. The partitions are in order of time.
    pub fn beyond(&self, expired: &[Expired]) -> Vec<u64> {
        let places: HashMap<_, _> =
            expired.iter().enumerate().map(|(place, expired)| (key_of(expired), place)).collect();
        let mut room: Vec<u64> = expired
            .iter()
            .map(|of| of.events.map_or(u64::MAX, |events| u64::try_from(events).unwrap_or(0)))
            .collect();
        let mut beyond = vec![0_u64; expired.len()];
        let place_of = |key| places.get(key).copied();
        let mut gone: Vec<(Vec<usize>, u64)> = self
            .0
            .iter()
            .map(|(one_of, events)| (one_of.iter().filter_map(place_of).collect(), *events))
            .collect();
        gone.sort_by_key(|(places, _)| places.last().copied());
        for (places, mut left) in gone {
            for place in &places {
                let taken = left.min(room[*place]);
                (room[*place], left) = (room[*place] - taken, left - taken);
            }
            if let Some(last) = places.last() {
                beyond[*last] = beyond[*last].saturating_add(left);
            }
        }
        beyond
    }
}

/// What is missing of batches of which nothing is to come any more.
#[derive(Debug, Default)]
pub(super) struct Absent {
    pub damage: Damage,
    pub counts: EventCounts,
    pub of_expired: OfExpired,
}

impl Absent {
    /// Looks at a batch in the end.
    pub fn leave(&mut self, open: &Open, lawful: &Lawful) {
        if open.left == 0 || !open.is_covered() {
            return;
        }
        let times = open.batch.received_from.zip(open.batch.received_to);
        let places = times.map(|(from, to)| lawful.expired_of(open.batch.position, from, to));
        let places = places.unwrap_or_default();
        if !places.is_empty() {
            let left = u64::try_from(open.left).unwrap_or(u64::MAX);
            self.counts.expired += left;
            let one_of = places.into_iter().map(|place| key_of(&lawful.expired[place]));
            self.of_expired.add(one_of.collect(), left);
            return;
        }
        let mut offset = 0;
        for run in open.seen.chunk_by(|one, next| (*one == Seen::Not) == (*next == Seen::Not)) {
            if run[0] == Seen::Not {
                let slots: Vec<Slot> =
                    (offset..offset + run.len()).filter_map(|offset| open.slot(offset)).collect();
                let first = i64::try_from(offset).unwrap_or(i64::MAX);
                self.damage.missing(open.batch.first_seq.saturating_add(first), &slots);
            }
            offset += run.len();
        }
    }
}
