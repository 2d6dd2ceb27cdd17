//! What it is that makes a seal's root another.

use std::ops::Range;

use uuid::Uuid;

use super::{Bad, KEPT_LEAVES, Seals, What};
use crate::{
    ledger::Hash,
    store::SealRow,
    verify::{
        finding::{
            Subject,
            Verdict::{Altered, Deleted, Inserted},
        },
        header::batch_leaf,
        lanes::{Broken, Gap, REMEMBERED},
    },
};

/// How many of the things that a seal holds are named, where it may be any of them.
const NAMED: usize = 8;

impl Seals {
    /// Finds out what can be found out while the leaves of the seal are at hand.
    pub(super) fn diagnose(&mut self, seal: &SealRow, (short, short_acts): (i64, i64)) {
        if self.bad.len() >= REMEMBERED {
            let subject = Subject::Seal { epoch: seal.epoch, number: seal.number };
            self.findings.add(Altered, subject, "its root does not come from what it holds");
            return;
        }
        let mut bad = Bad {
            epoch: seal.epoch,
            number: seal.number,
            positions: seal.position_from..seal.position_to,
            short,
            short_acts,
            explained: false,
            holds: self.items.iter().map(|item| item.what).take(NAMED + 1).collect(),
        };
        if self.leaves.len() <= KEPT_LEAVES {
            if short == 0 {
                self.try_named(seal);
            }
            if short == -1 && short_acts == 0 || short == 0 && short_acts == -1 {
                self.try_without(seal, &mut bad);
            }
        }
        self.bad.push(bad);
    }

    /// Whether the root is as it was with another leaf, or without some; none where enough was tried.
    fn fits(
        &self,
        seal: &SealRow,
        leaves: impl Iterator<Item = Hash>,
        trials: &mut usize,
    ) -> Option<bool> {
        *trials = trials.checked_sub(self.leaves.len())?;
        let mut tree = self.before.clone();
        for leaf in leaves {
            tree.push(leaf, |_| ());
        }
        Some(tree.root()[..] == seal.root[..])
    }

    /// Where two headers of a lane do not fit, the hash that the later one names may be that of the earlier one as it was.
    fn try_named(&mut self, seal: &SealRow) {
        let mut broken = std::mem::take(&mut self.lanes.broken);
        let mut trials = self.trials;
        for broken in broken.iter_mut().filter(|broken| broken.fits.is_none()) {
            let is_it = |what: What| matches!(what, What::Batch { lane, number, .. } if (lane, number) == (broken.lane, broken.number));
            let Some(item) = self.items.iter().find(|item| is_it(item.what)) else { continue };
            let What::Batch { committed_at, .. } = item.what else { continue };
            let named = batch_leaf(&broken.named, committed_at, item.position);
            let leaves = self.leaves.iter().enumerate();
            let leaves = leaves.map(|(place, leaf)| if place == item.leaf { named } else { *leaf });
            broken.fits = self.fits(seal, leaves, &mut trials);
        }
        self.lanes.broken = broken;
        self.trials = trials;
    }

    /// Which of the things it holds it is without which the root is as it was.
    fn try_without(&mut self, seal: &SealRow, bad: &mut Bad) {
        let ends = self.items.iter().skip(1).map(|item| item.leaf).chain([self.leaves.len()]);
        let mut trials = self.trials;
        for (item, end) in self.items.iter().zip(ends) {
            let leaves = self.leaves[..item.leaf].iter().chain(&self.leaves[end..]);
            match self.fits(seal, leaves.copied(), &mut trials) {
                None => break,
                Some(false) => {}
                Some(true) => {
                    let why = format!("seal {} does not have it", seal.number);
                    self.findings.add(Inserted, item.what.subject(), why);
                    bad.explained = true;
                    break;
                }
            }
        }
        self.trials = trials;
    }

    /// Says of what was found on the way what it means, when all of it is known.
    pub fn conclude(&mut self) {
        self.resolve_signatures();
        self.resolve_links();
        self.resolve_gaps();
        for bad in std::mem::take(&mut self.bad) {
            let subject = Subject::Seal { epoch: bad.epoch, number: bad.number };
            let positions = &bad.positions;
            if bad.short > 0 || bad.short_acts > 0 {
                let (batches, acts) = (bad.short.max(0), bad.short_acts.max(0));
                let why = format!(
                    "{batches} batch(es) and {acts} act(s) of it are gone, from positions {} to {}; batches: the last of a lane",
                    positions.start,
                    positions.end.saturating_sub(1)
                );
                self.findings.add(Deleted, subject, why);
            } else if bad.explained || self.lanes.any_altered(positions.clone()) {
            } else if bad.short < 0 || bad.short_acts < 0 {
                let why = format!(
                    "{} batch(es) and {} act(s) stand at its positions that it does not have",
                    -bad.short.min(0),
                    -bad.short_acts.min(0)
                );
                self.findings.add(Inserted, subject, why);
            } else {
                self.unexplained(&bad, subject);
            }
        }
    }

