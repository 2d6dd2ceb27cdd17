//! From the publish to the end: confirmed, put on record, and only then taken out of the dead-letter queue.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    Failure, Letter, To, Watcher,
    letter::Identity,
    outgoing::{Outgoing, Rules},
    state::End,
    unroutable::given_back,
    walk::Walk,
    work::Work,
};
use crate::{
    broker::{Confirmation, Fault, Kind, Lookout, Publisher},
    event::{Properties, now},
    replay::{Pace, Pacer, Patience},
    store::{self, DeadLetterRecord},
};

/// How long a confirmed message may wait for its acknowledgement.
const OFTEN: Duration = Duration::from_millis(500);
/// How often a channel is opened anew for a message that the broker did not take.
const ATTEMPTS: u32 = 5;

/// A message on its way.
pub struct Flight {
    letter: Letter,
    identity: Identity,
    routing_key: String,
    properties: Properties,
    without_copies: bool,
    confirmation: Confirmation,
}

/// The publishing part of a session.
pub struct Sending<'a> {
    publisher: Publisher,
    lookout: Lookout,
    rules: Rules<'a>,
    pacer: Pacer,
    settled_at: Instant,
    found: HashSet<String>,
    closed: HashMap<String, String>,
}

impl<'a> Sending<'a> {
    pub fn new(
        publisher: Publisher,
        lookout: Lookout,
        rules: Rules<'a>,
        pace: Pace,
    ) -> Sending<'a> {
        Sending {
            publisher,
            lookout,
            rules,
            pacer: Pacer::new(pace),
            settled_at: Instant::now(),
            found: HashSet::new(),
            closed: HashMap::new(),
        }
    }

    /// Whether what is in flight is to be settled before more is sent.
    pub fn is_due(&self) -> bool {
        self.settled_at.elapsed() > OFTEN
    }

    pub async fn close(self) {
        self.publisher.close().await;
        self.lookout.close().await;
    }

    /// Why nothing can be published to that exchange: publishing to one that is not there ends the channel.
    async fn missing(&mut self, exchange: &str) -> Result<Option<String>, Fault> {
        if self.rules.to == To::Audit || self.found.contains(exchange) {
            return Ok(None);
        }
        if let Some(why) = self.closed.get(exchange) {
            return Ok(Some(why.clone()));
        }
        match self.lookout.find_exchange(exchange).await {
            Ok(()) => {
                self.found.insert(exchange.to_owned());
                Ok(None)
            }
            Err(fault) if fault.kind == Kind::Refused => {
                self.closed.insert(exchange.to_owned(), fault.message.clone());
                Ok(Some(fault.message))
            }
            Err(fault) => Err(fault),
        }
    }
}

