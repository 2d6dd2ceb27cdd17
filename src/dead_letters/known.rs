//! What is known of messages from one session with the broker to the next, by their identity.

use std::collections::{HashMap, VecDeque};

use super::letter::Identity;

/// Messages, each as often as it was met.
#[derive(Debug, Clone, Default)]
pub struct Known(HashMap<Identity, usize>);

impl Known {
    /// One more.
    pub fn add(&mut self, identity: Identity) {
        *self.0.entry(identity).or_default() += 1;
    }

    /// Takes one of these away; false where there is none.
    pub fn take(&mut self, identity: &Identity) -> bool {
        let Some(number) = self.0.get_mut(identity) else { return false };
        *number -= 1;
        if *number == 0 {
            self.0.remove(identity);
        }
        true
    }
}

/// Most acknowledgements that a broker which dies can have lost.
const LATE: usize = 4096;

/// Messages that were acknowledged of late.
#[derive(Debug, Default)]
pub struct Acknowledged {
    known: Known,
    order: VecDeque<Identity>,
}

impl Acknowledged {
    /// One more.
    pub fn add(&mut self, identity: Identity) {
        self.known.add(identity);
        self.order.push_back(identity);
        if self.order.len() > LATE
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.take(&oldest);
        }
    }

    /// These, too.
    pub fn append(&mut self, later: Acknowledged) {
        later.order.into_iter().for_each(|identity| self.add(identity));
    }

    /// Takes one of these away; false where there is none.
    pub fn take(&mut self, identity: &Identity) -> bool {
        let known = self.known.take(identity);
        if known && let Some(at) = self.order.iter().position(|known| known == identity) {
            self.order.remove(at);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_known_as_often_as_it_was_met() {
        let mut known = Known::default();
        known.add([1; 32]);
        known.add([1; 32]);
        assert!(known.take(&[1; 32]) && known.take(&[1; 32]));
        assert!(!known.take(&[1; 32]) && !known.take(&[2; 32]));
    }

    #[test]
    fn old_acknowledgements_are_forgotten() {
        let mut late = Acknowledged::default();
        late.add([1; 32]);
        late.add([2; 32]);
        assert!(late.take(&[2; 32]) && !late.take(&[2; 32]));
        for _ in 0..LATE {
            late.add([3; 32]);
        }
        assert!(!late.take(&[1; 32]) && late.take(&[3; 32]));
    }
}
