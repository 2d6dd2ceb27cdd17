//! Which queues a replay would reach, by the broker's bindings.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use crate::{
    broker::{Binding, Destination, Exchange},
    commands::overview::grouped,
    store::Route,
};

/// Queues that are named each in words.
const QUEUES: usize = 20;
/// Bindings of one queue that are named.
const BINDINGS: usize = 3;

/// The broker's bindings, and which routing keys match which patterns of topic exchanges.
pub struct Bindings {
    exchanges: BTreeMap<String, Exchange>,
    matching: HashMap<String, HashSet<String>>,
}

/// What would become of some events.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// The queues that would get some, the one that would get most first.
    pub queues: Vec<Reached>,
    /// Events that no queue would get.
    pub nowhere: i64,
    /// Exchanges that are not there.
    pub missing: BTreeSet<String>,
    /// Events of more routing keys than are looked at.
    pub not_looked_at: i64,
}

/// What one queue would get.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Its name.
    pub queue: String,
    /// So many events at most.
    pub events: i64,
    /// How many of them it would get for sure: what a headers exchange does, or one of another type that a plugin brings, is
    /// not told by routing keys.
    pub certain: i64,
    /// By which bindings, in words.
    pub bindings: BTreeSet<String>,
}

impl Bindings {
    /// These exchanges, of which nothing is known to match yet.
    pub fn new(exchanges: BTreeMap<String, Exchange>) -> Bindings {
        Bindings { exchanges, matching: HashMap::new() }
    }

    /// Patterns of topic exchanges that not everything matches.
    pub fn patterns(&self) -> Vec<String> {
        let topics = self.exchanges.values().filter(|exchange| exchange.kind == "topic");
        let patterns = topics.flat_map(|exchange| &exchange.bindings).map(|one| &one.routing_key);
        let patterns: BTreeSet<_> = patterns.filter(|pattern| *pattern != "#").collect();
        patterns.into_iter().cloned().collect()
    }

    /// This pattern matches this routing key.
    pub fn matches(&mut self, pattern: &str, key: &str) {
        self.matching.entry(pattern.to_owned()).or_default().insert(key.to_owned());
    }

    /// What would become of events that are published to these exchanges under these routing keys.
    pub fn reach(&self, routes: &[Route]) -> Reach {
        let mut reach = Reach::default();
        let mut queues: BTreeMap<String, Reached> = BTreeMap::new();
        for Route { exchange, routing_key, events } in routes {
            let mut walk = Walk {
                bindings: self,
                key: routing_key,
                seen: HashSet::new(),
                found: BTreeMap::new(),
            };
            if !exchange.is_empty() && !self.exchanges.contains_key(exchange) {
                reach.missing.insert(exchange.clone());
            }
            walk.from(exchange, true);
            if walk.found.is_empty() {
                reach.nowhere += events;
            }
            for (queue, (certain, bindings)) in walk.found {
                let reached = queues.entry(queue.clone()).or_insert_with(|| Reached {
                    queue,
                    events: 0,
                    certain: 0,
                    bindings: BTreeSet::new(),
                });
                reached.events += events;
                reached.certain += if certain { *events } else { 0 };
                reached.bindings.extend(bindings);
            }
        }
        reach.queues = queues.into_values().collect();
        reach.queues.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.queue.cmp(&b.queue)));
        reach
    }

    /// Whether a binding of that exchange takes a routing key; none where keys do not tell.
    fn takes(&self, exchange: &Exchange, binding: &Binding, key: &str) -> Option<bool> {
        let Binding { routing_key: pattern, .. } = binding;
        match &*exchange.kind {
            "topic" => {
                let matching = self.matching.get(pattern);
                Some(pattern == "#" || matching.is_some_and(|keys| keys.contains(key)))
            }
            "fanout" => Some(true),
            "direct" => Some(pattern == key),
            _ => None,
        }
    }
}

/// Where one routing key leads.
struct Walk<'a> {
    bindings: &'a Bindings,
    key: &'a str,
    /// Exchanges it was at, and whether for sure.
    seen: HashSet<(&'a str, bool)>,
    /// The queues, whether for sure, and by which bindings.
    found: BTreeMap<String, (bool, BTreeSet<String>)>,
}

impl<'a> Walk<'a> {
    fn from(&mut self, name: &'a str, certain: bool) {
        if name.is_empty() {
            let by = BTreeSet::from(["its name".to_owned()]);
            self.found.insert(self.key.to_owned(), (certain, by));
            return;
        }
        let Some(exchange) = self.bindings.exchanges.get(name) else { return };
        // Exchanges may be bound in a circle. The broker, too, goes to each once.
        if self.seen.contains(&(name, true)) || !self.seen.insert((name, certain)) {
            return;
        }
        let (mut sure, mut perhaps) = (false, false);
        for binding in &exchange.bindings {
            let taken = self.bindings.takes(exchange, binding, self.key);
            if taken == Some(false) {
                continue;
            }
            let certain = certain && taken == Some(true);
            (sure, perhaps) = (sure || taken == Some(true), perhaps || taken.is_none());
            match &binding.to {
                Destination::Exchange(next) => self.from(next, certain),
                Destination::Queue(queue) => {
                    let found = self.found.entry(queue.clone()).or_default();
                    found.0 |= certain;
                    found.1.insert(match &*exchange.kind {
                        "topic" | "direct" => format!("'{}' at '{name}'", binding.routing_key),
                        kind => format!("the {kind} exchange '{name}'"),
                    });
                }
            }
        }
        if let Some(alternate) = exchange.alternate.as_ref().filter(|_| !sure) {
            self.from(alternate, certain && !perhaps);
        }
    }
}

