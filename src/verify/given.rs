//! Checkpoints that are given, and roots that are wanted for them.

use std::collections::BTreeMap;

use super::finding::{Findings, Subject, Verdict::Forked};
use crate::ledger::{Checkpoint, CheckpointError, Hash, Note};

/// A checkpoint that was kept outside the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Where it was kept.
    pub name: String,
    /// The note that it is.
    pub note: Note,
    /// Its tree.
    pub epoch: u64,
    /// Its leaves.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Given {
    /// Reads a signed note. Its signatures are looked at when it is known whose count.
    ///
    /// # Errors
    /// It is no note, or no checkpoint.
    pub fn read(name: impl Into<String>, note: &[u8]) -> Result<Given, CheckpointError> {
        Given::of(name, Note::parse(note)?)
    }

    /// Takes a note that was read.
    ///
    /// # Errors
    /// It is no checkpoint.
    pub fn of(name: impl Into<String>, note: Note) -> Result<Given, CheckpointError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let (epoch, size, root) = (checkpoint.epoch()?, checkpoint.size(), *checkpoint.root());
        Ok(Given { name: name.into(), note, epoch, size, root })
    }
}

/// The roots at the sizes of the given checkpoints, as far as the tree of an epoch has come.
#[derive(Debug, Default)]
pub(super) struct Roots {
    wanted: BTreeMap<u64, Option<Hash>>,
    next: Option<u64>,
}

impl Roots {
    /// Those that an epoch's checkpoints need.
    pub fn of(given: &[Given], epoch: i32) -> Roots {
        let of_it = given.iter().filter(|given| i64::try_from(given.epoch) == Ok(i64::from(epoch)));
        let wanted: BTreeMap<_, _> = of_it.map(|given| (given.size, None)).collect();
        let next = wanted.keys().next().copied();
        Roots { wanted, next }
    }

    /// The root at this size is wanted, too.
    pub fn also(&mut self, size: u64) {
        self.wanted.entry(size).or_default();
        self.next = self.wanted.keys().next().copied();
    }

    /// The root at this size, where it is known.
    pub fn at(&self, size: u64) -> Option<Hash> {
        self.wanted.get(&size).copied().flatten()
    }

    /// Whether the root of a tree of so many leaves is wanted next.
    pub fn wants(&self, size: u64) -> bool {
        self.next == Some(size)
    }

    /// The root at that size.
    pub fn is(&mut self, size: u64, root: Hash) {
        if let Some(wanted) = self.wanted.get_mut(&size) {
            *wanted = Some(root);
        }
        self.goes_on_from(size.saturating_add(1));
    }

    /// Leaves from there to there were not those that were sealed: the roots between are nobody's word.
    pub fn are_unknown(&mut self, from: u64, to: u64) {
        for (_, root) in
            self.wanted.range_mut(from.saturating_add(1)..to.max(from.saturating_add(1)))
        {
            *root = None;
        }
        self.goes_on_from(to);
    }

    fn goes_on_from(&mut self, size: u64) {
        self.next = self.wanted.range(size..).next().map(|(size, _)| *size);
    }

    /// Compares the checkpoints of this epoch, whose tree has that many leaves in the end.
    pub fn compare(&self, given: &[Given], epoch: i32, size: u64, findings: &mut Findings) -> u64 {
        let of_it = given.iter().filter(|given| i64::try_from(given.epoch) == Ok(i64::from(epoch)));
        let mut agreed = 0;
        for given in of_it {
            let root = self.wanted.get(&given.size).copied().flatten();
            if root == Some(given.root) {
                agreed += 1;
                continue;
            }
            let why = match root {
                _ if given.size > size => format!(
                    "the database's tree has {size} leaves only: it went back in time (an older state was restored, or a \
                     standby took over that was behind), or was rewritten"
                ),
                Some(_) => "the database has another root for that size: its history was rewritten".to_owned(),
                None => "the leaves up to that size are not those of any seal: its history was rewritten".to_owned(),
            };
            forked(given, why, findings);
        }
        agreed
    }
}

/// Checkpoints of epochs that the database does not have.
pub(super) fn without_epoch(given: &[Given], epochs: &[i32], findings: &mut Findings) {
    for given in given {
        if !epochs.iter().any(|epoch| i64::try_from(given.epoch) == Ok(i64::from(*epoch))) {
            let why = format!(
                "the database has no epoch {}: it went back in time, or was rewritten",
                given.epoch
            );
            forked(given, why, findings);
        }
    }
}

fn forked(given: &Given, why: String, findings: &mut Findings) {
    let which = format!("the checkpoint {}", given.name);
    let subject = Subject::Checkpoint { epoch: given.epoch, size: given.size, which };
    findings.add(Forked, subject, why);
}
