//! Publishes events at their pace, without waiting for the broker's answers.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Job, Watcher,
    carried::Carried,
    ledger::Settled,
    outgoing::{Outgoing, Rules},
    pace::Pacer,
    select::{Room, Selected},
    target::To,
};
use crate::{
    broker::{Confirmation, Fault, Kind, Lookout, Publisher},
    event::now,
    store::Arrival,
};

/// How often a queue that is too deep is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// An event on its way.
#[derive(Debug)]
pub struct Flight {
    /// Which event.
    pub arrival: Arrival,
    /// Its id; none where it has none.
    pub id: Option<String>,
    /// The routing key it came with.
    pub routing_key: String,
    /// What it is known by where it comes back.
    pub mark: Mark,
    /// Its room.
    pub room: Room,
    /// What became of it.
    pub answer: Answer,
}

/// What tells messages that come back apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When the event was received.
    pub received_at: OffsetDateTime,
    /// Its message id.
    pub message_id: Option<String>,
    /// The routing key it was published with.
    pub routing_key: String,
}

/// What became of an event.
#[derive(Debug)]
pub enum Answer {
    /// The broker has still to say.
    Awaited {
        /// When it was published.
        since: Instant,
        /// Its answer.
        confirmation: Confirmation,
        /// Bytes of the body.
        body_bytes: usize,
    },
    /// That is known.
    Known(Settled),
    /// The session ended over sending it, so the broker may have it or not.
    Lost(Fault),
}

/// How many events wait for the broker's answer.
#[derive(Debug, Default)]
pub struct InFlight {
    number: AtomicUsize,
    fewer: Notify,
    slow: AtomicBool,
}

