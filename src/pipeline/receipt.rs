//! Receipts: what an acknowledgement is made from.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    event::DeliveryTag,
    store::{Batch, Commit, Entry},
};

/// Proof that some deliveries are committed. Only the write stage makes one, and only out of a [`Commit`].
#[derive(Debug)]
pub(super) struct Receipt {
    ack_up_to: Option<DeliveryTag>,
    dead_letter: Vec<DeliveryTag>,
}

impl Receipt {
    pub(super) fn of(_: &Commit, batch: &Batch) -> Receipt {
        let tags = |rejected: bool| {
            let wanted = move |entry: &&Entry| matches!(entry, Entry::Rejection(_)) == rejected;
            batch.entries().iter().filter(wanted).map(|entry| entry.delivery().tag)
        };
        // Up to the last one that was not rejected: the broker closes the channel over an acknowledgement whose own tag is
        // settled already.
        Receipt { ack_up_to: tags(false).max(), dead_letter: tags(true).collect() }
    }

    /// Deliveries up to and including this one are stored, apart from those rejected. `None` where none is.
    pub(super) fn ack_up_to(&self) -> Option<DeliveryTag> {
        self.ack_up_to
    }

    /// Deliveries recorded as rejections.
    pub(super) fn dead_letter(&self) -> &[DeliveryTag] {
        &self.dead_letter
    }
}

/// What was committed since the start of the process.
#[derive(Debug, Default)]
pub struct Tally {
    events: AtomicU64,
    conflicts: AtomicU64,
    duplicates: AtomicU64,
    rejections: AtomicU64,
    replays: AtomicU64,
    unparsable: AtomicU64,
}

impl Tally {
    pub(super) fn count(&self, commit: &Commit) {
        for (total, more) in [
            (&self.events, commit.events()),
            (&self.conflicts, commit.conflicts()),
            (&self.duplicates, commit.duplicates()),
            (&self.rejections, commit.rejections()),
            (&self.replays, commit.replays()),
        ] {
            total.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Events stored, conflicts included.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Events stored whose id was stored before with other content.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Deliveries of replays.
    pub fn replays(&self) -> u64 {
        self.replays.load(Ordering::Relaxed)
    }

    /// Deliveries of events that were stored already.
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Deliveries recorded as rejections, each of which goes to the dead-letter queue.
    pub fn rejections(&self) -> u64 {
        self.rejections.load(Ordering::Relaxed)
    }

    /// Adds messages that left the queue without ever becoming a delivery.
    pub fn count_unparsable(&self, more: u64) {
        self.unparsable.fetch_add(more, Ordering::Relaxed);
    }

    /// Messages that left the queue without ever becoming a delivery: the AMQP client cannot parse them.
    pub fn unparsable(&self) -> u64 {
        self.unparsable.load(Ordering::Relaxed)
    }
}
