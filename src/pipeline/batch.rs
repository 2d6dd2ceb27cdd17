//! Batch: whatever has arrived while the last transaction was committing.
//!
//! There is no timer. On an idle bus a batch is one event, and waits for nothing; on a busy one batches grow until
//! commits keep up.

use tokio::sync::mpsc;
use tracing::warn;

use super::Rules;
use crate::{
    event::{Event, Reason, Rejection},
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

/// Waits for an event and takes those that have arrived with it. `None` when no more will come.
pub(super) async fn gather(arrived: &mut mpsc::Receiver<Event>, rules: &Rules) -> Option<Batch> {
    let Limits { events, bytes } = rules.limits;
    let mut entries = Vec::new();
    let mut size = 0;
    let mut next = Some(arrived.recv().await?);
    while let Some(event) = next {
        size += event.delivery.size();
        entries.push(enter(event, rules));
        let full = entries.len() >= events || size >= bytes;
        next = if full { None } else { arrived.try_recv().ok() };
    }
    Some(Batch::new(entries))
}

fn enter(event: Event, rules: &Rules) -> Entry {
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
