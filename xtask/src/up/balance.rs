//! The balance: every published body against every stored one.

use std::collections::BTreeSet;

use crate::history::Digest;

/// Compares published with stored bodies as multisets, one stored body at a time.
pub struct Comparison<'published> {
    digests: &'published [Digest],
    /// Numbers of the published, ordered by digest.
    order: Vec<u32>,
    /// Whether the one at that place in the order has been found.
    found: Vec<bool>,
    /// Stored bodies that were published, each counted once.
    pub stored: u64,
    /// Stored bodies that were published less often than they are stored.
    pub repeated: u64,
    /// Stored bodies that were never published.
    pub foreign: u64,
}

enum Match {
    New,
    Repeated,
    Foreign,
}

impl<'published> Comparison<'published> {
    /// Nothing found yet.
    pub fn new(digests: &'published [Digest]) -> Self {
        let mut order: Vec<u32> = (0..).take(digests.len()).collect();
        order.sort_unstable_by_key(|&number| (&digests[number as usize], number));
        let found = vec![false; order.len()];
        Self { digests, order, found, stored: 0, repeated: 0, foreign: 0 }
    }

    /// Accounts for a stored body.
    pub fn store(&mut self, digest: &Digest) {
        match self.find(digest) {
            Match::New => self.stored += 1,
            Match::Repeated => self.repeated += 1,
            Match::Foreign => self.foreign += 1,
        }
    }

    /// Accounts for a body that is somewhere else: rejected, or still in the queue. True where it was missing.
    pub fn excuse(&mut self, digest: &Digest) -> bool {
        matches!(self.find(digest), Match::New)
    }

    /// Numbers of the published that were not found, without those in `except`, in order of publishing.
    pub fn missing(&self, except: &BTreeSet<u32>) -> Vec<u32> {
        let places = self.order.iter().zip(&self.found);
        let missing = places.filter(|(number, found)| !**found && !except.contains(number));
        let mut missing: Vec<u32> = missing.map(|(&number, _)| number).collect();
        missing.sort_unstable();
        missing
    }

    fn find(&mut self, digest: &Digest) -> Match {
        let digest_at = |place: usize| &self.digests[self.order[place] as usize];
        let first = self.order.partition_point(|&number| self.digests[number as usize] < *digest);
        let equal = (first..self.order.len()).take_while(|&place| digest_at(place) == digest);
        let mut outcome = Match::Foreign;
        for place in equal {
            if !self.found[place] {
                self.found[place] = true;
                return Match::New;
            }
            outcome = Match::Repeated;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Comparison;

    #[test]
    fn each_published_body_is_found_once() {
        let published = [[3; 32], [1; 32], [2; 32], [1; 32]];
        let mut comparison = Comparison::new(&published);
        for digest in [[1; 32], [2; 32], [9; 32], [2; 32]] {
            comparison.store(&digest);
        }
        assert_eq!((comparison.stored, comparison.repeated, comparison.foreign), (2, 1, 1));
        assert_eq!(comparison.missing(&BTreeSet::new()), [0, 3]);
        assert_eq!(comparison.missing(&BTreeSet::from([0])), [3]);
        assert!(comparison.excuse(&[1; 32]));
        assert!(!comparison.excuse(&[1; 32]));
        assert_eq!(comparison.missing(&BTreeSet::new()), [0]);
    }

    #[test]
    fn nothing_published_makes_everything_foreign() {
        let mut comparison = Comparison::new(&[]);
        comparison.store(&[0; 32]);
        assert_eq!((comparison.stored, comparison.foreign), (0, 1));
        assert!(comparison.missing(&BTreeSet::new()).is_empty());
    }
}
