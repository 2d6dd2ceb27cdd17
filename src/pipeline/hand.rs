//! What is in hand: deliveries that were taken from the broker and are not settled yet.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::event::Delivery;

/// How long a broker may take to apply an acknowledgement. A quorum queue has it in its log behind what publishers send.
const APPLYING: Duration = Duration::from_secs(2);

/// One delivery that is in hand, and one that is held besides, as [`Hand::deliveries`] counts them.
const TAKEN: u64 = 1;
const HELD: u64 = 1 << 32;

/// Counts deliveries and their bytes, from the intake to the commit; where acknowledgements wait for a checkpoint, until they
/// do not.
#[derive(Debug, Default)]
pub(super) struct Hand {
    /// Deliveries; and in the upper half, how many of them are committed and held. Of both at once, so that it can be told
    /// whether there are others.
    deliveries: AtomicU64,
    bytes: AtomicUsize,
    /// The broker hands out so many at once, where it is not as many as configured.
    width: AtomicUsize,
    settled: Mutex<Settled>,
}

/// Deliveries, and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub deliveries: usize,
    pub bytes: usize,
}

/// Deliveries committed of late, and since when they are counted. Whether the broker has heard of it nobody tells.
#[derive(Debug, Default)]
struct Settled {
    since: Option<Instant>,
    now: usize,
    before: usize,
}

impl Hand {
    pub fn take(&self, delivery: &Delivery) {
        self.deliveries.fetch_add(TAKEN, Ordering::Relaxed);
        self.bytes.fetch_add(delivery.size(), Ordering::Relaxed);
    }

    /// These are committed, and no longer in hand.
    pub fn settle(&self, weight: Weight) {
        self.drop_all(weight, TAKEN);
    }

    /// These are committed, and stay in hand.
    pub fn hold(&self, Weight { deliveries, .. }: Weight) {
        self.deliveries.fetch_add(HELD * deliveries as u64, Ordering::Relaxed);
    }

    /// These were held, and are no longer in hand.
    pub fn let_go(&self, weight: Weight) {
        self.drop_all(weight, TAKEN + HELD);
    }

    fn drop_all(&self, Weight { deliveries, bytes }: Weight, each: u64) {
        self.deliveries.fetch_sub(each * deliveries as u64, Ordering::Relaxed);
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).add(deliveries);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there is more than so many bytes, and fewer deliveries would be less.
    pub fn is_over(&self, bytes: usize) -> bool {
        self.count().0 > 1 && self.bytes.load(Ordering::Relaxed) > bytes
    }

    /// All that is in hand, and how many deliveries of it are held.
    pub fn holds(&self) -> (Weight, usize) {
        let (deliveries, held) = self.count();
        (Weight { deliveries, bytes: self.bytes.load(Ordering::Relaxed) }, held)
    }

    pub fn is_empty(&self) -> bool {
        self.count().0 == 0
    }

    /// Whether all that is in hand is committed.
    pub fn is_committed(&self) -> bool {
        let (deliveries, held) = self.count();
        deliveries == held
    }

    /// Deliveries, and how many of them are held.
    fn count(&self) -> (usize, usize) {
        let count = self.deliveries.load(Ordering::Relaxed);
        let number = |half: u64| usize::try_from(half).unwrap_or(usize::MAX);
        (number(count % HELD), number(count / HELD))
    }

    /// From now on the broker hands out so many at once; none where that is as many as configured.
    pub fn narrow(&self, width: Option<u16>) {
        self.width.store(width.map_or(usize::MAX, usize::from), Ordering::Relaxed);
    }

    /// As many as there can be at once beside what was handed out before.
    pub fn width(&self) -> usize {
        self.width.load(Ordering::Relaxed)
    }

    /// Deliveries that may come again where the session ends now.
    pub fn may_come_again(&self) -> usize {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.add(0);
        self.count().0 + settled.now + settled.before
    }
}

impl Weight {
    pub fn of<'a>(deliveries: impl ExactSizeIterator<Item = &'a Delivery>) -> Weight {
        Weight { deliveries: deliveries.len(), bytes: deliveries.map(Delivery::size).sum() }
    }
}

impl Settled {
    fn add(&mut self, deliveries: usize) {
        let age = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.since.is_none() || age > APPLYING {
            self.before = if age > 2 * APPLYING { 0 } else { self.now };
            (self.since, self.now) = (Some(Instant::now()), 0);
        }
        self.now += deliveries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::tests::delivery;

    #[test]
    fn what_is_held_is_in_hand_and_committed() {
        let hand = Hand::default();
        let taken: Vec<_> = (0..3).map(|_| delivery("{}")).collect();
        taken.iter().for_each(|delivery| hand.take(delivery));
        let (two, one) = (Weight::of(taken[..2].iter()), Weight::of(taken[2..].iter()));
        hand.hold(two);
        assert_eq!(hand.holds(), (Weight::of(taken.iter()), 2));
        assert!(!hand.is_committed());
        hand.hold(one);
        assert!(hand.is_committed() && !hand.is_empty());
        hand.let_go(two);
        assert_eq!(hand.holds(), (one, 1));
        assert_eq!(hand.may_come_again(), 3, "the broker may not have heard of it");
        hand.let_go(one);
        assert!(hand.is_empty());
        assert_eq!(hand.holds(), (Weight::default(), 0));
    }
}
