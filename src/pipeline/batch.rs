//! Batch: whatever has arrived while the last transaction was committing.
//!
//! On an idle bus a batch is one event, and waits for nothing; on a busy one batches grow until commits keep up. Only where
//! events come as fast as they do from a backlog does a batch wait a little for more of them.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

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

/// With so many events in it a batch waits for more: fewer and larger transactions store more events a second, for less
/// CPU (docs/performance.md).
const LARGE: usize = 100;
/// How long it waits, as long as there are more.
const LINGER: Duration = Duration::from_millis(5);
/// How long to let deliveries come together where nothing is urgent: being woken for each costs more than taking it.
const PACE: Duration = Duration::from_millis(1);
/// So many have to come in that time, or it waits no longer: as fast they come only from a backlog, where nobody waits for
/// one of them.
const BACKLOG: usize = 25;

/// Which batch somebody has a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One of whatever there is.
    Any,
    /// One that is as large as it may be.
    Full,
    /// None yet.
    Nothing,
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
    async fn gather(&mut self) -> Option<Batch> {
        if self.entries.is_empty() {
            let first = match self.later.take() {
                Some(delivery) => delivery,
                None => self.arrived.recv().await?,
            };
            self.enter(first);
        }
        self.enter_arrived();
        self.linger().await;
        Some(self.take())
    }

    /// Takes and understands what arrives, until there is a batch as it is wanted; `None` when no more will come. Where none is
    /// wanted, or it will not be as large as wanted, for ever. May be dropped at any time unless any batch is wanted: what was taken
    /// is kept.
    pub async fn next(&mut self, wanted: Wanted) -> Option<Batch> {
        if wanted == Wanted::Any {
            return self.gather().await;
        }
        self.fill().await;
        let Limits { events, bytes } = self.rules.limits;
        let first = self.entries.first();
        let alone = first.is_some_and(|first| self.rules.bounds.is_wary_of(first.delivery()));
        let full = self.entries.len() >= events || self.size >= bytes;
        if wanted == Wanted::Nothing || alone || !full {
            return std::future::pending().await;
        }
        Some(self.take())
    }

    /// Takes and understands what arrives while `work` is waiting for the database.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.fill_for_ever() => match never {},
        }
    }

    async fn fill_for_ever(&mut self) -> Infallible {
        self.fill().await;
        std::future::pending().await
    }

    async fn fill(&mut self) {
        if let Some(delivery) = self.later.take() {
            self.enter(delivery);
        }
        while !self.closed
            && let Some(delivery) = self.arrived.recv().await
        {
            self.enter(delivery);
            self.enter_arrived();
            sleep(PACE).await;
        }
    }

    fn take(&mut self) -> Batch {
        (self.size, self.closed) = (0, false);
        Batch::new(std::mem::take(&mut self.entries))
    }

    /// Waits for more as long as there is a backlog.
    async fn linger(&mut self) {
        if self.entries.len() < LARGE {
            return;
        }
        let end = Instant::now() + LINGER;
        while !self.closed && Instant::now() < end {
            let before = self.entries.len();
            sleep(PACE).await;
            self.enter_arrived();
            if self.entries.len() - before < BACKLOG {
                break;
            }
        }
    }

    fn enter_arrived(&mut self) {
        while !self.closed
            && let Ok(delivery) = self.arrived.try_recv()
        {
            self.enter(delivery);
        }
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

fn enter(mut delivery: Delivery, rules: &Rules) -> Entry {
    if delivery.undo_requeue(&rules.queue) {
        debug!(routing_key = delivery.routing_key, "a dead letter was sent back to this queue");
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep};

    use super::{BACKLOG, Gatherer, LARGE, LINGER, PACE};
    use crate::{
        event::Delivery,
        pipeline::tests::{delivery, rules},
    };

    fn deliver(to: &mpsc::Sender<Delivery>, count: usize) {
        for _ in 0..count {
            let delivery = delivery("{}");
            assert!(to.try_send(delivery).is_ok());
        }
    }

    /// Where nothing else is to be done, the time of the tests is the next one that somebody waits for.
    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_only_where_it_is_large_and_more_come() {
        let (rules, (to, arrived)) = (rules(), mpsc::channel(2_000));
        let mut gatherer = Gatherer::new(arrived, &rules);
        let start = Instant::now();
        deliver(&to, LARGE - 1);
        assert_eq!(gatherer.gather().await.unwrap().entries().len(), LARGE - 1);
        assert_eq!(start.elapsed(), Duration::ZERO);

        deliver(&to, LARGE);
        assert_eq!(gatherer.gather().await.unwrap().entries().len(), LARGE);
        assert_eq!(start.elapsed(), PACE, "no more came");

        deliver(&to, rules.limits.events + 1);
        assert_eq!(gatherer.gather().await.unwrap().entries().len(), rules.limits.events);
        assert_eq!(start.elapsed(), PACE, "it is full");
        assert_eq!(gatherer.gather().await.unwrap().entries().len(), 1);
    }

    /// How long a large batch waits, and how many it becomes, where so many more come in each [`PACE`].
    async fn waits_where_come(each: usize) -> (Duration, usize) {
        let (rules, (to, arrived)) = (rules(), mpsc::channel(2_000));
        let mut gatherer = Gatherer::new(arrived, &rules);
        deliver(&to, LARGE);
        let start = Instant::now();
        let publish = async {
            loop {
                deliver(&to, each);
                sleep(PACE).await;
            }
        };
        tokio::select! {
            biased;
            () = publish => unreachable!("it goes on for ever"),
            gathered = gatherer.gather() => {
                (start.elapsed(), gathered.unwrap().entries().len())
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_no_longer_than_it_may_nor_for_few() {
        let (waited, gathered) = waits_where_come(BACKLOG).await;
        assert!((LINGER..=LINGER + PACE).contains(&waited), "{waited:?}");
        assert!(gathered >= LARGE + 5 * BACKLOG, "{gathered}");
        let (waited, gathered) = waits_where_come(BACKLOG - 1).await;
        assert_eq!((waited, gathered), (PACE, LARGE + 2 * (BACKLOG - 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_beside_a_commit_is_the_next_batch() {
        let (rules, (to, arrived)) = (rules(), mpsc::channel(2_000));
        let mut gatherer = Gatherer::new(arrived, &rules);
        let commit = async {
            deliver(&to, 3);
            sleep(PACE * 10).await;
            deliver(&to, 2);
        };
        gatherer.beside(commit).await;
        assert_eq!(gatherer.entries.len(), 3);
        assert_eq!(gatherer.gather().await.unwrap().entries().len(), 5);
        drop(to);
        assert!(gatherer.gather().await.is_none());
    }
}
