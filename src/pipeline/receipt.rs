//! Receipts: what an acknowledgement is made from.

use time::OffsetDateTime;

use super::hand::Weight;
use crate::{
    event::DeliveryTag,
    store::{Batch, BatchName, Commit, Entry},
};

/// Proof that some deliveries are committed. Only the write stage makes one, and only out of a [`Commit`].
#[derive(Debug)]
pub(super) struct Receipt {
    ack_up_to: Option<DeliveryTag>,
    dead_letter: Vec<DeliveryTag>,
    batch: Option<BatchName>,
    weight: Weight,
    received_at: Option<OffsetDateTime>,
}

impl Receipt {
    /// `weight` is that of all its deliveries.
    pub(super) fn of(commit: &Commit, batch: &Batch, weight: Weight) -> Receipt {
        let tags = |rejected: bool| {
            let wanted = move |entry: &&Entry| matches!(entry, Entry::Rejection(_)) == rejected;
            batch.entries().iter().filter(wanted).map(|entry| entry.delivery().tag)
        };
        // Up to the last one that was not rejected: the broker closes the channel over an acknowledgement whose own tag is
        // settled already.
        Receipt {
            ack_up_to: tags(false).max(),
            dead_letter: tags(true).collect(),
            batch: commit.name(),
            weight,
            received_at: batch.entries().first().map(|first| first.delivery().received_at),
        }
    }

    /// Deliveries up to and including this one are stored, apart from those rejected. `None` where none is.
    pub(super) fn ack_up_to(&self) -> Option<DeliveryTag> {
        self.ack_up_to
    }

    /// The batch that they are on record with. `None` where there was nothing to record.
    pub(super) fn batch(&self) -> Option<BatchName> {
        self.batch
    }

    /// All of them.
    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    /// When the first of them came.
    pub(super) fn received_at(&self) -> Option<OffsetDateTime> {
        self.received_at
    }

    /// Deliveries recorded as rejections.
    pub(super) fn dead_letter(&self) -> &[DeliveryTag] {
        &self.dead_letter
    }
}
