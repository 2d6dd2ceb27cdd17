//! Complete subtrees: the parts of a tree that never change again, and what every proof is put together from.

use std::ops::Range;

use super::hash::{Hash, node_hash};

/// How many levels of the tree lie between two that are stored: nodes are stored for each 256 leaves, 65,536, and so on.
const STORED_EVERY: u8 = 8;

/// The subtree over the leaves from `index · 2^height` up to `(index + 1) · 2^height`, all of which are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subtree {
    /// Levels above its leaves; 0 is a leaf alone. Below 64.
    pub height: u8,
    /// Its place among the subtrees of this height, from the left, from 0 on.
    pub index: u64,
}

impl Subtree {
    /// The leaves below it, by their index in the tree.
    #[must_use]
    pub fn leaves(self) -> Range<u64> {
        self.index << self.height..(self.index + 1) << self.height
    }

    /// The stored hashes that give its own by [`root_of_complete`]: their level, where 0 are the leaves, and their indexes
    /// there. They are 1 to 128.
    #[must_use]
    pub fn stored(self) -> (u8, Range<u64>) {
        let (level, above) = (self.height / STORED_EVERY, self.height % STORED_EVERY);
        (level, self.index << above..(self.index + 1) << above)
    }

    /// The stored level whose node it is; none where it lies between two levels, or is a leaf.
    pub(super) fn level(self) -> Option<u8> {
        (self.height > 0 && self.height.is_multiple_of(STORED_EVERY))
            .then_some(self.height / STORED_EVERY)
    }

    /// The fewest complete subtrees that hold these leaves, from the left.
    pub(super) fn of_range(leaves: Range<u64>) -> Vec<Subtree> {
        let Range { mut start, end } = leaves;
        let mut subtrees = Vec::new();
        while start < end {
            let fits = (end - start).ilog2();
            // No more than 63.
            let height = start.trailing_zeros().min(fits) as u8;
            subtrees.push(Subtree { height, index: start >> height });
            start += 1 << height;
        }
        subtrees
    }
}

/// The hash of a complete subtree, from those of all its subtrees of one height, from the left; none where their number is
/// not a power of two.
#[must_use]
pub fn root_of_complete(hashes: &[Hash]) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    level.first().copied()
}

/// The hash over subtrees beside each other that become smaller to the right; none where there are none.
pub(super) fn joined(hashes: &[Hash]) -> Option<Hash> {
    let (last, before) = hashes.split_last()?;
    Some(before.iter().rev().fold(*last, |right, left| node_hash(left, &right)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_the_fewest_subtrees_from_the_left() {
        for (start, end, expected) in [
            (0, 0, vec![]),
            (0, 1, vec![(0, 0)]),
            (0, 7, vec![(2, 0), (1, 2), (0, 6)]),
            (4, 7, vec![(1, 2), (0, 6)]),
            (256, 1024, vec![(8, 1), (9, 1)]),
        ] {
            let subtrees = Subtree::of_range(start..end);
            let found: Vec<_> = subtrees.iter().map(|tree| (tree.height, tree.index)).collect();
            assert_eq!(found, expected, "{start}..{end}");
            let leaves: Vec<_> = subtrees.iter().flat_map(|tree| tree.leaves()).collect();
            assert_eq!(leaves, (start..end).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_stored_of_a_subtree_is_at_the_level_below_it() {
        for (height, index, level, first, end) in [
            (0, 5, 0, 5, 6),
            (7, 1, 0, 128, 256),
            (8, 3, 1, 3, 4),
            (9, 3, 1, 6, 8),
            (16, 0, 2, 0, 1),
        ] {
            assert_eq!(Subtree { height, index }.stored(), (level, first..end));
        }
    }

    #[test]
    fn a_complete_subtree_has_a_power_of_two_of_parts() {
        let hashes = [[1; 32], [2; 32], [3; 32], [4; 32]];
        let [left, right] = [0, 2].map(|at| node_hash(&hashes[at], &hashes[at + 1]));
        assert_eq!(root_of_complete(&hashes), Some(node_hash(&left, &right)));
        assert_eq!(root_of_complete(&hashes[..1]), Some(hashes[0]));
        assert_eq!(root_of_complete(&hashes[..3]), None);
        assert_eq!(root_of_complete(&[]), None);
    }
}
