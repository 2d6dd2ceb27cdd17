//! Deliveries that say they are a replay: of which event, and whether they are.

use std::collections::BTreeMap;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{Delivery, FieldValue, Properties, RecordedProperties, column_text};

/// Headers that a replay adds. What an event had under these names it has no more.
pub mod header {
    /// Which replay.
    pub const REPLAY: &str = "x-replay-id";
    /// When it was published again, as RFC 3339.
    pub const REPLAYED_AT: &str = "x-replayed-at";
    /// When the daemon received the event, as RFC 3339, to the microsecond.
    pub const RECEIVED_AT: &str = "x-original-received-at";
    /// The exchange that the event was published to.
    pub const EXCHANGE: &str = "x-original-exchange";
    /// The routing key that it was published with, where it is another one now.
    pub const ROUTING_KEY: &str = "x-original-routing-key";
    /// The message id that it had, where it has a fresh one.
    pub const MESSAGE_ID: &str = "x-original-message-id";
    /// By this header the broker sends copies to more keys. A replay to a queue lacks it.
    pub const CC: &str = "CC";

    /// All that are added.
    pub const ADDED: [&str; 6] =
        [REPLAY, REPLAYED_AT, RECEIVED_AT, EXCHANGE, ROUTING_KEY, MESSAGE_ID];
}

/// What a delivery says that it is a replay of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which replay.
    pub replay: Uuid,
    /// When the event was received.
    pub received_at: OffsetDateTime,
}

impl Delivery {
    /// Whether it says that it is a replay, in whatever words. Costs next to nothing where it has no headers.
    #[must_use]
    pub fn says_replay(&self) -> bool {
        self.properties.headers.as_ref().is_some_and(|headers| headers.contains_key(header::REPLAY))
    }

    /// What it says that it is a replay of; none where it says so in words that no replay uses.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        let headers = self.properties.headers.as_ref()?;
        // What a replay adds is kept nowhere, so there is no place in it for anything else.
        let is_text = |name: &str| matches!(headers.get(name), None | Some(FieldValue::String(_)));
        if !header::ADDED.into_iter().all(is_text) {
            return None;
        }
        let text = |name| header_text(Some(headers), name);
        if let Some(replayed_at) = text(header::REPLAYED_AT) {
            OffsetDateTime::parse(replayed_at, &Rfc3339).ok()?;
        }
        Some(Claim {
            replay: Uuid::try_parse(text(header::REPLAY)?).ok()?,
            received_at: OffsetDateTime::parse(text(header::RECEIVED_AT)?, &Rfc3339).ok()?,
        })
    }

    /// Whether it is a replay of this stored event: the same body, routing key and properties, but for what a replay adds
    /// or leaves out.
    #[must_use]
    pub fn is_replay_of(
        &self,
        exchange: &str,
        routing_key: &str,
        recorded: &RecordedProperties,
        body: &[u8],
    ) -> bool {
        let headers = self.properties.headers.as_ref();
        let original_key = header_text(headers, header::ROUTING_KEY).unwrap_or(&self.routing_key);
        let original_exchange = header_text(headers, header::EXCHANGE);
        body == self.body
            && column_text(original_key) == routing_key
            && original_exchange.map(column_text).as_deref() == Some(exchange)
            && self.has_the_properties_of(&recorded.properties)
    }

    fn has_the_properties_of(&self, stored: &Properties) -> bool {
        let mut mine = self.properties.clone();
        let mut stored = stored.clone();
        // A fresh one is a uuid; any other could be words that are kept nowhere.
        let fresh = mine.message_id.as_deref().is_some_and(|id| Uuid::try_parse(id).is_ok());
        match header_text(mine.headers.as_ref(), header::MESSAGE_ID) {
            Some(id) if fresh => mine.message_id = Some(id.to_owned()),
            Some(_) => return false,
            None if fresh && stored.message_id.is_none() => mine.message_id = None,
            None => {}
        }
        // A replay leaves these out where they would be in its way.
        if mine.user_id.is_none() {
            stored.user_id = None;
        }
        let copies = |properties: &Properties| {
            properties.headers.as_ref().is_some_and(|headers| headers.contains_key(header::CC))
        };
        let without_copies = !copies(&mine);
        for properties in [&mut mine, &mut stored] {
            let headers = properties.headers.get_or_insert_default();
            headers.retain(|name, _| {
                let added = header::ADDED.contains(&name.as_str());
                !(added || without_copies && name == header::CC)
            });
        }
        let identity = |properties: Properties| {
            RecordedProperties { properties, ..RecordedProperties::default() }.identity_json()
        };
        if mine.expiration.is_none() {
            // Nor does one that the broker noted when it dead-lettered the event.
            stored.expiration = None;
            for headers in [&mut mine, &mut stored].map(|properties| &mut properties.headers) {
                headers.get_or_insert_default().remove("x-death");
            }
        }
        identity(mine) == identity(stored)
    }
}

