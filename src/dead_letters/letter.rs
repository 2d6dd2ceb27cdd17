//! A dead letter, and what is known of it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::{
    event::{Death, Delivery, Envelope, Event, EventId, death},
    store::{RejectionKey, RejectionRecord},
};

/// Hexadecimal digits of a digest that stand for a message without an id.
const DIGITS: usize = 16;

/// A message of the dead-letter queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The message. Its exchange is the one that it reached this queue by.
    pub delivery: Delivery,
    /// Its place in the queue, from 1 on.
    pub position: u64,
    /// The event's id, where it has one.
    pub event_id: Option<String>,
    /// SHA-256 of its body.
    pub body_sha256: [u8; 32],
    /// Its deaths, the last one first.
    pub deaths: Vec<Death>,
    /// Why the daemon rejected it, where that is on record and the record could be read.
    pub record: Option<RejectionRecord>,
    /// The daemon's own queue.
    queue: String,
}

/// What tells dead letters apart: all of it but what the broker counts while it waits. One that died again is another.
pub type Identity = [u8; 32];

/// Why it is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `malformed`, `too-large` or `refused`; or the broker's word, such as `delivery_limit`, where the broker did it; or
    /// `none` where nothing tells.
    pub reason: String,
    /// The database's error code where it refused the row.
    pub sqlstate: Option<String>,
    /// More on it, in words.
    pub detail: String,
}

impl Letter {
    /// What a delivery of the dead-letter queue is to the daemon with that queue and envelope.
    #[must_use]
    pub fn new(delivery: Delivery, position: u64, queue: &str, envelope: &Envelope) -> Letter {
        let event = Event::from_delivery(delivery, envelope);
        let event_id = event.id.map(|id| match id {
            EventId::Uuid(id) => id.to_string(),
            EventId::Text(id) => id,
        });
        let delivery = event.delivery;
        Letter {
            position,
            event_id,
            body_sha256: Sha256::digest(&delivery.body).into(),
            deaths: delivery.properties.deaths(),
            record: None,
            queue: queue.to_owned(),
            delivery,
        }
    }

    /// What it is called: the event's id, or the first digits of its digest.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.event_id {
            Some(id) => id.clone(),
            None => self.digest()[..DIGITS].to_owned(),
        }
    }

    /// SHA-256 of its body, in hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        self.body_sha256.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Its first death in the daemon's own queue.
    #[must_use]
    pub fn death_here(&self) -> Option<&Death> {
        death::first_in(&self.deaths, &self.queue)
    }

    /// The death that brought it here.
    #[must_use]
    pub fn last_death(&self) -> Option<&Death> {
        self.deaths.first()
    }

    /// The exchange and the routing key that it was published with before it died; those that it has here where it never
    /// did.
    #[must_use]
    pub fn origin(&self) -> (&str, &str) {
        self.came_from().unwrap_or((&self.delivery.exchange, &self.delivery.routing_key))
    }

    /// The exchange and the routing key that it was published with before it died, where its deaths tell.
    #[must_use]
    pub fn came_from(&self) -> Option<(&str, &str)> {
        let death = self.death_here().or(self.last_death())?;
        Some((&*death.exchange, &**death.routing_keys.first()?))
    }

    /// How often it died, in all. Whoever may publish can write any numbers there.
    #[must_use]
    pub fn times_died(&self) -> i64 {
        self.deaths.iter().map(|death| death.count).fold(0, i64::saturating_add)
    }

    /// When it died; of several deaths for one reason in one queue, RabbitMQ notes the first.
    #[must_use]
    pub fn died_at(&self) -> Option<OffsetDateTime> {
        match (&self.record, self.last_death()) {
            (Some(record), _) => Some(record.received_at),
            (None, death) => death.and_then(|death| death.time),
        }
    }

    /// What its rejection is found by, where the daemon rejected it.
    #[must_use]
    pub fn rejection(&self) -> Option<RejectionKey> {
        let death = self.last_death()?;
        (death.reason == "rejected" && death.queue == self.queue).then(|| self.record_key())
    }

    /// What it is put on record by.
    #[must_use]
    pub fn record_key(&self) -> RejectionKey {
        let (exchange, routing_key) = self.origin();
        RejectionKey {
            body_sha256: self.body_sha256,
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        }
    }

    /// Why it is a dead letter.
    #[must_use]
    pub fn cause(&self) -> Cause {
        if let Some(RejectionRecord { reason, detail, sqlstate, .. }) = &self.record {
            let (reason, detail) = (reason.clone(), detail.clone());
            return Cause { reason, sqlstate: sqlstate.clone(), detail };
        }
        let (reason, detail) = match self.last_death() {
            Some(Death { reason, queue, .. }) if *queue == self.queue && reason == "rejected" => {
                ("rejected", "by the daemon; why is in audit.rejections".to_owned())
            }
            Some(Death { reason, queue, .. }) if *queue == self.queue => {
                (reason.as_str(), "by the broker, not by the daemon".to_owned())
            }
            Some(Death { reason, queue, .. }) => {
                (reason.as_str(), format!("in the queue '{queue}'"))
            }
            None => ("none", "nothing says that it ever died: it was published here".to_owned()),
        };
        Cause { reason: reason.to_owned(), sqlstate: None, detail }
    }

    /// What tells it apart.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let Delivery { exchange, routing_key, properties, .. } = &self.delivery;
        let mut properties = properties.clone();
        if let Some(headers) = &mut properties.headers {
            headers.retain(|name, _| !super::outgoing::is_counted(name));
        }
        let mut hash = Sha256::new();
        for part in [&self.body_sha256[..], exchange.as_bytes(), routing_key.as_bytes()] {
            hash.update(u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
            hash.update(part);
        }
        // Headers and properties with their types, in one order.
        let recorded = Delivery { properties, body: Vec::new(), ..self.delivery_head() };
        hash.update(recorded.properties_json());
        hash.finalize().into()
    }

    /// The delivery without what may be large.
    fn delivery_head(&self) -> Delivery {
        Delivery {
            tag: 0,
            redelivered: false,
            exchange: self.delivery.exchange.clone(),
            routing_key: self.delivery.routing_key.clone(),
            properties: Default::default(),
            body: Vec::new(),
            received_at: self.delivery.received_at,
        }
    }
}

impl Cause {
    /// On one line: the reason, and its code.
    #[must_use]
    pub fn short(&self) -> String {
        match &self.sqlstate {
            Some(code) => format!("{} {code}", self.reason),
            None => self.reason.clone(),
        }
    }
}
