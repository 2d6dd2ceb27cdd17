//! How often a message was dead-lettered, where and why: the broker keeps it in the header `x-death`.

use time::OffsetDateTime;

use super::{Delivery, FieldValue, Properties};

/// The header.
const DEATHS: &str = "x-death";

/// Deaths of a message in one queue, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The queue it died in.
    pub queue: String,
    /// Why, in the broker's word: `rejected`, `expired`, `maxlen`, `delivery_limit`.
    pub reason: String,
    /// The exchange it was published to, before.
    pub exchange: String,
    /// The routing keys it was published with; the first one is its own, others are copies it asked for.
    pub routing_keys: Vec<String>,
    /// How often.
    pub count: i64,
    /// When the first time, to the second, by the broker's clock.
    pub time: Option<OffsetDateTime>,
}

impl Properties {
    /// The deaths of the message, the last one first. What does not look like the broker's writing is left out.
    #[must_use]
    pub fn deaths(&self) -> Vec<Death> {
        let header = self.headers.as_ref().and_then(|headers| headers.get(DEATHS));
        let Some(FieldValue::Array(deaths)) = header else { return Vec::new() };
        deaths.iter().filter_map(death).collect()
    }
}

/// The death in that queue of what was published elsewhere. Where it was sent back to the queue, and died there again for another
/// reason, the broker notes the queue itself as its address, and the first one stands further back.
pub fn first_in<'a>(deaths: &'a [Death], queue: &str) -> Option<&'a Death> {
    let sent_back = |death: &&Death| {
        death.exchange.is_empty() && death.routing_keys.first().is_some_and(|key| key == queue)
    };
    let mut here = deaths.iter().filter(|death| death.queue == queue);
    let latest = here.clone().next();
    here.rfind(|death| !sent_back(death)).or(latest)
}

