//! Seals: each appends to the tree what stands at its positions, and nothing else.

mod diagnosis;
mod signed;
mod unsealed;

use std::sync::Arc;

use uuid::Uuid;

use super::{
    acts::Lawful,
    finding::{
        Findings, Subject,
        Verdict::{Altered, Deleted, Inserted},
    },
    given::Roots,
    header::batch_leaf,
    keys::Keys,
    lanes::Lanes,
    tree::{Full, Tree},
};
use crate::{
    ledger::Hash,
    store::{EpochRow, LedgerEntry, SealRow},
};
use signed::Signatures;
pub(super) use unsealed::Due;

/// Leaves of a seal that are kept to find out what is wrong with it.
const KEPT_LEAVES: usize = 400_000;

/// How many leaves are hashed in all to find out what is wrong with seals: some ten seconds' worth.
const TRIED_LEAVES: usize = 50_000_000;

/// What a seal has taken on.
#[derive(Debug, Clone, Copy)]
struct Item {
    what: What,
    position: i64,
    /// Its place among the leaves that are kept.
    leaf: usize,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Batch { lane: Uuid, number: i64, committed_at: i64 },
    Act { id: Uuid },
}

/// A seal whose root does not come from what stands at its positions.
#[derive(Debug, Clone)]
struct Bad {
    epoch: i32,
    number: i64,
    positions: std::ops::Range<i64>,
    /// How many batches it has too few; below zero, too many.
    short: i64,
    /// The same of acts.
    short_acts: i64,
    explained: bool,
    /// What it holds, where that is little.
    holds: Vec<What>,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches, sealed or not.
    pub batches: u64,
    /// Acts, sealed or not.
    pub acts: u64,
    /// Seals.
    pub seals: u64,
    /// Nodes.
    pub nodes: u64,
    /// Checkpoints of the database's own.
    pub checkpoints: u64,
    /// Headers that one of the given keys has signed.
    pub signed: u64,
    /// Headers that nobody has signed.
    pub unsigned: u64,
    /// Headers that keys have signed which are not given.
    pub signed_by_others: u64,
    /// Batches and acts that were committed only just now, and are not sealed yet.
    pub fresh: u64,
    /// Batches that were lost before an epoch was begun: ones of the same lane are there.
    pub lost: u64,
    /// Acts that nobody has signed whose key is given.
    pub unsigned_acts: u64,
}

/// The tree as it grows, and what is found on the way.
#[derive(Debug)]
pub(super) struct Seals {
    pub findings: Findings,
    pub lanes: Lanes,
    pub lawful: Lawful,
    pub counts: Counts,
    pub roots: Roots,
    keys: Arc<Keys>,
    signatures: Signatures,
    tree: Tree,
    /// The tree before the seal at hand.
    before: Tree,
    items: Vec<Item>,
    leaves: Vec<Hash>,
    full: Vec<Full>,
    found: (i64, i64),
    bad: Vec<Bad>,
    /// Leaves that may still be hashed to find out more.
    trials: usize,
    last: Option<SealRow>,
    sealed_to: i64,
    /// Epochs from the second on, and where they begin.
    begun: Vec<(i32, i64)>,
}

impl Seals {
    /// Nothing yet.
    pub fn new(keys: Keys, lanes: Lanes, unsigned_before: i64) -> Seals {
        Seals {
            findings: Findings::default(),
            lanes,
            lawful: Lawful::default(),
            counts: Counts::default(),
            roots: Roots::default(),
            keys: Arc::new(keys),
            signatures: Signatures::new(unsigned_before),
            tree: Tree::default(),
            before: Tree::default(),
            items: Vec::new(),
            leaves: Vec::new(),
            full: Vec::new(),
            found: (0, 0),
            bad: Vec::new(),
            trials: TRIED_LEAVES,
            last: None,
            sealed_to: i64::MIN,
            begun: Vec::new(),
        }
    }

    /// Begins with an empty tree.
    pub fn begin(&mut self, epoch: &EpochRow, roots: Roots) {
        self.tree = Tree::default();
        self.before = Tree::default();
        self.roots = roots;
        self.last = None;
        if self.sealed_to > i64::MIN {
            self.begun.push((epoch.epoch, epoch.position_from));
        }
        self.sealed_to = self.sealed_to.max(epoch.position_from);
        if self.roots.wants(0) {
            self.roots.is(0, self.tree.root());
        }
    }

    /// Whose signatures count.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// The tree so far.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Appends what the seal at hand takes on.
    pub fn take(&mut self, entry: &LedgerEntry) {
        match entry {
            LedgerEntry::Batch(batch) => {
                let hash = self.header(batch);
                let what = What::Batch {
                    lane: batch.lane,
                    number: batch.number,
                    committed_at: batch.committed_at,
                };
                self.item(what, batch.position);
                self.push(batch_leaf(&hash, batch.committed_at, batch.position));
                for leaf in batch.leaves.as_deref().unwrap_or_default().as_chunks().0 {
                    self.push(*leaf);
                }
                self.found.0 += 1;
            }
            LedgerEntry::Act(act) => {
                let leaf = self.act(act);
                self.item(What::Act { id: act.id }, act.position);
                self.push(leaf);
                self.found.1 += 1;
            }
        }
    }

