//! What is in hand: deliveries that were taken from the broker and are not settled yet.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::event::Delivery;

/// How long a broker may take to apply an acknowledgement. A quorum queue has it in its log behind what publishers send.
const APPLYING: Duration = Duration::from_secs(2);

/// Counts deliveries and their bytes, from the intake to the commit.
#[derive(Debug, Default)]
pub(super) struct Hand {
    deliveries: AtomicUsize,
    bytes: AtomicUsize,
    settled: Mutex<Settled>,
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
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(delivery.size(), Ordering::Relaxed);
    }

    /// These are committed.
    pub fn settle<'a>(&self, deliveries: impl ExactSizeIterator<Item = &'a Delivery>) {
        self.deliveries.fetch_sub(deliveries.len(), Ordering::Relaxed);
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).add(deliveries.len());
        self.bytes.fetch_sub(deliveries.map(Delivery::size).sum(), Ordering::Relaxed);
    }

    /// Whether there is more than so many bytes, and fewer deliveries would be less.
    pub fn is_over(&self, bytes: usize) -> bool {
        self.deliveries.load(Ordering::Relaxed) > 1 && self.bytes.load(Ordering::Relaxed) > bytes
    }

    /// Deliveries, and their bytes.
    pub fn holds(&self) -> (usize, usize) {
        (self.deliveries.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub fn is_empty(&self) -> bool {
        self.deliveries.load(Ordering::Relaxed) == 0
    }

    /// Deliveries that may come again where the session ends now.
    pub fn may_come_again(&self) -> usize {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.add(0);
        self.deliveries.load(Ordering::Relaxed) + settled.now + settled.before
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