fn death(entry: &FieldValue) -> Option<Death> {
    let FieldValue::Table(entry) = entry else { return None };
    let text = |name: &str| match entry.get(name) {
        Some(FieldValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let keys = match entry.get("routing-keys") {
        Some(FieldValue::Array(keys)) => keys.as_slice(),
        _ => return None,
    };
    let key = |key: &FieldValue| match key {
        FieldValue::String(key) => Some(key.clone()),
        _ => None,
    };
    Some(Death {
        queue: text("queue")?,
        reason: text("reason")?,
        exchange: text("exchange")?,
        routing_keys: keys.iter().map(key).collect::<Option<_>>()?,
        count: match entry.get("count") {
            Some(FieldValue::I64(count)) => *count,
            _ => 1,
        },
        time: match entry.get("time") {
            Some(FieldValue::Timestamp(seconds)) => i64::try_from(*seconds)
                .ok()
                .and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok()),
            _ => None,
        },
    })
}

impl Delivery {
    /// Gives a dead letter that was sent back to `queue`, its own, the exchange and the routing key that it came with at
    /// first; true where it is one.
    ///
    /// It is, where it was published to that queue alone, through the default exchange under the queue's name, and says by
    /// its header `x-death` that it died there before. Whoever may publish so could as well name any exchange and key; what
    /// comes through another exchange is what the broker says that it is, whatever its headers say.
    pub fn undo_requeue(&mut self, queue: &str) -> bool {
        if !self.exchange.is_empty() || self.routing_key != queue {
            return false;
        }
        let deaths = self.properties.deaths();
        let Some(Death { exchange, routing_keys, .. }) = first_in(&deaths, queue) else {
            return false;
        };
        let Some(routing_key) = routing_keys.first() else { return false };
        (self.exchange, self.routing_key) = (exchange.clone(), routing_key.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;

    use super::*;

    fn entry(queue: &str) -> BTreeMap<String, FieldValue> {
        let text = |text: &str| FieldValue::String(text.to_owned());
        [
            ("queue", text(queue)),
            ("reason", text("rejected")),
            ("exchange", text("bus")),
            ("routing-keys", FieldValue::Array(vec![text("a.b"), text("copy")])),
            ("count", FieldValue::I64(2)),
            ("time", FieldValue::Timestamp(1_767_225_600)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn delivery(exchange: &str, key: &str, deaths: FieldValue) -> Delivery {
        let headers = BTreeMap::from([(DEATHS.to_owned(), deaths)]);
        Delivery {
            tag: 1,
            redelivered: false,
            exchange: exchange.to_owned(),
            routing_key: key.to_owned(),
            properties: Properties { headers: Some(headers), ..Properties::default() },
            body: Vec::new(),
            received_at: datetime!(2026-01-02 00:00 UTC),
        }
    }

    fn died_in(queues: &[&str]) -> FieldValue {
        FieldValue::Array(queues.iter().map(|queue| FieldValue::Table(entry(queue))).collect())
    }

    #[test]
    fn deaths_are_read_as_the_broker_writes_them() {
        let deaths = delivery("", "", died_in(&["q", "other"])).properties.deaths();
        let first = Death {
            queue: "q".to_owned(),
            reason: "rejected".to_owned(),
            exchange: "bus".to_owned(),
            routing_keys: vec!["a.b".to_owned(), "copy".to_owned()],
            count: 2,
            time: Some(datetime!(2026-01-01 00:00 UTC)),
        };
        assert_eq!(deaths, [first.clone(), Death { queue: "other".to_owned(), ..first }]);
        assert_eq!(delivery("", "", FieldValue::Void).properties.deaths(), []);
        let mut odd = entry("q");
        odd.insert("routing-keys".to_owned(), FieldValue::Array(vec![FieldValue::Void]));
        let odd = FieldValue::Array(vec![FieldValue::Table(odd), FieldValue::I64(7)]);
        assert_eq!(delivery("", "", odd).properties.deaths(), []);
        assert_eq!(Properties::default().deaths(), []);
    }

    #[test]
    fn what_was_sent_back_to_its_own_queue_has_its_first_address() {
        let mut requeued = delivery("", "q", died_in(&["other", "q"]));
        assert!(requeued.undo_requeue("q"));
        assert_eq!((&*requeued.exchange, &*requeued.routing_key), ("bus", "a.b"));
    }

    #[test]
    fn what_died_again_for_another_reason_still_has_it() {
        let text = |text: &str| FieldValue::String(text.to_owned());
        let mut again = entry("q");
        again.insert("reason".to_owned(), text("delivery_limit"));
        again.insert("exchange".to_owned(), text(""));
        again.insert("routing-keys".to_owned(), FieldValue::Array(vec![text("q")]));
        let deaths = [again, entry("q"), entry("other")].map(FieldValue::Table).to_vec();
        let mut requeued = delivery("", "q", FieldValue::Array(deaths));
        assert!(requeued.undo_requeue("q"));
        assert_eq!((&*requeued.exchange, &*requeued.routing_key), ("bus", "a.b"));
    }

    #[test]
    fn anything_else_stays_what_it_is() {
        for (exchange, key, deaths) in [
            ("bus", "q", died_in(&["q"])),
            ("", "other", died_in(&["q"])),
            ("", "q", died_in(&["other"])),
            ("", "q", died_in(&[])),
            ("", "q", FieldValue::String("q".to_owned())),
        ] {
            let mut delivery = delivery(exchange, key, deaths);
            assert!(!delivery.undo_requeue("q"));
            assert_eq!((&*delivery.exchange, &*delivery.routing_key), (exchange, key));
        }
        let mut keyless = entry("q");
        keyless.insert("routing-keys".to_owned(), FieldValue::Array(Vec::new()));
        let deaths = FieldValue::Array(vec![FieldValue::Table(keyless)]);
        assert!(!delivery("", "q", deaths).undo_requeue("q"));
    }
}
