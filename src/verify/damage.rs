//! Rows that fit nothing, and events that have no row: what became of them shows when all of them are known.

mod room;

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    finding::{
        Findings, Subject,
        Verdict::{Altered, Backdated, Deleted, Inserted, Moved},
    },
    row::{Copied, Leaves, Row},
    window::Slot,
};
use room::COMPARED;
pub(super) use room::Room;

/// Where a row is, and what it says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Whose {
    pub seq: i64,
    pub received_at: i64,
    pub event_id: Option<Uuid>,
    pub partition: String,
}

impl Whose {
    /// A row of a partition.
    pub fn of(row: &Row<'_>, partition: &str) -> Whose {
        Whose {
            seq: row.seq(),
            received_at: row.received_at(),
            event_id: row.event_id(),
            partition: partition.to_owned(),
        }
    }

    fn subject(&self) -> Subject {
        Subject::Event {
            seq: self.seq,
            received_at: Some(self.received_at),
            event_id: self.event_id,
            partition: Some(self.partition.clone()),
        }
    }
}

/// A row under a number whose leaf is another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wrong {
    pub whose: Whose,
    pub row: Option<Copied>,
    pub slot: Slot,
    /// When the first and the last event of its batch were received.
    pub times: (Option<i64>, Option<i64>),
    pub why: Cow<'static, str>,
}

/// A row of no batch.
#[derive(Debug, Serialize, Deserialize)]
struct Extra {
    whose: Whose,
    row: Option<Copied>,
}

/// Events of a batch, one after the other, that have no row.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Missing {
    first: i64,
    last: i64,
    slots: Vec<Slot>,
}

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Damage {
    wrong: HashMap<i64, Wrong>,
    extra: Vec<Extra>,
    missing: Vec<Missing>,
    /// What was found when there was no room for more.
    at_once: Findings,
    #[serde(skip)]
    room: Room,
}

impl Damage {
    fn keep(&mut self, row: &Row<'_>) -> Option<Copied> {
        self.room.takes_row(row.size()).then(|| row.copied())
    }

    /// A row whose leaf is not the one of its number.
    pub fn wrong(
        &mut self,
        row: &Row<'_>,
        partition: &str,
        slot: Slot,
        times: (Option<i64>, Option<i64>),
        why: &'static str,
    ) {
        let whose = Whose::of(row, partition);
        match self.keep(row) {
            Some(row) => {
                let row = Some(row);
                let why = why.into();
                self.wrong.insert(whose.seq, Wrong { whose, row, slot, times, why });
            }
            None => self.at_once.add(Altered, whose.subject(), why),
        }
    }

    /// The row of this number that was wrong was none of its: the right one has come.
    pub fn was_extra(&mut self, seq: i64) {
        if let Some(Wrong { whose, row, .. }) = self.wrong.remove(&seq) {
            self.extra.push(Extra { whose, row });
        }
    }

    /// A row of no batch, or of a number whose row was there already.
    pub fn extra(&mut self, row: &Row<'_>, partition: &str) {
        let whose = Whose::of(row, partition);
        match self.keep(row) {
            Some(row) => self.extra.push(Extra { whose, row: Some(row) }),
            None => self.at_once.add(Inserted, whose.subject(), NO_BATCH),
        }
    }

    /// Events that have no row, from this number on.
    pub fn missing(&mut self, first: i64, slots: &[Slot]) {
        let events = i64::try_from(slots.len()).unwrap_or(i64::MAX);
        let last = first.saturating_add(events).saturating_sub(1);
        match self.room.takes_missing(slots.len()) {
            Some(room) => self.missing.push(Missing { first, last, slots: slots[..room].to_vec() }),
            None => self.at_once.add(Deleted, Subject::Events { first, last }, NO_ROW),
        }
    }

    /// What was found in another partition.
    pub fn join(&mut self, other: Damage) {
        let Damage { wrong, extra, missing, at_once, .. } = other.within(&mut self.room);
        self.at_once.join(at_once);
        for (seq, wrong) in wrong {
            match self.wrong.entry(seq) {
                Entry::Vacant(none) => drop(none.insert(wrong)),
                // A second row of that number.
                Entry::Occupied(_) => {
                    self.extra.push(Extra { whose: wrong.whose, row: wrong.row });
                }
            }
        }
        self.extra.extend(extra);
        self.missing.extend(missing);
    }

