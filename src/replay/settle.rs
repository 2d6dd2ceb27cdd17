//! Awaits the broker's answers, in the order in which events were published, and settles the events.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Watcher,
    carried::Found,
    ledger::{Ledger, Settled},
    publish::{Answer, Flight, InFlight, Mark},
    report::Report,
    slowness::{Slowness, Turn},
};
use crate::{
    broker::{Fault, Publisher, Returned},
    event::{header_text, replayed::header, rfc3339},
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
pub struct Settling<'a, W> {
    pub publisher: &'a Publisher,
    pub in_flight: &'a InFlight,
    /// Tells that nothing more is to be published.
    pub halt: &'a CancellationToken,
    pub ledger: &'a Ledger,
    pub report: &'a mut Report,
    /// Whether the target sets the pace.
    pub by_the_target: bool,
    pub watcher: &'a W,
}

impl<W: Watcher> Settling<'_, W> {
    /// Settles all that comes. Events behind one that is not settled are kept in `found` for the next session.
    pub async fn run(
        self,
        mut flights: mpsc::Receiver<Flight>,
        found: &mut Found,
    ) -> io::Result<Left> {
        let mut left = Left::default();
        let mut slowness = Slowness::default();
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
                Answer::Awaited { since, confirmation, body_bytes } => {
                    let taken = confirmation.taken().await;
                    self.mind(&mut slowness, since, taken.is_ok());
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

    /// An answer has come, or never will: where the target sets the pace, that counts by how long it took.
    fn mind(&self, slowness: &mut Slowness, since: Instant, answered: bool) {
        if !self.by_the_target || !answered {
            return;
        }
        let Some(turn) = slowness.took(since.elapsed()) else { return };
        let slow = slowness.is_slow();
        self.in_flight.slow_down(slow);
        self.watcher.slow(slow);
        self.watcher.say(&match turn {
            Turn::Slow { took, usual } => format!(
                "a confirm took {}, and they took about {}: going on with one event at a time until that is over",
                whole(took),
                whole(usual)
            ),
            Turn::Usual => "confirms come as before".to_owned(),
        });
    }
}

fn whole(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
    ))
}

/// The broker's words on the message with this mark, where it came back. Those that did are in order, so mostly it is the
/// first one.
fn come_back(returned: &mut VecDeque<Returned>, mark: &Mark) -> Option<String> {
    if returned.is_empty() {
        return None;
    }
    let received_at = rfc3339(mark.received_at);
    let same = |back: &Returned| {
        let headers = back.properties.headers.as_ref();
        back.routing_key == mark.routing_key
            && back.properties.message_id == mark.message_id
            && header_text(headers, header::RECEIVED_AT) == Some(&*received_at)
    };
    let at = returned.iter().position(same)?;
    returned.remove(at).map(|back| back.cause)
}
