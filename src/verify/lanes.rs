//! Lanes: each header names the hash of the one before it, and none is left out.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    finding::{
        Findings, Subject,
        Verdict::{Altered, Moved},
    },
    header::NONE_BEFORE,
};
use crate::{ledger::Hash, store::BatchRow};

/// The last header of a lane that was seen.
#[derive(Debug, Clone, Copy)]
struct Last {
    number: i64,
    hash: Hash,
    position: i64,
    chained: bool,
    signed: bool,
}

/// A header names another hash than that of the one before it: one of the two was altered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken {
    pub lane: Uuid,
    /// The earlier one's number, and its position.
    pub number: i64,
    pub position: i64,
    /// The later one's number, and its position.
    pub next: i64,
    pub next_position: i64,
    /// What the later one names.
    pub named: Hash,
    /// Whether the tree is as it was sealed with the named hash in place of the earlier one's; none where that could not be tried.
    pub fits: Option<bool>,
}

/// Numbers that are missing in a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub lane: Uuid,
    pub from: i64,
    pub to: i64,
    /// Between these positions they should be.
    pub after: i64,
    pub before: i64,
    /// The one that came out of its order, and is no longer missing.
    pub came_late: Option<i64>,
    /// Nothing of the lane comes before it.
    pub first: bool,
}

/// All lanes. What there is to remember of one is its last header.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    last: HashMap<Uuid, Last>,
    /// Numbers that lanes had reached before the first epoch.
    before: HashMap<Uuid, i64>,
    pub broken: Vec<Broken>,
    pub gaps: Vec<Gap>,
    /// Where headers are that were found to be altered.
    altered_at: Vec<i64>,
}

/// How much of what is wrong is remembered for what comes later.
pub(super) const REMEMBERED: usize = 10_000;

impl Lanes {
    /// Lanes of which some have begun before anything was sealed.
    pub fn after(before: impl IntoIterator<Item = (Uuid, i64)>) -> Lanes {
        Lanes { before: before.into_iter().collect(), ..Lanes::default() }
    }

    /// Takes on the next header, in order of positions.
    pub fn next(&mut self, batch: &BatchRow, hash: Hash, findings: &mut Findings) {
        if let Some(why) = misshapen(batch) {
            self.altered(batch, findings, why);
        }
        let mut here = Last {
            number: batch.number,
            hash,
            position: batch.position,
            chained: batch.previous.is_some(),
            signed: batch.signature.is_some(),
        };
        let follows = |last: &Last| last.chained && batch.previous.as_deref() == Some(&last.hash);
        match self.last.get(&batch.lane).copied() {
            None => self.begins(batch, findings),
            Some(last) if batch.number == last.number.saturating_add(1) => {
                self.is_linked(batch, &last, findings);
            }
            Some(last) if follows(&last) => {
                // The one after it will show the number that this one had.
                here.number = last.number.saturating_add(1);
                let why = format!(
                    "its number was changed: it follows number {} of its lane",
                    last.number
                );
                self.altered(batch, findings, why);
            }
            Some(last) if batch.number > last.number => {
                self.gap(batch, last.number.saturating_add(1), last.position, false);
            }
            Some(last) => {
                self.comes_late(batch, &last, findings);
                return;
            }
        }
        self.last.insert(batch.lane, here);
    }

    /// The first of its lane.
    fn begins(&mut self, batch: &BatchRow, findings: &mut Findings) {
        let before = self.before.get(&batch.lane).copied().unwrap_or(0);
        if batch.number != before.saturating_add(1) {
            self.gap(batch, before.saturating_add(1), i64::MIN, true);
        } else if before == 0 && batch.previous.as_deref().is_some_and(|hash| hash != NONE_BEFORE) {
            self.altered(
                batch,
                findings,
                "it is the first of its lane and names one before it".to_owned(),
            );
        }
    }

