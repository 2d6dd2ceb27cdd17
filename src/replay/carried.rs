//! What is known from one session with the broker to the next.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::ledger::Settled;
use crate::{
    broker::{Fault, Kind},
    store::Arrival,
};

/// On how many channels an event is tried at least that the broker did not take, before that is taken for the last word.
const ATTEMPTS: u32 = 3;
/// How long it is tried on other channels, where patience is no shorter: longer than a quorum queue takes for a new leader.
pub const LONGEST_NACK: Duration = Duration::from_secs(10);
/// How often the connection may be lost over one event without a word, while another one to the same broker lives on, before
/// that event is left out.
const DEATHS: u32 = 5;
/// So many routing keys in a row may be refused at an exchange before no other is tried there: each costs a session.
const KEYS_IN_A_ROW: u32 = 50;
/// Most routing keys that are remembered; and so many that were refused in all are enough, too.
const KEYS: usize = 1000;

/// What is known from one session with the broker to the next. Bounded by what may be in flight.
#[derive(Debug)]
pub struct Carried {
    /// What became of events behind the first one that is not settled.
    pub known: HashMap<Arrival, Settled>,
    /// So many events are each published alone, as one of them ended the last session.
    pub wary: usize,
    /// Exchanges that nothing can be published to, and why.
    pub closed_exchanges: HashMap<String, String>,
    /// What was published last: exchange and routing key.
    pub last: Option<(String, String)>,
    /// How many were published to each exchange in this session.
    pub published: HashMap<String, u64>,
    nacks: Nacks,
    refused: RefusedKeys,
    /// The first event that was in flight when the connection was lost.
    deaths: Option<Deaths>,
}

/// Routing keys that the broker refuses to this user, by exchange, and why.
#[derive(Debug, Default)]
struct RefusedKeys {
    of: HashMap<String, HashMap<String, String>>,
    in_a_row: HashMap<String, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Deaths {
    of: Arrival,
    /// Connections lost in a row with it in flight before all others.
    all: u32,
    /// Those of them over which it was alone, while another connection lived on.
    to_blame: u32,
}

/// What the broker did not take.
#[derive(Debug)]
pub struct Nacks {
    /// For how long it is tried.
    limit: Duration,
    /// How often the broker did not take an event, and since when.
    events: HashMap<Arrival, (u32, Instant)>,
    /// How many channels in a row have confirmed nothing and nacked, and since when.
    in_vain: (u32, Option<Instant>),
    /// Routing keys of which an event was given up on, and none was confirmed since.
    given_up: HashSet<String>,
}

impl Nacks {
    fn new(limit: Duration) -> Nacks {
        Nacks { limit, events: HashMap::new(), in_vain: (0, None), given_up: HashSet::new() }
    }

    /// Whether a nack of this event, published with this key, is the broker's last word on it.
    ///
    /// After the leader of a quorum queue has died, RabbitMQ 3.10 nacks all that is published on a channel which was opened
    /// in that moment, for as long as that channel lives; and a queue that is full may be read from. So the first ones are
    /// no answer to the event.
    pub fn is_final(&mut self, arrival: Arrival, key: &str, now: Instant) -> bool {
        let (channels, since) = &mut self.in_vain;
        let long = |since: Instant| now.saturating_duration_since(since) >= self.limit;
        let in_vain_long = long(*since.get_or_insert(now));
        let all_in_vain = *channels >= ATTEMPTS && in_vain_long;
        let (times, first) = self.events.entry(arrival).or_insert((0, now));
        *times += 1;
        let last = all_in_vain || self.given_up.contains(key) || *times > ATTEMPTS && long(*first);
        if last {
            self.events.remove(&arrival);
            if self.given_up.len() < KEYS {
                self.given_up.insert(key.to_owned());
            }
        }
        last
    }

    /// The broker has confirmed something on this channel.
    pub fn confirmed(&mut self, arrival: Arrival, key: &str) {
        self.in_vain = (0, None);
        if !self.events.is_empty() {
            self.events.remove(&arrival);
        }
        if !self.given_up.is_empty() {
            self.given_up.remove(key);
        }
    }

    /// A channel has ended since it nacked. Tells whether it is the first one.
    pub fn one_more_channel(&mut self) -> bool {
        self.in_vain.0 += 1;
        self.in_vain.0 == 1
    }

