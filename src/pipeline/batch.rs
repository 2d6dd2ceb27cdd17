//! Batch: whatever has arrived while the last transaction was committing.
//!
//! There is no timer. On an idle bus a batch is one event, and waits for nothing; on a busy one batches grow until
//! commits keep up.

use std::convert::Infallible;

use tokio::sync::mpsc;
use tracing::warn;

use super::Rules;
use crate::{
    event::{Delivery, Event, Reason, Rejection},
    store::{Batch, Entry},
};

/// Bounds of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most events in one batch.
    pub events: usize,
    /// Bytes after which a batch takes no further event, as [`Event::size`] counts them. One may be larger by itself.
    pub bytes: usize,
}

/// Makes batches of deliveries.
pub(super) struct Gatherer<'a> {
    arrived: mpsc::Receiver<Delivery>,
    rules: &'a Rules,
    /// The next batch so far.
    entries: Vec<Entry>,
    size: usize,
    /// Whether the next batch takes nothing more.
    closed: bool,
    /// Has to begin the batch after it.
    later: Option<Delivery>,
}

impl<'a> Gatherer<'a> {
    pub fn new(arrived: mpsc::Receiver<Delivery>, rules: &'a Rules) -> Gatherer<'a> {
        Gatherer { arrived, rules, entries: Vec::new(), size: 0, closed: false, later: None }
    }

    /// Waits for a delivery and takes those that have arrived with it. `None` when no more will come.
    pub async fn gather(&mut self) -> Option<Batch> {
        if self.entries.is_empty() {
            let first = match self.later.take() {
                Some(delivery) => delivery,
                None => self.arrived.recv().await?,
            };
            self.enter(first);
        }
        while !self.closed
            && let Ok(delivery) = self.arrived.try_recv()
        {
            self.enter(delivery);
        }
        (self.size, self.closed) = (0, false);
        Some(Batch::new(std::mem::take(&mut self.entries)))
    }

    /// Takes and understands what arrives while `work` is waiting for the database.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.fill() => match never {},
        }
    }

    /// May be dropped at any time: what was taken is kept.
    async fn fill(&mut self) -> Infallible {
        if let Some(delivery) = self.later.take() {
            self.enter(delivery);
        }
        while !self.closed
            && let Some(delivery) = self.arrived.recv().await
        {
            self.enter(delivery);
        }
        std::future::pending().await
    }

    /// One that the queue has counted often is a batch by itself: whatever it does, those before it are settled.
    fn enter(&mut self, delivery: Delivery) {
        let Limits { events, bytes } = self.rules.limits;
        let alone = self.rules.bounds.is_wary_of(&delivery);
        if alone && !self.entries.is_empty() {
            (self.later, self.closed) = (Some(delivery), true);
            return;
        }
        let entry = enter(delivery, self.rules);
        self.size += entry.event().size();
        self.entries.push(entry);
        self.closed = alone || self.entries.len() >= events || self.size >= bytes;
    }
}

fn enter(delivery: Delivery, rules: &Rules) -> Entry {
    let event = Event::from_delivery(delivery, &rules.envelope);
    let limit = rules.max_body;
    if event.delivery.body.len() > limit {
        warn!(
            body_bytes = event.delivery.body.len(),
            limit,
            routing_key = event.delivery.routing_key,
            message_id = event.delivery.properties.message_id,
            "this body is larger than ingest.max_body: it goes to the dead-letter queue"
        );
        Entry::Rejection(Rejection { event, reason: Reason::TooLarge { limit } })
    } else if event.malformed && rules.dead_letter_malformed {
        Entry::Rejection(Rejection { event, reason: Reason::Malformed })
    } else {
        Entry::Event(event)
    }
}

/// Splits into the first `at` entries and the rest.
pub(super) fn split_at(mut entries: Vec<Entry>, at: usize) -> (Vec<Entry>, Vec<Entry>) {
    let rest = entries.split_off(at);
    (entries, rest)
}