    /// As much of it as there is room for beside that of others; the rest is said as it is, and compared with nothing.
    pub fn within(self, room: &mut Room) -> Damage {
        let Damage { wrong, extra, missing, at_once, .. } = self;
        let mut kept = Damage { at_once, ..Damage::default() };
        for (seq, wrong) in wrong {
            if room.takes(wrong.row.as_ref()) {
                kept.wrong.insert(seq, wrong);
            } else {
                kept.at_once.add(Altered, wrong.whose.subject(), wrong.why);
            }
        }
        for extra in extra {
            if room.takes(extra.row.as_ref()) {
                kept.extra.push(extra);
            } else {
                kept.at_once.add(Inserted, extra.whose.subject(), NO_BATCH);
            }
        }
        for Missing { first, last, slots } in missing {
            match room.takes_missing(slots.len()) {
                Some(room) => {
                    kept.missing.push(Missing { first, last, slots: slots[..room].to_vec() });
                }
                None => kept.at_once.add(Deleted, Subject::Events { first, last }, NO_ROW),
            }
        }
        kept.at_once.keep_within(&mut room.findings);
        kept
    }

    /// Says what became of each.
    pub fn judge(self) -> Findings {
        let Damage { wrong, extra, missing, at_once: mut findings, .. } = self;
        let mut wrong: Vec<_> = wrong.into_values().collect();
        wrong.sort_unstable_by_key(|wrong| wrong.whose.seq);
        let missing_slots = missing.iter().flat_map(|missing| {
            (0..)
                .zip(&missing.slots)
                .map(|(offset, slot)| (missing.first.saturating_add(offset), slot))
        });
        let slots: Vec<(i64, Slot)> = wrong
            .iter()
            .map(|wrong| (wrong.whose.seq, wrong.slot))
            .chain(missing_slots.map(|(seq, slot)| (seq, *slot)))
            .take(2 * COMPARED)
            .collect();
        let times: Vec<i64> =
            wrong.iter().map(|wrong| wrong.whose.received_at).take(COMPARED).collect();
        let mut leaves = Leaves::default();
        let mut filled = Vec::new();
        let mut vacated = Vec::new();
        for Wrong { whose, row, slot, times: (from, to), why } in &wrong {
            let kept = row.as_ref().and_then(|row| row.row().ok());
            let fitting = kept.and_then(|row| fitting(&mut leaves, &row, &slots));
            let timely = kept.is_some_and(|row| {
                let candidates = times.iter().copied().chain(*from).chain(*to);
                is_timely(&mut leaves, &row, slot, candidates)
            });
            let outside = from.is_some_and(|from| whose.received_at < from)
                || to.is_some_and(|to| whose.received_at > to);
            let (verdict, why) = match fitting {
                Some(Fitting { seq, own: false }) => {
                    filled.push(seq);
                    vacated.push(whose.seq);
                    (Moved, format!("it was recorded as event {seq}"))
                }
                // Its header was altered, which the tree tells; the row itself is as it was recorded.
                Some(Fitting { seq, own: true }) => {
                    filled.push(seq);
                    vacated.push(whose.seq);
                    continue;
                }
                _ if timely => {
                    (Backdated, "received_at was another when it was recorded".to_owned())
                }
                _ if outside => {
                    (Backdated, "received_at is not within the times of its batch".to_owned())
                }
                _ => (Altered, why.to_string()),
            };
            findings.add(verdict, whose.subject(), why);
        }
        for Extra { whose, row } in &extra {
            let row = row.as_ref().and_then(|row| row.row().ok());
            let fitting = row.and_then(|row| fitting(&mut leaves, &row, &slots));
            let (verdict, why) = match fitting {
                Some(Fitting { seq, own: false }) => {
                    filled.push(seq);
                    (Moved, format!("it was recorded as event {seq}"))
                }
                // Its header was altered, which the tree tells; the row itself is as it was recorded.
                Some(Fitting { seq, own: true }) => {
                    filled.push(seq);
                    continue;
                }
                None if missing
                    .iter()
                    .any(|missing| (missing.first..=missing.last).contains(&whose.seq)) =>
                {
                    filled.push(whose.seq);
                    (Backdated, "received_at is not within the times of its batch".to_owned())
                }
                None => (Inserted, NO_BATCH.to_owned()),
            };
            findings.add(verdict, whose.subject(), why);
        }
        // Where a row was found under another's number, the other one's may be gone.
        vacated.retain(|seq| !filled.contains(seq));
        let vacated = vacated.into_iter().map(|seq| (seq, seq));
        let missing = missing.into_iter().map(|missing| (missing.first, missing.last));
        for (first, last) in missing.chain(vacated) {
            for (first, last) in without(first, last, &mut filled) {
                findings.add(Deleted, Subject::Events { first, last }, NO_ROW);
            }
        }
        findings
    }
}

