//! How a proof is made: which subtrees of the tree it consists of.

use super::ProofError;
use crate::ledger::{
    hash::Hash,
    subtree::{Subtree, joined},
};

/// The making of one proof: which hashes it takes, and how they become it. Whoever keeps the tree can get all of them at
/// once, from wherever they are: nothing here waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Each hash of the proof is over one or, at the tree's right edge, several of them.
    hashes: Vec<Vec<Subtree>>,
}

impl Plan {
    /// The proof that the leaf at `index`, counted from 0, is in the tree of `size` leaves.
    ///
    /// # Errors
    /// There is no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Result<Plan, ProofError> {
        if index >= size {
            return Err(ProofError::NoLeaf { index, size });
        }
        let mut hashes = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                hashes.push(Subtree::of_range(middle..end));
                end = middle;
            } else {
                hashes.push(Subtree::of_range(start..middle));
                start = middle;
            }
        }
        hashes.reverse();
        Ok(Plan { hashes })
    }

    /// The proof that the tree of `to` leaves begins with that of its first `from`.
    ///
    /// # Errors
    /// The later tree would be smaller.
    pub fn consistency(from: u64, to: u64) -> Result<Plan, ProofError> {
        if from > to {
            return Err(ProofError::Shrinks { from, to });
        }
        let mut hashes = Vec::new();
        if from == 0 {
            return Ok(Plan { hashes });
        }
        let (mut start, mut end) = (0, to);
        while from < end {
            let middle = start + split(end - start);
            if from <= middle {
                hashes.push(Subtree::of_range(middle..end));
                end = middle;
            } else {
                hashes.push(Subtree::of_range(start..middle));
                start = middle;
            }
        }
        // The earlier tree itself is known to whoever checks.
        if start > 0 {
            hashes.push(Subtree::of_range(start..end));
        }
        hashes.reverse();
        Ok(Plan { hashes })
    }

    /// The subtrees whose hashes the proof is made from, each once.
    pub fn subtrees(&self) -> impl Iterator<Item = Subtree> {
        self.hashes.iter().flatten().copied()
    }

    /// The proof, from the hash of each subtree.
    ///
    /// # Errors
    /// Those of `hash_of`.
    pub fn proof<E>(
        &self,
        mut hash_of: impl FnMut(Subtree) -> Result<Hash, E>,
    ) -> Result<Vec<Hash>, E> {
        let mut proof = Vec::with_capacity(self.hashes.len());
        for subtrees in &self.hashes {
            let hashes =
                subtrees.iter().map(|tree| hash_of(*tree)).collect::<Result<Vec<_>, _>>()?;
            proof.extend(joined(&hashes));
        }
        Ok(proof)
    }
}

/// How many of these leaves, at least two, are in the left subtree: the largest power of two that is smaller.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}
