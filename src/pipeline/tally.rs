//! The tally: what the pipelines of this process took and committed.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering},
};

use serde::Serialize;
use time::OffsetDateTime;

use super::hand::{Hand, Weight};
use crate::{
    event::{Delivery, now},
    store::{Batch, Commit},
};

/// Counts what passes, for whoever asks how the daemon fares. Counting waits for nobody.
#[derive(Debug, Default)]
pub struct Tally {
    deliveries: AtomicU64,
    delivered_bytes: AtomicU64,
    redelivered: AtomicU64,
    batches: AtomicU64,
    committed_bytes: AtomicU64,
    malformed: AtomicU64,
    events: AtomicU64,
    conflicts: AtomicU64,
    duplicates: AtomicU64,
    rejections: AtomicU64,
    replays: AtomicU64,
    unparsable: AtomicU64,
    /// Microseconds since 1970; zero where nothing was committed.
    committed_at: AtomicI64,
    prefetch: AtomicU16,
    hand: Mutex<Weak<Hand>>,
}

/// What a [`Tally`] counted since the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Deliveries taken from the broker, those that came again included.
    pub deliveries: u64,
    /// Bytes of their bodies.
    pub delivered_bytes: u64,
    /// Deliveries that the broker says came before.
    pub redelivered: u64,
    /// Transactions committed.
    pub batches: u64,
    /// Bytes of the bodies of all that was committed, duplicates and rejections included.
    pub committed_bytes: u64,
    /// Deliveries committed whose body is not what the envelope expects.
    pub malformed: u64,
    /// Events stored, conflicts included.
    pub events: u64,
    /// Events stored whose id was stored before with other content.
    pub conflicts: u64,
    /// Deliveries of events that were stored already.
    pub duplicates: u64,
    /// Deliveries of replays.
    pub replays: u64,
    /// Deliveries recorded as rejections, each of which goes to the dead-letter queue.
    pub rejections: u64,
    /// Messages that left the queue without ever becoming a delivery: the AMQP client cannot parse them.
    pub unparsable: u64,
}

/// What was taken and is not committed; with `ingest.ack = "sealed"`, not to be acknowledged yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InHand {
    /// Deliveries.
    pub deliveries: usize,
    /// Bytes that they take.
    pub bytes: usize,
    /// How many of them are committed, and wait for a checkpoint outside.
    pub held: usize,
    /// As many deliveries at a time are asked for.
    pub prefetch: u16,
}

impl Tally {
    /// The intake alone calls this, and there is one at a time.
    pub(super) fn take(&self, delivery: &Delivery, prefetch: u16) {
        add_alone(&self.deliveries, 1);
        add_alone(&self.delivered_bytes, wide(delivery.body.len()));
        if delivery.redelivered {
            add_alone(&self.redelivered, 1);
        }
        self.prefetch.store(prefetch, Ordering::Relaxed);
    }

    /// The write stage alone calls this, and there is one at a time.
    pub(super) fn count(&self, batch: &Batch, commit: &Commit) {
        let malformed = batch.entries().iter().filter(|entry| entry.event().malformed).count();
        let bytes: usize = batch.entries().iter().map(|entry| entry.delivery().body.len()).sum();
        for (total, more) in [
            (&self.batches, 1),
            (&self.committed_bytes, bytes),
            (&self.malformed, malformed),
            (&self.events, commit.events()),
            (&self.conflicts, commit.conflicts()),
            (&self.duplicates, commit.duplicates()),
            (&self.rejections, commit.rejections()),
            (&self.replays, commit.replays()),
        ] {
            add_alone(total, wide(more));
        }
        let at = (now().unix_timestamp_nanos() / 1000).try_into().unwrap_or(i64::MAX);
        self.committed_at.store(at, Ordering::Relaxed);
    }

    /// From now on what is in this hand is what is in hand.
    pub(super) fn follow(&self, hand: &Arc<Hand>, prefetch: u16) {
        self.prefetch.store(prefetch, Ordering::Relaxed);
        *self.hand.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(hand);
    }

    /// Adds messages that left the queue without ever becoming a delivery.
    pub fn count_unparsable(&self, more: u64) {
        self.unparsable.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            deliveries: load(&self.deliveries),
            delivered_bytes: load(&self.delivered_bytes),
            redelivered: load(&self.redelivered),
            batches: load(&self.batches),
            committed_bytes: load(&self.committed_bytes),
            malformed: load(&self.malformed),
            events: load(&self.events),
            conflicts: load(&self.conflicts),
            duplicates: load(&self.duplicates),
            replays: load(&self.replays),
            rejections: load(&self.rejections),
            unparsable: load(&self.unparsable),
        }
    }

    /// When something was committed last.
    pub fn committed_at(&self) -> Option<OffsetDateTime> {
        let micros = self.committed_at.load(Ordering::Relaxed);
        (micros != 0)
            .then(|| OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok())?
    }

    /// What is in hand now; nothing between two sessions.
    pub fn in_hand(&self) -> InHand {
        let hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let (weight, held) = hand.map(|hand| hand.holds()).unwrap_or_default();
        let Weight { deliveries, bytes } = weight;
        InHand { deliveries, bytes, held, prefetch: self.prefetch.load(Ordering::Relaxed) }
    }
}

/// Adds where nobody else does: cheaper than an exchange that others would have to wait for.
fn add_alone(total: &AtomicU64, more: u64) {
    total.store(total.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
