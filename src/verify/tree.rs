//! The checker's own Merkle tree, which grows leaf by leaf and forgets all but its right edge.

use crate::ledger::{Hash, empty_root, node_hash};

/// How many levels lie between two that are stored.
const STORED_EVERY: u32 = 8;

/// A node that is stored: the hash of 256^level leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub level: u32,
    pub index: u64,
    pub hash: Hash,
}

impl Full {
    /// The end of its leaves.
    pub fn end(level: u32, index: u64) -> u128 {
        (u128::from(index) + 1) << (STORED_EVERY * level.min(8))
    }
}

/// A tree of so many leaves: for each bit of their number a complete subtree, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    size: u64,
    edge: Vec<Hash>,
}

impl Tree {
    /// A tree as it is stated; none where the statement does not fit itself.
    pub fn stated(size: i64, edge: &[u8], root: &[u8]) -> Option<Tree> {
        let (hashes, []) = edge.as_chunks::<32>() else { return None };
        let tree = Tree { size: u64::try_from(size).ok()?, edge: hashes.to_vec() };
        (tree.edge.len() == tree.size.count_ones() as usize && tree.root() == root).then_some(tree)
    }

    /// Its leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of its complete subtrees, one after the other.
    pub fn edge(&self) -> Vec<u8> {
        self.edge.concat()
    }

    /// Its root.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.edge.iter().rev();
        let Some(last) = subtrees.next() else { return empty_root() };
        subtrees.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Appends a leaf, and tells of each node that is full with it, the lowest first.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(Full)) {
        let mut hash = leaf;
        self.size += 1;
        // Each bit that carries joins two subtrees.
        for height in 1..=self.size.trailing_zeros() {
            let Some(left) = self.edge.pop() else { break };
            hash = node_hash(&left, &hash);
            if height.is_multiple_of(STORED_EVERY) {
                let index = (self.size >> height) - 1;
                full(Full { level: height / STORED_EVERY, index, hash });
            }
        }
        self.edge.push(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::leaf_hash;

    /// The definition of RFC 6962, to the letter.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&defined(&leaves[..split]), &defined(&leaves[split..]))
            }
        }
    }

    #[test]
    fn roots_and_nodes_are_those_of_the_definition() {
        let leaves: Vec<_> = (0..70_000_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut tree = Tree::default();
        let mut nodes = Vec::new();
        for (count, leaf) in (1..).zip(&leaves) {
            tree.push(*leaf, |node| nodes.push(node));
            if count < 600 || count == leaves.len() {
                assert_eq!(tree.root(), defined(&leaves[..count]), "{count}");
            }
        }
        assert_eq!(nodes.len(), 273 + 1);
        for node in &nodes {
            let span = 1 << (8 * node.level);
            let from = usize::try_from(node.index).unwrap() * span;
            assert_eq!(node.hash, defined(&leaves[from..from + span]), "{node:?}");
        }
        let ends: Vec<_> = nodes.iter().map(|node| Full::end(node.level, node.index)).collect();
        assert!(ends.is_sorted(), "{ends:?}");
        let same = Tree::stated(70_000, &tree.edge(), &tree.root());
        assert_eq!(same.as_ref(), Some(&tree));
        assert_eq!(Tree::stated(70_001, &tree.edge(), &tree.root()), None);
    }
}