const NO_ROW: &str = "it was recorded, and there is no row of it";
const NO_BATCH: &str = "no batch has such an event, or its row is there already";

/// A leaf that a row fits.
struct Fitting {
    seq: i64,
    /// With the number that the row has.
    own: bool,
}

/// The event that a row was recorded as, among those that have no row of their own.
fn fitting(leaves: &mut Leaves, row: &Row<'_>, slots: &[(i64, Slot)]) -> Option<Fitting> {
    slots.iter().find_map(|(seq, slot)| {
        let (metadata, content) = leaves.commitments(row, &slot.salt);
        let mut fits = |seq| {
            leaves.of_commitments(row, seq, row.received_at(), &metadata, &content) == slot.leaf
        };
        let own = row.seq();
        if *seq != own && fits(*seq) {
            return Some(Fitting { seq: *seq, own: false });
        }
        fits(own).then_some(Fitting { seq: *seq, own: true })
    })
}

/// Whether a row fits its leaf with one of these times.
fn is_timely(
    leaves: &mut Leaves,
    row: &Row<'_>,
    slot: &Slot,
    mut times: impl Iterator<Item = i64>,
) -> bool {
    let (metadata, content) = leaves.commitments(row, &slot.salt);
    times.any(|at| leaves.of_commitments(row, row.seq(), at, &metadata, &content) == slot.leaf)
}

/// What is left of a span without these numbers.
fn without(first: i64, last: i64, filled: &mut [i64]) -> Vec<(i64, i64)> {
    filled.sort_unstable();
    let mut left = Vec::new();
    let mut from = first;
    for &seq in filled.iter().filter(|seq| (first..=last).contains(seq)) {
        if seq > from {
            left.push((from, seq - 1));
        }
        from = seq.saturating_add(1);
    }
    if from <= last {
        left.push((from, last));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::finding::KEPT;

    fn damage(from: i64, partition: &str) -> Damage {
        let whose =
            |seq| Whose { seq, received_at: seq, event_id: None, partition: partition.to_owned() };
        let slot = Slot { leaf: [0; 32], salt: [0; 16] };
        let wrong = |seq| Wrong {
            whose: whose(seq),
            row: None,
            slot,
            times: (None, None),
            why: "it is another".into(),
        };
        let mut damage = Damage::default();
        damage.wrong.extend((from..from + 600).map(|seq| (seq, wrong(seq))));
        damage.missing(from + 1_000, &[slot; 600]);
        damage
    }

    #[test]
    fn of_all_partitions_together_no_more_is_kept_than_of_one() {
        let mut room = Room::default();
        let spans: Vec<_> =
            (0..50).map(|span| damage(span * 10_000, "events").within(&mut room)).collect();
        let rows: usize = spans.iter().map(|span| span.wrong.len()).sum();
        let slots = spans.iter().flat_map(|span| &span.missing).map(|missing| missing.slots.len());
        let said: usize = spans.iter().map(|span| span.at_once.kept().len()).sum();
        assert_eq!((rows, slots.sum::<usize>(), said), (COMPARED, COMPARED, KEPT));
        let mut all = Damage::default();
        spans.into_iter().for_each(|span| all.join(span));
        let findings = all.judge();
        assert_eq!((findings.count(Altered), findings.count(Deleted)), (50 * 600, 50 * 600));
    }

    #[test]
    fn two_rows_of_one_number_in_two_partitions_are_two_findings() {
        let mut all = damage(0, "events_early");
        all.join(damage(0, "events_late"));
        assert_eq!(
            all.judge().kept().iter().filter(|finding| finding.verdict != Deleted).count(),
            1_200
        );
    }
}
