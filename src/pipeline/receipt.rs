//! Receipts: what an acknowledgement is made from.

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