/// The text of a header.
#[must_use]
pub fn header_text<'a>(
    headers: Option<&'a BTreeMap<String, FieldValue>>,
    name: &str,
) -> Option<&'a str> {
    match headers?.get(name)? {
        FieldValue::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// A stored event's properties, and a replay of it.
    fn pair() -> (Properties, Delivery) {
        let stored = Properties {
            headers: Some(BTreeMap::from([("n".to_owned(), FieldValue::I16(1))])),
            expiration: Some("1000".to_owned()),
            user_id: Some("u".to_owned()),
            message_id: Some("m".to_owned()),
            ..Properties::default()
        };
        let mut properties = stored.clone();
        let headers = properties.headers.get_or_insert_default();
        for (name, value) in [
            (header::REPLAY, "0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11"),
            (header::RECEIVED_AT, "2026-01-01T00:00:00.000001Z"),
            (header::EXCHANGE, "bus"),
        ] {
            headers.insert(name.to_owned(), FieldValue::String(value.to_owned()));
        }
        let delivery = Delivery {
            tag: 1,
            redelivered: false,
            exchange: "other".to_owned(),
            routing_key: "a.b".to_owned(),
            properties,
            body: b"body".to_vec(),
            received_at: datetime!(2026-01-02 00:00 UTC),
        };
        (stored, delivery)
    }

    fn is_replay(delivery: &Delivery, properties: Properties) -> bool {
        let recorded = RecordedProperties { properties, ..RecordedProperties::default() };
        delivery.is_replay_of("bus", "a.b", &recorded, b"body")
    }

    #[test]
    fn what_a_replay_adds_and_leaves_out_makes_no_difference() {
        let (stored, delivery) = pair();
        assert!(delivery.says_replay() && is_replay(&delivery, stored.clone()));
        let claim = delivery.claim().unwrap();
        assert_eq!(claim.received_at, datetime!(2026-01-01 00:00:00.000001 UTC));
        let mut without = delivery.clone();
        (without.properties.expiration, without.properties.user_id) = (None, None);
        assert!(is_replay(&without, stored.clone()));
        let mut fresh = delivery.clone();
        fresh.properties.message_id = Some("6f1de0a4-3c55-4a09-9a3e-6a1c0b1f7d22".to_owned());
        assert!(!is_replay(&fresh, stored.clone()), "it does not say which it had");
        let mut add = |name: &str, value: &str| {
            let headers = fresh.properties.headers.get_or_insert_default();
            headers.insert(name.to_owned(), FieldValue::String(value.to_owned()));
        };
        add(header::MESSAGE_ID, "m");
        add(header::ROUTING_KEY, "a.b");
        fresh.routing_key = "x.a.b".to_owned();
        assert!(is_replay(&fresh, stored.clone()));
        fresh.properties.message_id = Some("words of its own".to_owned());
        assert!(!is_replay(&fresh, stored));
    }

    #[test]
    fn anything_else_makes_one() {
        let (stored, delivery) = pair();
        let other = |change: &dyn Fn(&mut Delivery)| {
            let mut other = delivery.clone();
            change(&mut other);
            is_replay(&other, stored.clone())
        };
        assert!(!other(&|d| d.body.push(b'x')));
        assert!(!other(&|d| d.routing_key.push('x')));
        assert!(!other(&|d| d.properties.priority = Some(1)));
        assert!(!other(&|d| d.properties.expiration = Some("1".to_owned())));
        assert!(!other(&|d| d.properties.user_id = Some("v".to_owned())));
        assert!(!other(&|d| {
            let headers = d.properties.headers.get_or_insert_default();
            headers.insert("n".to_owned(), FieldValue::I32(1));
        }));
        assert!(!other(&|d| {
            let headers = d.properties.headers.get_or_insert_default();
            headers.remove(header::EXCHANGE);
        }));
    }

    #[test]
    fn what_is_added_has_no_room_for_anything_else() {
        let words = FieldValue::String("words of its own".to_owned());
        for (name, value) in [
            (header::REPLAYED_AT, words),
            (header::ROUTING_KEY, FieldValue::Array(Vec::new())),
            (header::MESSAGE_ID, FieldValue::Bytes(b"hidden".to_vec())),
        ] {
            let (_, mut delivery) = pair();
            let headers = delivery.properties.headers.get_or_insert_default();
            headers.insert(name.to_owned(), value);
            assert!(delivery.says_replay() && delivery.claim().is_none(), "{name}");
        }
    }

    #[test]
    fn words_that_no_replay_uses_are_no_claim() {
        let (_, mut delivery) = pair();
        let headers = delivery.properties.headers.get_or_insert_default();
        headers.insert(header::REPLAY.to_owned(), FieldValue::I64(1));
        assert!(delivery.says_replay() && delivery.claim().is_none());
        delivery.properties.headers = None;
        assert!(!delivery.says_replay());
    }
}