    /// Whether nothing is tried again.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// What settling found in one session.
#[derive(Debug)]
pub struct Found {
    /// What became of events behind the first one that is not settled.
    pub known: HashMap<Arrival, Settled>,
    /// What the broker did not take.
    pub nacks: Nacks,
}

impl Carried {
    /// Nothing yet; what the broker does not take is tried for that long.
    pub fn new(nacked_for: Duration) -> Carried {
        Carried {
            known: HashMap::new(),
            wary: 0,
            closed_exchanges: HashMap::new(),
            last: None,
            published: HashMap::new(),
            nacks: Nacks::new(nacked_for),
            refused: RefusedKeys::default(),
            deaths: None,
        }
    }

    /// A session begins: what settling goes by, and adds to, while publishing goes by the rest.
    pub fn of_answers(&mut self) -> Found {
        (self.last, self.published) = (None, HashMap::new());
        let none = Nacks::new(self.nacks.limit);
        Found { known: HashMap::new(), nacks: std::mem::replace(&mut self.nacks, none) }
    }

    /// The other way round, at the end of a session.
    pub fn learn(&mut self, found: Found) {
        self.known.extend(found.known);
        self.nacks = found.nacks;
    }

    /// What the broker did not take.
    pub fn nacks(&mut self) -> &mut Nacks {
        &mut self.nacks
    }

    /// One more is published to that exchange, with that key.
    pub fn publishing(&mut self, exchange: String, key: String) {
        match self.published.get_mut(&exchange) {
            Some(number) => *number += 1,
            None => drop(self.published.insert(exchange.clone(), 1)),
        }
        self.last = Some((exchange, key));
    }

    /// Why nothing can be published there with that key, where that is known.
    pub fn refused(&self, exchange: &str, key: &str) -> Option<&String> {
        let of_the_key = || self.refused.of.get(exchange)?.get(key);
        self.closed_exchanges.get(exchange).or_else(of_the_key)
    }

    /// A session has ended by this fault while the broker's answer to these events was awaited. Where one of them was
    /// alone, it is what the broker ended the session over, if it gave a reason, or if that comes again and again while the
    /// broker lives, as another connection to it tells; otherwise each goes alone the next time.
    ///
    /// Tells what is closed from now on, in words.
    pub fn lost(&mut self, lost: &[Arrival], fault: &Fault, broker_lives: bool) -> Option<String> {
        let Some(&first) = lost.first() else {
            self.deaths = None;
            return None;
        };
        let alone = lost.len() == 1;
        let deaths = self.deaths.filter(|deaths| deaths.of == first);
        let mut deaths = deaths.unwrap_or(Deaths { of: first, all: 0, to_blame: 0 });
        deaths.all += 1;
        deaths.to_blame += u32::from(alone && broker_lives);
        self.deaths = Some(deaths);
        let reasoned = matches!(fault.kind, Kind::Refused | Kind::Clash);
        if alone && (reasoned || deaths.to_blame >= DEATHS) {
            self.known.insert(first, Settled::Refused(fault.message.clone()));
            self.deaths = None;
            return match (fault.kind, self.last.take()) {
                (Kind::Refused, Some((exchange, key))) => self.refuse(exchange, key, fault),
                _ => None,
            };
        }
        if reasoned || deaths.all > 1 {
            self.wary = self.wary.max(lost.len());
        }
        None
    }

    /// The broker refuses that exchange, or that routing key there.
    fn refuse(&mut self, exchange: String, key: String, fault: &Fault) -> Option<String> {
        let mut why = fault.message.clone();
        if fault.is_of_one_key() {
            let more = self.published.get(&exchange).is_some_and(|&number| number > 1);
            let row = self.refused.in_a_row.entry(exchange.clone()).or_default();
            *row = if more { 1 } else { *row + 1 };
            let all: usize = self.refused.of.values().map(HashMap::len).sum();
            if *row < KEYS_IN_A_ROW && all < KEYS {
                self.refused.of.entry(exchange).or_default().insert(key, why);
                return None;
            }
            let others = self.refused.of.get(&exchange).map_or(0, HashMap::len);
            why =
                format!("{why} (so were {others} other routing keys, and no more are tried there)");
        }
        let words = format!("nothing more is published to the exchange '{exchange}': {why}");
        self.closed_exchanges.insert(exchange, why);
        Some(words)
    }

    /// A fault that ends the replay, with what it may be about.
    pub fn last_word(&self, fault: Fault) -> Fault {
        let Some(deaths) = self.deaths.filter(|deaths| deaths.all > 1) else { return fault };
        Fault {
            message: format!(
                "{}; {} times in a row the connection was lost with the event on its way that was received at {} with seq {}",
                fault.message,
                deaths.all,
                crate::event::rfc3339(deaths.of.received_at),
                deaths.of.seq
            ),
            ..fault
        }
    }
}

#[cfg(test)]
mod tests;