impl<W: Watcher> Work<'_, W> {
    /// Publishes it, at its pace.
    pub(super) async fn send(
        &mut self,
        sending: &mut Sending<'_>,
        letter: Letter,
        identity: Identity,
        flights: &mut Vec<Flight>,
        end: &mut Option<End>,
    ) {
        let made = sending.rules.outgoing(&letter);
        let Outgoing { exchange, routing_key, properties, without_copies } = match made {
            Ok(outgoing) => outgoing,
            Err(why) => return self.refuse(&letter, identity, why),
        };
        match sending.missing(&exchange).await {
            Ok(None) => {}
            Ok(Some(why)) => return self.refuse(&letter, identity, why),
            Err(fault) => {
                *end = Some(End::Lost(fault));
                return;
            }
        }
        if let Some(due) = sending.pacer.due(Instant::now(), now()) {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    *end = Some(End::Stopped);
                    return;
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
        let body = letter.delivery.body.clone();
        let sent = sending.publisher.publish_mandatory(&exchange, &routing_key, &properties, body);
        match sent.await {
            Ok(confirmation) => flights.push(Flight {
                letter,
                identity,
                routing_key,
                properties,
                without_copies,
                confirmation,
            }),
            // Only what cannot be written down as AMQP; the channel is as it was.
            Err(fault) if fault.kind == Kind::Clash && !sending.publisher.is_over() => {
                self.refuse(&letter, identity, fault.message);
            }
            Err(fault) => *end = Some(End::Lost(fault)),
        }
    }

    fn refuse(&mut self, letter: &Letter, identity: Identity, why: String) {
        self.state.tally.refused += 1;
        self.leave(letter, identity, why);
    }

    /// Awaits the broker's answers, and finishes what it has confirmed.
    pub(super) async fn settle(
        &mut self,
        walk: &mut Walk,
        sending: &mut Sending<'_>,
        flights: &mut Vec<Flight>,
        ready: &mut Vec<(Letter, Identity, bool)>,
        end: &mut Option<End>,
    ) -> Result<(), Failure> {
        sending.settled_at = Instant::now();
        let mut answered = Vec::new();
        for flight in flights.drain(..) {
            let Flight { letter, identity, routing_key, properties, without_copies, confirmation } =
                flight;
            let taken = confirmation.taken().await;
            answered.push((letter, identity, routing_key, properties, without_copies, taken));
        }
        // Each that came back did so before its own answer.
        let causes = {
            let published: Vec<_> =
                answered.iter().map(|(_, _, key, properties, ..)| (&**key, properties)).collect();
            given_back(sending.publisher.returned(), &published)
        };
        let mut lost: Vec<(Letter, Identity)> = Vec::new();
        let mut fault = None;
        for ((letter, identity, routing_key, _, without_copies, taken), cause) in
            answered.into_iter().zip(causes)
        {
            match taken {
                Ok(true) => {
                    self.state.in_vain = 0;
                    match cause {
                        Some(cause) => {
                            self.state.tally.unroutable += 1;
                            let target = match sending.rules.to {
                                To::Audit => format!("is there a queue '{routing_key}'?"),
                                To::Original => "no queue is bound for it".to_owned(),
                            };
                            self.leave(
                                &letter,
                                identity,
                                format!("the broker gave it back: {cause}; {target}"),
                            );
                        }
                        None => {
                            self.state.tally.without_copies += u64::from(without_copies);
                            ready.push((letter, identity, false));
                        }
                    }
                }
                Ok(false) if self.state.in_vain >= ATTEMPTS => {
                    self.state.tally.nacked += 1;
                    let why = "the broker did not take it, as where a queue is full".to_owned();
                    self.leave(&letter, identity, why);
                }
                // After the leader of a quorum queue has died, RabbitMQ 3.10 nacks all on a channel of that moment.
                Ok(false) => *end = end.take().or(Some(End::Nacked)),
                Err(said) => {
                    lost.push((letter, identity));
                    fault.get_or_insert(said);
                }
            }
        }
        if let Some(fault) = fault {
            self.blame(&lost, &fault);
            *end = Some(End::Lost(fault));
        }
        self.finish(walk, ready, end).await
    }

    /// Where the broker ended the channel with a reason and does not say over which message: it is the one that was alone.
    fn blame(&mut self, lost: &[(Letter, Identity)], fault: &Fault) {
        if !matches!(fault.kind, Kind::Refused | Kind::Clash) {
            return;
        }
        self.state.in_vain += u32::from(fault.kind == Kind::Refused);
        match lost {
            [(letter, identity)] => self.refuse(letter, *identity, fault.message.clone()),
            _ => self.state.wary = self.state.wary.max(lost.len()),
        }
    }

    /// Puts on record what is not, and takes all of these out of the queue.
    pub(super) async fn finish(
        &mut self,
        walk: &mut Walk,
        ready: &mut Vec<(Letter, Identity, bool)>,
        end: &mut Option<End>,
    ) -> Result<(), Failure> {
        if ready.is_empty() {
            return Ok(());
        }
        let fresh: Vec<Letter> = ready
            .iter()
            .filter(|(_, _, recorded)| !recorded)
            .map(|(letter, ..)| letter.clone())
            .collect();
        if let Some(keeper) = self.keeper.as_mut() {
            keeper.keep(&fresh).map_err(Failure::Keep)?;
        }
        self.record(&fresh).await?;
        for (_, identity, _) in ready.iter() {
            self.state.settled.add(*identity);
        }
        // Where the broker went away, an acknowledgement that is not sent is known to be none.
        if matches!(end, Some(End::Lost(_))) && walk.check().await.is_err() {
            ready.clear();
            return Ok(());
        }
        let tags = ready.iter().map(|(letter, ..)| letter.delivery.tag);
        if let Err(fault) = walk.acknowledge(tags).await {
            // Some of the words may have been heard, so what waits still is sent again, and not taken for settled.
            *end = Some(End::Lost(fault));
        }
        for (_, identity, _) in ready.drain(..) {
            self.state.settled.take(&identity);
            self.state.fresh.add(identity);
            self.state.removed += 1;
            self.state.tally.done += 1;
        }
        self.watcher.settled(&self.state.tally);
        Ok(())
    }

    /// Puts them on record, over outages of PostgreSQL.
    async fn record(&mut self, letters: &[Letter]) -> Result<(), Failure> {
        let record = |(letter, number): (&Letter, i64)| DeadLetterRecord {
            number,
            event_id: letter.event_id.clone(),
            key: letter.record_key(),
            died_of: letter.cause().short(),
            body_bytes: i64::try_from(letter.delivery.body.len()).unwrap_or(i64::MAX),
        };
        let records: Vec<_> = letters.iter().zip(self.state.number..).map(record).collect();
        if records.is_empty() {
            return Ok(());
        }
        let mut patience = Patience::new(self.places.patience);
        while let Err(fault) = self.log.record(&records).await {
            let Some(delay) = patience.next().filter(|_| fault.kind == store::Kind::Unavailable)
            else {
                return Err(Failure::Store(fault));
            };
            if patience.is_first() {
                self.watcher.say(&format!(
                    "PostgreSQL is away, and what is done cannot be put on record: {fault}; waiting for it"
                ));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Failure::Store(fault)),
                () = tokio::time::sleep(delay) => {}
            }
        }
        if patience.renew() {
            self.watcher.say("PostgreSQL is back");
        }
        self.state.number += i64::try_from(records.len()).unwrap_or(i64::MAX);
        Ok(())
    }
}