impl InFlight {
    fn one_more(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them is answered.
    pub fn one_less(&self) {
        self.number.fetch_sub(1, Ordering::Relaxed);
        self.fewer.notify_one();
    }

    /// Whether there is to be one at a time, as their answers take long.
    pub fn slow_down(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Waits until there is none.
    async fn none(&self) {
        while self.number.load(Ordering::Relaxed) > 0 {
            self.fewer.notified().await;
        }
    }
}

/// The publishing part of one session with the broker.
pub struct Publishing<'a, W> {
    pub job: &'a Job,
    pub rules: &'a Rules,
    pub publisher: &'a Publisher,
    pub lookout: &'a mut Lookout,
    pub in_flight: &'a InFlight,
    /// Nothing more is to be published.
    pub halt: &'a CancellationToken,
    pub watcher: &'a W,
}

/// What a session learned about exchanges, and may still publish.
struct Leave {
    found: HashSet<String>,
    /// So many more before the queue's depth is looked at.
    budget: u32,
}

impl<W: Watcher> Publishing<'_, W> {
    /// Publishes all that comes, and passes each on to `settle`; ends where nothing more comes, or at a halt.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<(Selected, Room)>,
        settle: mpsc::Sender<Flight>,
        carried: &mut Carried,
    ) -> Result<(), Fault> {
        let mut pacer = Pacer::new(self.job.pace);
        let mut leave = Leave { found: HashSet::new(), budget: 0 };
        loop {
            let next = tokio::select! {
                biased;
                () = self.halt.cancelled() => None,
                next = events.recv() => next,
            };
            let Some((event, room)) = next else { return Ok(()) };
            let flight = match carried.known.remove(&event.arrival) {
                Some(settled) => known(event, room, settled),
                None => {
                    if !self.may_go(&event, &mut pacer, &mut leave, carried).await? {
                        return Ok(());
                    }
                    self.publish(event, room, &mut leave, carried).await?
                }
            };
            let over = matches!(flight.answer, Answer::Lost(_));
            // There is room for as many as may be in flight.
            if settle.send(flight).await.is_err() || over {
                return Ok(());
            }
        }
    }

    /// Waits until an event may be published; false at a halt.
    async fn may_go(
        &mut self,
        event: &Selected,
        pacer: &mut Pacer,
        leave: &mut Leave,
        carried: &mut Carried,
    ) -> Result<bool, Fault> {
        if let (Some(most), To::Queue(queue)) = (self.job.pace.until_depth, &self.job.target.to) {
            let over = leave.budget == 0 || self.in_flight.is_slow();
            if over && !self.waits_for_depth(queue, most, leave).await? {
                return Ok(false);
            }
            leave.budget -= 1;
        }
        if carried.wary > 0 {
            // The broker ends a channel without a word on which message it is about: this one is alone.
            carried.wary -= 1;
            tokio::select! {
                biased;
                () = self.halt.cancelled() => return Ok(false),
                () = self.in_flight.none() => {}
            }
        }
        if let Some(due) = pacer.due(Instant::now(), event.arrival.received_at) {
            tokio::select! {
                biased;
                () = self.halt.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
        Ok(true)
    }

    /// Waits until fewer messages wait in the queue than may, and then lets as many go as there is room for. What is in
    /// flight is not in the queue yet, so that is awaited first. False at a halt.
    async fn waits_for_depth(
        &mut self,
        queue: &str,
        most: u32,
        leave: &mut Leave,
    ) -> Result<bool, Fault> {
        loop {
            tokio::select! {
                biased;
                () = self.halt.cancelled() => return Ok(false),
                () = self.in_flight.none() => {}
            }
            // The client breaks when it is asked for something and then not listened to.
            let depth = self.lookout.depth(queue).await?;
            leave.budget = most.saturating_sub(depth);
            if self.in_flight.is_slow() {
                leave.budget = leave.budget.min(1);
            }
            if leave.budget > 0 {
                return Ok(true);
            }
            tokio::select! {
                biased;
                () = self.halt.cancelled() => return Ok(false),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn publish(
        &mut self,
        event: Selected,
        room: Room,
        leave: &mut Leave,
        carried: &mut Carried,
    ) -> Result<Flight, Fault> {
        let (arrival, id) = (event.arrival, event.id.clone());
        let routing_key = event.routing_key.clone();
        let flight = |mark, answer| Flight { arrival, id, routing_key, mark, room, answer };
        let made = self.rules.outgoing(event, now());
        let Outgoing { exchange, routing_key: key, properties, body, left_out } = match made {
            Ok(outgoing) => outgoing,
            Err(why) => return Ok(flight(Mark::none(), Answer::Known(Settled::Refused(why)))),
        };
        if let Some(why) = self.missing(&exchange, &key, leave, carried).await? {
            return Ok(flight(Mark::none(), Answer::Known(Settled::Refused(why))));
        }
        self.watcher.left_out(left_out);
        let mark = Mark {
            received_at: arrival.received_at,
            message_id: properties.message_id.clone(),
            routing_key: key.clone(),
        };
        let body_bytes = body.len();
        self.in_flight.one_more();
        let since = Instant::now();
        let sent = self.publisher.publish_mandatory(&exchange, &key, &properties, body).await;
        carried.publishing(exchange, key);
        Ok(flight(
            mark,
            match sent {
                Ok(confirmation) => Answer::Awaited { since, confirmation, body_bytes },
                // Only what cannot be written down as AMQP; the channel is as it was.
                Err(fault) if fault.kind == Kind::Clash && !self.publisher.is_over() => {
                    self.in_flight.one_less();
                    Answer::Known(Settled::Refused(fault.message))
                }
                Err(fault) => {
                    self.in_flight.one_less();
                    Answer::Lost(fault)
                }
            },
        ))
    }

    /// Why nothing can be published to that exchange with that key. It is looked for once: publishing to one that is not
    /// there ends the channel.
    async fn missing(
        &mut self,
        exchange: &str,
        key: &str,
        leave: &mut Leave,
        carried: &mut Carried,
    ) -> Result<Option<String>, Fault> {
        if let Some(why) = carried.refused(exchange, key) {
            return Ok(Some(why.clone()));
        }
        if self.job.target.to != To::Original || leave.found.contains(exchange) {
            return Ok(None);
        }
        match self.lookout.find_exchange(exchange).await {
            Ok(()) => {
                leave.found.insert(exchange.to_owned());
                Ok(None)
            }
            Err(fault) if fault.kind == Kind::Refused => {
                let why = format!("{}; or replay with --to-exchange or --to-queue", fault.message);
                carried.closed_exchanges.insert(exchange.to_owned(), why.clone());
                Ok(Some(why))
            }
            Err(fault) => Err(fault),
        }
    }
}

impl Mark {
    /// Of what was never published.
    fn none() -> Mark {
        Mark {
            received_at: OffsetDateTime::UNIX_EPOCH,
            message_id: None,
            routing_key: String::new(),
        }
    }
}

fn known(event: Selected, room: Room, settled: Settled) -> Flight {
    Flight {
        arrival: event.arrival,
        id: event.id,
        routing_key: event.routing_key,
        mark: Mark::none(),
        room,
        answer: Answer::Known(settled),
    }
}