    fn unexplained(&mut self, bad: &Bad, subject: Subject) {
        if let [only] = bad.holds[..] {
            let why = format!("seal {} has another hash of it", bad.number);
            self.findings.add(Altered, only.subject(), why);
            return;
        }
        let mut holds: Vec<_> = bad.holds.iter().map(|what| what.subject().to_string()).collect();
        if holds.len() > NAMED {
            holds[NAMED] = "others".to_owned();
        }
        let why = format!(
            "its root does not come from what it holds, of which one was altered: {}",
            holds.join(", ")
        );
        self.findings.add(Altered, subject, why);
    }

    /// Of two headers that do not fit, the one that was altered.
    fn resolve_links(&mut self) {
        let broken = std::mem::take(&mut self.lanes.broken);
        let is_broken_after = |this: &Broken| {
            broken.iter().any(|other| (other.lane, other.number) == (this.lane, this.next))
        };
        let is_bad = |position: i64| self.bad.iter().any(|bad| bad.positions.contains(&position));
        let mut altered = Vec::new();
        for link in &broken {
            let (earlier, later) = (is_bad(link.position), is_bad(link.next_position));
            let is_later = match link.fits {
                Some(fits) => !fits && (later || is_broken_after(link)),
                None => is_broken_after(link) || later && !earlier,
            };
            let by_signature = |number| self.findings.has_header(link.lane, number);
            if by_signature(link.number) || by_signature(link.next) {
                continue;
            }
            // The link after it tells of the same header.
            let known = altered.iter().any(|(other, number, _): &(&Broken, i64, i64)| {
                other.lane == link.lane && *number == link.number
            });
            if known {
                continue;
            }
            altered.push(if is_later {
                (link, link.next, link.next_position)
            } else {
                (link, link.number, link.position)
            });
        }
        for (link, number, position) in altered {
            let why = if number == link.number {
                "the next header of its lane names another hash"
            } else {
                "it names another hash than that of the header before it"
            };
            self.lanes.altered_at(position);
            self.findings.add(Altered, Subject::Batch { lane: link.lane, number }, why);
        }
    }

    /// Whether batches that are missing between these positions may have been lost before an epoch was begun there: what was in hand
    /// when the database went back in time is tried again under the number that it had, in the lane that it was for.
    fn is_lost(&self, lane: Uuid, between: Range<i64>) -> bool {
        let opened = lane.get_timestamp().map(|at| at.to_unix());
        let opened =
            opened.and_then(|(seconds, _)| i64::try_from(seconds).ok()?.checked_mul(1_000_000));
        self.begun.iter().any(|(epoch, begin)| {
            let began = self.lawful.epochs.get(&i64::from(*epoch));
            between.start < *begin
                && *begin <= between.end
                && opened.zip(began).is_some_and(|(opened, began)| opened <= *began)
        })
    }

    /// Of numbers that are missing in a lane, whether their batches are gone.
    fn resolve_gaps(&mut self) {
        for gap in std::mem::take(&mut self.lanes.gaps) {
            let Gap { lane, from, to, after, before, came_late, first } = gap;
            let within = |bad: &Bad| bad.positions.end > after && bad.positions.start <= before;
            if let Some(position) = came_late {
                // Where it was, one is missing; where it is, there is one too many.
                for bad in &mut self.bad {
                    let here = bad.positions.contains(&position);
                    if within(bad) && bad.short > 0 {
                        (bad.short, bad.explained) = (bad.short - 1, true);
                    } else if here && bad.short < 0 {
                        (bad.short, bad.explained) = (bad.short + 1, true);
                    }
                }
                continue;
            }
            let missing = to.saturating_sub(from).saturating_add(1);
            let mut left = missing;
            for bad in self.bad.iter_mut().filter(|bad| within(bad) && bad.short > 0) {
                let taken = bad.short.min(left);
                (bad.short, bad.explained, left) = (bad.short - taken, true, left - taken);
            }
            let whole = !self.bad.iter().any(|bad| bad.positions.contains(&before));
            if whole && left == missing && self.is_lost(lane, after..before) {
                self.counts.lost += missing.unsigned_abs();
                continue;
            }
            let (verdict, number, why) = if left < missing || before >= self.sealed_to {
                let why = match missing {
                    1 => "it is missing in its lane".to_owned(),
                    _ => format!("it and those up to number {to} are missing in their lane"),
                };
                (Deleted, from, why)
            } else if first {
                let why = "its lane begins with it, and no seal lacks a batch: its lane or its number was changed";
                (Altered, to + 1, why.to_owned())
            } else {
                let why = "it is missing in its lane, and no seal lacks a batch: its lane or its number was changed";
                (Altered, from, why.to_owned())
            };
            if verdict == Altered {
                for bad in self.bad.iter().filter(|bad| within(bad)) {
                    self.lanes.altered_at(bad.positions.start);
                }
            }
            self.findings.add(verdict, Subject::Batch { lane, number }, why);
        }
    }
}

impl What {
    fn subject(&self) -> Subject {
        match *self {
            What::Batch { lane, number, .. } => Subject::Batch { lane, number },
            What::Act { id } => Subject::Act { id },
        }
    }
}