impl Reach {
    /// In words, one queue a line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.queues.iter().take(QUEUES).map(Reached::words).collect();
        if self.queues.len() > QUEUES {
            lines.push(format!("and {} more queues", self.queues.len() - QUEUES));
        }
        for exchange in &self.missing {
            lines.push(format!("the exchange '{exchange}' is not there"));
        }
        if self.nowhere > 0 {
            lines.push(format!("{} event(s) would reach no queue", grouped(self.nowhere)));
        }
        if self.not_looked_at > 0 {
            let words = "event(s) of rarer routing keys were not looked at";
            lines.push(format!("{} {words}", grouped(self.not_looked_at)));
        }
        lines
    }
}

impl Reached {
    fn words(&self) -> String {
        let number = match (self.certain, grouped(self.events)) {
            (certain, events) if certain == self.events => format!("{events} event(s)"),
            (0, events) => format!("perhaps {events} event(s)"),
            (certain, events) => format!("{} to {events} event(s)", grouped(certain)),
        };
        let mut by: Vec<_> = self.bindings.iter().take(BINDINGS).cloned().collect();
        if self.bindings.len() > BINDINGS {
            by.push(format!("{} more", self.bindings.len() - BINDINGS));
        }
        format!("the queue '{}' {number}, by {}", self.queue, by.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(kind: &str, bindings: &[(&str, Destination)]) -> Exchange {
        let binding = |(key, to): &(&str, Destination)| Binding {
            to: to.clone(),
            routing_key: (*key).to_owned(),
        };
        let bindings = bindings.iter().map(binding).collect();
        Exchange { kind: kind.to_owned(), alternate: None, bindings }
    }

    fn queue(name: &str) -> Destination {
        Destination::Queue(name.to_owned())
    }

    fn to(name: &str) -> Destination {
        Destination::Exchange(name.to_owned())
    }

    fn route(exchange: &str, key: &str, events: i64) -> Route {
        Route { exchange: exchange.to_owned(), routing_key: key.to_owned(), events }
    }

    /// Queue, events, of them for sure.
    fn found(reach: &Reach) -> Vec<(&str, i64, i64)> {
        reach.queues.iter().map(|one| (&*one.queue, one.events, one.certain)).collect()
    }

    #[test]
    fn each_queue_gets_what_its_bindings_take_once() {
        let mut unheard = exchange("topic", &[("rare", queue("rare"))]);
        unheard.alternate = Some("lost".to_owned());
        let exchanges = BTreeMap::from([
            (
                "bus".to_owned(),
                exchange(
                    "topic",
                    &[
                        ("#", queue("all")),
                        ("a.*", queue("a")),
                        ("a.#", queue("a")),
                        ("a.#", to("down")),
                    ],
                ),
            ),
            // A circle.
            ("down".to_owned(), exchange("fanout", &[("x", queue("fan")), ("", to("bus"))])),
            (
                "straight".to_owned(),
                exchange("direct", &[("a.b", queue("direct")), ("a", queue("a"))]),
            ),
            ("unheard".to_owned(), unheard),
            ("lost".to_owned(), exchange("fanout", &[("", queue("lost"))])),
            ("heads".to_owned(), exchange("headers", &[("", queue("heads")), ("", to("down"))])),
        ]);
        let mut bindings = Bindings::new(exchanges);
        assert_eq!(bindings.patterns(), ["a.#", "a.*", "rare"]);
        bindings.matches("a.*", "a.b");
        bindings.matches("a.#", "a.b");
        let reach = bindings.reach(&[route("bus", "a.b", 10), route("bus", "c", 5)]);
        assert_eq!(found(&reach), [("all", 15, 15), ("a", 10, 10), ("fan", 10, 10)]);
        assert_eq!(reach.queues[1].bindings.len(), 2);
        let reach = bindings.reach(&[route("straight", "a.b", 1), route("straight", "c", 2)]);
        assert_eq!((found(&reach), reach.nowhere), (vec![("direct", 1, 1)], 2));
        assert_eq!(found(&bindings.reach(&[route("unheard", "a.b", 3)])), [("lost", 3, 3)]);
        let reach = bindings.reach(&[route("heads", "c", 4), route("bus", "c", 1)]);
        assert_eq!(found(&reach), [("all", 5, 1), ("fan", 4, 0), ("heads", 4, 0)]);
        assert!(reach.lines()[0].contains("1 to 5 event(s)"), "{:?}", reach.lines());
        assert!(reach.lines()[1].contains("perhaps 4 event(s), by the fanout exchange 'down'"));
        assert_eq!(found(&bindings.reach(&[route("", "mine", 1)])), [("mine", 1, 1)]);
        let reach = bindings.reach(&[route("gone", "a", 1)]);
        assert_eq!(
            reach.lines(),
            ["the exchange 'gone' is not there", "1 event(s) would reach no queue"]
        );
    }
}
