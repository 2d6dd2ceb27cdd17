//! Canaries: small events that a daemon publishes to see them come back.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Delivery, Envelope, Event, EventId, Properties, envelope::Fields};

/// What the ids of canaries begin with: `canary`. The rest is random, as far as a uuid of version 8 leaves it so.
const PREFIX: [u8; 6] = *b"canary";

/// A canary, before it is published.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Its event id.
    pub id: Uuid,
    /// Its properties.
    pub properties: Properties,
    /// Its body: JSON.
    pub body: Vec<u8>,
}

impl Canary {
    /// Its type.
    pub const TYPE: &str = "audit.canary";

    /// One of that daemon's, with its fields where the envelope looks for them. `None` where its id would not be found there.
    #[must_use]
    pub fn new(envelope: &Envelope, instance: &str, at: OffsetDateTime) -> Option<Canary> {
        let mut id = *Uuid::new_v4().as_bytes();
        id[..PREFIX.len()].copy_from_slice(&PREFIX);
        let id = uuid::Builder::from_custom_bytes(id).into_uuid();
        let fields = Fields { id, event_type: Canary::TYPE, at, source: instance };
        let (properties, body) = envelope.write(&fields);
        let canary = Canary { id, properties, body };
        canary.is_found(envelope, at).then_some(canary)
    }

    /// Its properties, as `audit.events` has them.
    #[must_use]
    pub fn properties_json(&self) -> String {
        self.delivery(OffsetDateTime::UNIX_EPOCH).properties_json()
    }

    /// The SHA-256 of its body.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }

    fn is_found(&self, envelope: &Envelope, at: OffsetDateTime) -> bool {
        Event::from_delivery(self.delivery(at), envelope).id == Some(EventId::Uuid(self.id))
    }

    fn delivery(&self, received_at: OffsetDateTime) -> Delivery {
        Delivery {
            tag: 0,
            redelivered: false,
            exchange: String::new(),
            routing_key: String::new(),
            properties: self.properties.clone(),
            body: self.body.clone(),
            received_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::Canary;
    use crate::event::{Envelope, Event, Overrides, Preset};

    const AT: time::OffsetDateTime = datetime!(2026-01-02 03:04:05.678 UTC);

    #[test]
    fn every_envelope_finds_what_a_canary_says() {
        for preset in Preset::ALL {
            let envelope = Envelope::preset(preset);
            let canary = Canary::new(&envelope, "host-a", AT).unwrap();
            assert!(canary.id.to_string().starts_with("63616e61-7279-8"), "{}", canary.id);
            let event = Event::from_delivery(canary.delivery(AT), &envelope);
            assert!(!event.malformed && event.defects.is_empty(), "{preset:?}: {event:?}");
            assert_eq!(event.event_type.as_deref(), Some(Canary::TYPE), "{preset:?}");
            assert_eq!(event.source.as_deref(), Some("host-a"), "{preset:?}");
            // Some have whole seconds.
            assert_eq!(
                event.event_time.map(|at| at.unix_timestamp()),
                Some(AT.unix_timestamp()),
                "{preset:?}"
            );
        }
    }

    #[test]
    fn fields_of_ones_own_are_found_too() {
        let with = |selector: &str| {
            let event_id = Some(vec![selector.parse().unwrap()]);
            let overrides = Overrides { event_id, ..Overrides::default() };
            Envelope::with_overrides(Preset::Bloodbank, overrides)
        };
        for selector in [
            "/a/b/c",
            "/list/0/id",
            "/list/1",
            "header:id",
            "property:correlation_id",
            "/event_type/id",
        ] {
            assert!(Canary::new(&with(selector), "host-a", AT).is_some(), "{selector}");
        }
        for selector in ["property:delivery_mode", "property:user_id"] {
            assert!(Canary::new(&with(selector), "host-a", AT).is_none(), "{selector}");
        }
    }
}
