//! Batch: whatever has arrived while the last transaction was committing.
//!
//! There is no timer. On an idle bus a batch is one event, and waits for nothing; on a busy one batches grow until
//! commits keep up.

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
    /// Bytes after which a batch takes no further event. One event may be larger by itself.
    pub bytes: usize,
}

/// Makes batches of deliveries.
pub(super) struct Gatherer {
    arrived: mpsc::Receiver<Delivery>,
    /// Has to begin the next batch.
    next: Option<Delivery>,
}

impl Gatherer {
    pub fn new(arrived: mpsc::Receiver<Delivery>) -> Gatherer {
        Gatherer { arrived, next: None }
    }

    /// Waits for a delivery, takes those that have arrived with it, and understands them. `None` when no more will come.
    ///
    /// One that the queue has counted often is a batch by itself: whatever it does, those before it are settled.
    pub async fn gather(&mut self, rules: &Rules) -> Option<Batch> {
        let Limits { events, bytes } = rules.limits;
        let first = match self.next.take() {
            Some(delivery) => delivery,
            None => self.arrived.recv().await?,
        };
        let alone = rules.bounds.is_wary_of(&first);
        let mut size = first.size();
        let mut entries = vec![enter(first, rules)];
        while !alone && entries.len() < events && size < bytes {
            let Ok(delivery) = self.arrived.try_recv() else { break };
            if rules.bounds.is_wary_of(&delivery) {
                self.next = Some(delivery);
                break;
            }
            size += delivery.size();
            entries.push(enter(delivery, rules));
        }
        Some(Batch::new(entries))
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
