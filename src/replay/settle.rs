//! Awaits the broker's answers, in the order in which events were published, and settles the events.

use std::{collections::VecDeque, io, time::Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    carried::Found,
    ledger::{Ledger, Settled},
    publish::{Answer, Flight, InFlight, Mark},
    report::Report,
};
use crate::{
    broker::{Fault, Publisher, Returned},
    event::{header_text, replayed::header},
    store::Arrival,
};

/// What is left of a session when its last answer has come.
#[derive(Debug, Default)]
pub struct Left {
    /// Events that the broker did not take and that are to be tried again.
    pub nacked: bool,
    /// Events whose answer never came.
    pub lost: Vec<Arrival>,
    /// Why it never came.
    pub fault: Option<Fault>,
}

/// The settling part of one session with the broker.
pub struct Settling<'a> {
    pub publisher: &'a Publisher,
    pub in_flight: &'a InFlight,
    /// Tells that nothing more is to be published.
    pub halt: &'a CancellationToken,
    pub ledger: &'a Ledger,
    pub report: &'a mut Report,
}

impl Settling<'_> {
    /// Settles all that comes. Events behind one that is not settled are kept in `found` for the next session.
    pub async fn run(
        self,
        mut flights: mpsc::Receiver<Flight>,
        found: &mut Found,
    ) -> io::Result<Left> {
        let mut left = Left::default();
        let mut returned = VecDeque::new();
        while let Some(flight) = flights.recv().await {
            let Flight { arrival, id, routing_key, mark, room, answer } = flight;
            let settled = match answer {
                Answer::Known(settled) => Some(settled),
                Answer::Lost(fault) => {
                    left.lost.push(arrival);
                    left.fault.get_or_insert(fault);
                    None
                }
                Answer::Awaited { confirmation, body_bytes } => {
                    let taken = confirmation.taken().await;
                    self.in_flight.one_less();
                    returned.append(&mut self.publisher.returned());
                    match taken {
                        Ok(true) => {
                            found.nacks.confirmed(arrival, &mark.routing_key);
                            Some(match come_back(&mut returned, &mark) {
                                Some(cause) => Settled::Unroutable(cause),
                                None => Settled::Confirmed { body_bytes },
                            })
                        }
                        Ok(false) => {
                            let key = &mark.routing_key;
                            let last = found.nacks.is_final(arrival, key, Instant::now());
                            left.nacked |= !last;
                            last.then_some(Settled::Nacked)
                        }
                        Err(fault) => {
                            left.lost.push(arrival);
                            left.fault.get_or_insert(fault);
                            None
                        }
                    }
                }
            };
            let Some(settled) = settled else {
                self.halt.cancel();
                continue;
            };
            if left.nacked || left.fault.is_some() {
                found.known.insert(arrival, settled);
            } else {
                self.report.write(arrival, id.as_deref(), &routing_key, &settled)?;
                self.ledger.settle(arrival, &settled, room);
            }
        }
        Ok(left)
    }
}

/// The broker's words on the message with this mark, where it came back. Those that did are in order, so mostly it is the
/// first one.
fn come_back(returned: &mut VecDeque<Returned>, mark: &Mark) -> Option<String> {
    let same = |back: &Returned| {
        let headers = back.properties.headers.as_ref();
        back.routing_key == mark.routing_key
            && back.properties.message_id == mark.message_id
            && header_text(headers, header::RECEIVED_AT) == Some(mark.received_at.as_str())
    };
    let at = returned.iter().position(same)?;
    returned.remove(at).map(|back| back.cause)
}