    fn item(&mut self, what: What, position: i64) {
        if self.leaves.len() < KEPT_LEAVES {
            self.items.push(Item { what, position, leaf: self.leaves.len() });
        }
    }

    fn push(&mut self, leaf: Hash) {
        // One more than can be kept tells that there were too many.
        if self.leaves.len() <= KEPT_LEAVES {
            self.leaves.push(leaf);
        }
        self.tree.push(leaf, |full| self.full.push(full));
        if self.roots.wants(self.tree.size()) {
            self.roots.is(self.tree.size(), self.tree.root());
        }
    }

    /// The seal has taken on all that it does. Gives the nodes that are full with it; none where those cannot be told.
    pub fn close(&mut self, seal: &SealRow) -> Option<Vec<Full>> {
        self.counts.seals += 1;
        self.follows_on(seal);
        let full = std::mem::take(&mut self.full);
        let root = self.tree.root();
        let short = (i64::from(seal.batches) - self.found.0, i64::from(seal.acts) - self.found.1);
        let same_edge = self.tree.edge() == seal.edge;
        let right = root[..] == seal.root[..] || same_edge;
        if right {
            let columns = [
                ("root", root[..] == seal.root[..]),
                ("edge", same_edge),
                ("tree_from", u64::try_from(seal.tree_from) == Ok(self.before.size())),
                ("tree_size", u64::try_from(seal.tree_size) == Ok(self.tree.size())),
                ("batches", short.0 == 0),
                ("acts", short.1 == 0),
            ];
            let wrong: Vec<_> =
                columns.iter().filter(|(_, right)| !right).map(|(name, _)| *name).collect();
            if !wrong.is_empty() {
                let why = format!("{} not what its batches and acts make", is_or_are(&wrong));
                self.findings.add(
                    Altered,
                    Subject::Seal { epoch: seal.epoch, number: seal.number },
                    why,
                );
            }
        } else {
            self.diagnose(seal, short);
            self.restore(seal);
        }
        self.sealed_to = self.sealed_to.max(seal.position_to);
        self.last = Some(seal.clone());
        self.before.clone_from(&self.tree);
        self.items.clear();
        self.leaves.clear();
        self.found = (0, 0);
        right.then_some(full)
    }

    /// Its number and its positions follow on those of the seal before it.
    fn follows_on(&mut self, seal: &SealRow) {
        let subject = Subject::Seal { epoch: seal.epoch, number: seal.number };
        let due = self.last.as_ref().map_or(0, |last| last.number).saturating_add(1);
        if seal.number != due {
            let why = format!("seal {due} of its epoch is missing before it");
            self.findings.add(Deleted, subject.clone(), why);
        }
        let from = self.last.as_ref().map_or(self.sealed_to, |last| last.position_to);
        if seal.position_from != from {
            let why = format!(
                "position_from is {}, and the one before it ends at {from}",
                seal.position_from
            );
            self.findings.add(Altered, subject, why);
        }
    }

    /// Goes on from what the seal states, where that is consistent in itself: what comes later is compared on its own.
    fn restore(&mut self, seal: &SealRow) {
        let from = self.before.size();
        if let Some(stated) = Tree::stated(seal.tree_size, &seal.edge, &seal.root) {
            self.tree = stated;
        }
        let to = self.tree.size();
        self.roots.are_unknown(from, to);
        if self.roots.wants(to) {
            self.roots.is(to, self.tree.root());
        }
    }

    /// A node of the database beside the one that the tree has there; either may be missing.
    pub fn node(&mut self, epoch: i32, full: Option<&Full>, stated: Option<(i64, i64, &[u8])>) {
        self.counts.nodes += u64::from(stated.is_some());
        let (verdict, (level, index), why) = match (full, stated) {
            (Some(full), Some((_, _, hash))) if full.hash[..] == *hash => return,
            (_, Some((level, index, _))) if full.is_some() => {
                (Altered, (level, index), "its hash is not that of its leaves")
            }
            (Some(full), _) => {
                let index = i64::try_from(full.index).unwrap_or(i64::MAX);
                (Deleted, (i64::from(full.level), index), "it is missing")
            }
            (None, Some((level, index, _))) => {
                (Inserted, (level, index), "the tree has no such node")
            }
            (None, None) => return,
        };
        self.findings.add(verdict, Subject::Node { epoch, level, index }, why);
    }
}

fn is_or_are(columns: &[&str]) -> String {
    format!("{} {}", columns.join(", "), if columns.len() == 1 { "is" } else { "are" })
}
