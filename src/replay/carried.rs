//! What is known from one session with the broker to the next.

use std::collections::HashMap;

use super::ledger::Settled;
use crate::{
    broker::{Fault, Kind},
    store::Arrival,
};

/// How often a channel is opened anew for an event that the broker did not take, before that is taken for the last word.
pub const ATTEMPTS: u32 = 5;
/// How often the connection may be lost over one event without a word, before that event is left out.
const DEATHS: u32 = 5;

/// What is known from one session with the broker to the next. Bounded by what may be in flight.
#[derive(Debug, Default)]
pub struct Carried {
    /// What became of events behind the first one that is not settled.
    pub known: HashMap<Arrival, Settled>,
    /// How often the broker did not take an event.
    pub nacked: HashMap<Arrival, u32>,
    /// How many channels in a row were opened because the last one nacked, and have confirmed nothing.
    pub in_vain: u32,
    /// So many events are each published alone, as one of them ended the last session.
    pub wary: usize,
    /// Exchanges that nothing can be published to, and why.
    pub closed_exchanges: HashMap<String, String>,
    /// The exchange that was published to last.
    pub exchanges_in_flight: Option<String>,
    /// The first event that was in flight when the connection was lost, and how often in a row.
    deaths: Option<(Arrival, u32)>,
}

impl Carried {
    /// What settling goes by, and adds to, while publishing goes by the rest.
    pub fn of_answers(&mut self) -> Carried {
        let nacked = std::mem::take(&mut self.nacked);
        Carried { nacked, in_vain: self.in_vain, ..Carried::default() }
    }

    /// The other way round, at the end of a session.
    pub fn learn(&mut self, found: Carried) {
        self.known.extend(found.known);
        self.nacked = found.nacked;
        self.in_vain = found.in_vain;
    }

    /// Whether a nack of this event is the broker's last word on it.
    ///
    /// After the leader of a quorum queue has died, RabbitMQ 3.10 nacks all that is published on a channel which was opened
    /// in that moment, for as long as that channel lives: so the first ones are no answer to the event.
    pub fn nack_is_final(&mut self, arrival: Arrival) -> bool {
        if self.in_vain >= ATTEMPTS {
            self.nacked.remove(&arrival);
            return true;
        }
        let nacked = self.nacked.entry(arrival).or_default();
        *nacked += 1;
        let last = *nacked > ATTEMPTS;
        if last {
            self.nacked.remove(&arrival);
        }
        last
    }

    /// The broker has confirmed something on this channel.
    pub fn confirmed(&mut self, arrival: Arrival) {
        self.in_vain = 0;
        if !self.nacked.is_empty() {
            self.nacked.remove(&arrival);
        }
    }

    /// A session has ended by this fault while the broker's answer to these events was awaited. Where one of them was
    /// alone, it is what the broker ended the session over, if it gave a reason; otherwise each goes alone the next time.
    pub fn lost(&mut self, lost: &[Arrival], fault: &Fault) {
        let Some(&first) = lost.first() else {
            self.deaths = None;
            return;
        };
        let times = match self.deaths {
            Some((before, times)) if before == first => times + 1,
            _ => 1,
        };
        self.deaths = Some((first, times));
        let reasoned = matches!(fault.kind, Kind::Refused | Kind::Clash);
        if lost.len() == 1 && (reasoned || times >= DEATHS) {
            let why = fault.message.clone();
            self.known.insert(first, Settled::Refused(why.clone()));
            self.deaths = None;
            if let (Kind::Refused, Some(exchange)) = (fault.kind, &self.exchanges_in_flight) {
                self.closed_exchanges.insert(exchange.clone(), why);
            }
        } else if reasoned || times > 1 {
            self.wary = self.wary.max(lost.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn arrival(seq: i64) -> Arrival {
        Arrival { received_at: datetime!(2026-01-01 00:00 UTC), seq }
    }

    fn fault(kind: Kind) -> Fault {
        Fault { kind, message: "said".to_owned() }
    }

    #[test]
    fn an_event_is_to_blame_only_alone() {
        let mut carried = Carried::default();
        carried.lost(&[arrival(1), arrival(2)], &fault(Kind::Clash));
        assert_eq!((carried.wary, carried.known.len()), (2, 0));
        carried.lost(&[arrival(2)], &fault(Kind::Clash));
        assert_eq!(carried.known[&arrival(2)], Settled::Refused("said".to_owned()));
    }

    #[test]
    fn a_lost_connection_blames_nobody_at_first() {
        let mut carried = Carried::default();
        carried.lost(&[arrival(1), arrival(2)], &fault(Kind::Unreachable));
        assert_eq!(carried.wary, 0);
        carried.lost(&[arrival(1), arrival(2)], &fault(Kind::Unreachable));
        assert_eq!(carried.wary, 2);
        for _ in 0..DEATHS {
            carried.lost(&[arrival(1)], &fault(Kind::Unreachable));
        }
        assert!(carried.known.contains_key(&arrival(1)));
    }

    #[test]
    fn nacks_are_final_after_attempts_in_vain() {
        let mut carried = Carried::default();
        for _ in 0..ATTEMPTS {
            assert!(!carried.nack_is_final(arrival(1)));
        }
        assert!(carried.nack_is_final(arrival(1)));
        assert!(!carried.nack_is_final(arrival(2)));
        carried.in_vain = ATTEMPTS;
        assert!(carried.nack_is_final(arrival(2)) && carried.nack_is_final(arrival(3)));
        carried.confirmed(arrival(4));
        assert!(!carried.nack_is_final(arrival(5)));
    }
}