    fn is_linked(&mut self, batch: &BatchRow, last: &Last, findings: &mut Findings) {
        if last.signed != batch.signature.is_some() {
            let unsigned = if last.signed { batch.number } else { last.number };
            self.altered_at(if last.signed { batch.position } else { last.position });
            let subject = Subject::Batch { lane: batch.lane, number: unsigned };
            findings.add(Altered, subject, "its signature is missing: others of its lane have one");
        }
        let Some(named) = batch.previous.as_deref() else {
            if last.chained {
                self.altered(
                    batch,
                    findings,
                    "it names no header before it: others of its lane do".to_owned(),
                );
            }
            return;
        };
        if last.chained && named == last.hash || self.broken.len() >= REMEMBERED {
            return;
        }
        self.broken.push(Broken {
            lane: batch.lane,
            number: last.number,
            position: last.position,
            next: batch.number,
            next_position: batch.position,
            named: named.try_into().unwrap_or(NONE_BEFORE),
            fits: None,
        });
    }

    fn gap(&mut self, batch: &BatchRow, from: i64, after: i64, first: bool) {
        if self.gaps.len() < REMEMBERED {
            let (lane, to, before) = (batch.lane, batch.number.saturating_sub(1), batch.position);
            self.gaps.push(Gap { lane, from, to, after, before, came_late: None, first });
        }
    }

    /// Its number should have come before.
    fn comes_late(&mut self, batch: &BatchRow, last: &Last, findings: &mut Findings) {
        let is_meant = |gap: &&mut Gap| {
            gap.lane == batch.lane
                && gap.came_late.is_none()
                && (gap.from..=gap.to).contains(&batch.number)
        };
        if let Some(gap) = self.gaps.iter_mut().find(is_meant) {
            let whole = *gap;
            *gap = Gap {
                from: batch.number,
                to: batch.number,
                came_late: Some(batch.position),
                ..whole
            };
            let around = [(whole.from, batch.number - 1), (batch.number + 1, whole.to)];
            let rest = around.into_iter().filter(|(from, to)| from <= to);
            // Each splits one: somebody may have made that many.
            let room = REMEMBERED.saturating_sub(self.gaps.len());
            self.gaps.extend(rest.map(|(from, to)| Gap { from, to, ..whole }).take(room));
        }
        self.altered_at(batch.position);
        let why = format!("its position is after that of number {} of its lane", last.number);
        findings.add(Moved, Subject::Batch { lane: batch.lane, number: batch.number }, why);
    }

    /// A header that is certainly not as it was.
    pub fn altered(&mut self, batch: &BatchRow, findings: &mut Findings, why: String) {
        self.altered_at(batch.position);
        findings.add(Altered, Subject::Batch { lane: batch.lane, number: batch.number }, why);
    }

    /// At this position something is not as it was.
    pub fn altered_at(&mut self, position: i64) {
        if self.altered_at.len() < REMEMBERED {
            self.altered_at.push(position);
        }
    }

    /// Whether a header at these positions was found to be altered.
    pub fn any_altered(&self, positions: std::ops::Range<i64>) -> bool {
        self.altered_at.iter().any(|at| positions.contains(at))
    }
}

/// What of a header's columns cannot be, whatever it was.
fn misshapen(batch: &BatchRow) -> Option<String> {
    let hash = size_of::<Hash>();
    if batch.holed {
        return Some("a column of it is null that never is".to_owned());
    }
    if batch.previous.is_some() != batch.leaves.is_some() {
        return Some("one of previous and leaves is null, and the other is not".to_owned());
    }
    if batch.previous.as_ref().is_some_and(|previous| previous.len() != hash) {
        return Some("previous is no hash".to_owned());
    }
    let events = usize::try_from(batch.events).unwrap_or(usize::MAX);
    match &batch.leaves {
        Some(leaves) if leaves.len() != events.saturating_mul(hash) => Some(format!(
            "leaves has {} bytes, where {} events have 32 each",
            leaves.len(),
            batch.events
        )),
        _ if batch.first_seq.is_some() != (batch.events > 0) => {
            Some("first_seq and events do not go together".to_owned())
        }
        _ => None,
    }
}
