//! A tree that grows: what has to be known of it to append to it and to tell its root.

use thiserror::Error;

use super::{
    hash::{Hash, empty_root, node_hash},
    subtree::{Subtree, joined},
};

/// The right edge of a tree: its size, and the hashes of the complete subtrees that its leaves fall into, the largest, which is
/// the leftmost, first. At most 63 hashes, whatever the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// As many as the size has bits that are one.
    edge: Vec<Hash>,
}

/// A node that is stored: the hash over the `256^level` leaves from `index · 256^level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// From 1 on; level 0 would be the leaves.
    pub level: u8,
    /// Its place in its level, from 0 on.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A size and hashes that are not the right edge of one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WrongEdge {
    /// Another number of hashes.
    #[error(
        "a tree of {size} leaves has {needed} subtrees at its right edge, and {given} hashes are given"
    )]
    Count {
        /// Leaves of the tree.
        size: u64,
        /// How many hashes its edge has.
        needed: usize,
        /// How many there were.
        given: usize,
    },
    /// More leaves than a 64-bit number with a sign can count, as the database has it.
    #[error("a tree of {0} leaves is too large: it can have 2^63 - 1")]
    Size(u64),
}

impl Frontier {
    /// The subtrees whose hashes [`Frontier::from_parts`] needs for a tree of this size, in their order.
    #[must_use]
    pub fn edge_of(size: u64) -> Vec<Subtree> {
        Subtree::of_range(0..size)
    }

    /// The edge of a tree that is there already.
    ///
    /// # Errors
    /// These are not as many hashes as a tree of this size has subtrees at its edge, or the size is beyond 2^63 - 1.
    pub fn from_parts(size: u64, edge: Vec<Hash>) -> Result<Frontier, WrongEdge> {
        if i64::try_from(size).is_err() {
            return Err(WrongEdge::Size(size));
        }
        let needed = size.count_ones() as usize;
        if edge.len() != needed {
            return Err(WrongEdge::Count { size, needed, given: edge.len() });
        }
        Ok(Frontier { size, edge })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of [`Frontier::edge_of`] this size.
    #[must_use]
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// The root of the tree as it is. It costs as many node hashes as there are subtrees at the edge, less one.
    #[must_use]
    pub fn root(&self) -> Hash {
        joined(&self.edge).unwrap_or_else(empty_root)
    }

    /// Appends a leaf by its hash, and puts the nodes that are full with it, lower levels first, behind those in `completed`.
    ///
    /// It costs one node hash on average, which is two compressions of SHA-256, and takes no memory but for the nodes.
    pub fn append(&mut self, leaf: Hash, completed: &mut Vec<Node>) {
        let mut here = Subtree { height: 0, index: self.size };
        let mut hash = leaf;
        // A right child closes the subtree above it; its sibling is the last of the edge.
        while here.index % 2 == 1
            && let Some(left) = self.edge.pop()
        {
            hash = node_hash(&left, &hash);
            here = Subtree { height: here.height + 1, index: here.index / 2 };
            if let Some(level) = here.level() {
                completed.push(Node { level, index: here.index, hash });
            }
        }
        self.edge.push(hash);
        self.size += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::hash::leaf_hash;

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_be_bytes())
    }

    #[test]
    fn full_nodes_are_told_once_each_lower_levels_first() {
        let (mut tree, mut completed) = (Frontier::default(), Vec::new());
        let mut told = Vec::new();
        for index in 0..2 * 65_536 + 300 {
            tree.append(leaf(index), &mut completed);
            told.extend(completed.drain(..).map(|node| (tree.size(), node.level, node.index)));
        }
        let expected: Vec<_> = (1..=tree.size())
            .flat_map(|size| {
                let full = |span: u64| (size % span == 0).then(|| size / span - 1);
                let low = full(256).map(|index| (size, 1, index));
                low.into_iter().chain(full(65_536).map(|index| (size, 2, index)))
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_node_is_the_root_of_a_tree_of_its_leaves() {
        let (mut tree, mut completed) = (Frontier::default(), Vec::new());
        (0..768).for_each(|index| tree.append(leaf(index), &mut completed));
        for node in completed {
            let mut alone = Frontier::default();
            let leaves = node.index * 256..(node.index + 1) * 256;
            leaves.for_each(|index| alone.append(leaf(index), &mut Vec::new()));
            assert_eq!((node.level, node.hash), (1, alone.root()));
        }
    }

    #[test]
    fn a_tree_goes_on_from_its_edge() {
        let (mut whole, mut nodes) = (Frontier::default(), Vec::new());
        for size in 0..600 {
            let edge = whole.edge().to_vec();
            assert_eq!(edge.len(), Frontier::edge_of(size).len());
            let mut resumed = Frontier::from_parts(size, edge).unwrap();
            let mut again = Vec::new();
            nodes.clear();
            whole.append(leaf(size), &mut nodes);
            resumed.append(leaf(size), &mut again);
            assert_eq!((&resumed, resumed.root(), &again), (&whole, whole.root(), &nodes));
        }
    }

    #[test]
    fn an_edge_of_another_tree_is_refused() {
        let wrong = Frontier::from_parts(7, vec![[0; 32]; 2]).unwrap_err();
        assert_eq!(wrong, WrongEdge::Count { size: 7, needed: 3, given: 2 });
        assert!(wrong.to_string().contains("7 leaves has 3 subtrees"), "{wrong}");
        assert_eq!(Frontier::from_parts(1 << 63, vec![[0; 32]]), Err(WrongEdge::Size(1 << 63)));
        assert!(Frontier::from_parts(i64::MAX as u64, vec![[0; 32]; 63]).is_ok());
    }
}
