//! Messages to publish.

use bloodbank_audit::event::Properties;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub routing_key: String,
    pub properties: Properties,
    pub body: Vec<u8>,
}

impl Message {
    /// A persistent message with that body and no other properties than what persistence needs.
    pub fn new(routing_key: &str, body: impl Into<Vec<u8>>) -> Message {
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        Message { routing_key: routing_key.to_owned(), properties, body: body.into() }
    }
}

/// A canonical event with a fresh id, and that number in its payload.
pub fn event(number: usize) -> Message {
    let id = Uuid::new_v4();
    let body = json!({
        "event_id": id.to_string(),
        "event_type": "test.event.happened",
        "timestamp": "2026-01-27T15:30:00.123456Z",
        "version": "1.0.0",
        "source": {"host": "host-a", "type": "manual", "app": "tests", "meta": null},
        "correlation_ids": [],
        "agent_context": null,
        "payload": {"number": number},
    });
    let mut message = Message::new("test.event.happened", body.to_string());
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.message_id = Some(id.to_string());
    message
}

/// The SHA-256 of each of these, sorted: what is compared instead of the bodies.
pub fn digests<'a>(bodies: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
    let mut digests: Vec<_> =
        bodies.into_iter().map(|body| Sha256::digest(body).to_vec()).collect();
    digests.sort();
    digests
}

/// A shape as `fixtures/events.json` has it; the body to the byte, in its own order of keys.
#[derive(Deserialize)]
struct Fixture {
    shape: String,
    routing_key: String,
    properties: Value,
    body: Box<RawValue>,
}

/// The shapes really found on the bus: their names, and the messages as published.
pub fn fixtures() -> Vec<(String, Message)> {
    let fixtures: Vec<Fixture> =
        serde_json::from_str(include_str!("../../fixtures/events.json")).unwrap();
    let message = |fixture: Fixture| {
        let given = &fixture.properties;
        let text = |name: &str| given[name].as_str().map(str::to_owned);
        let number = |name: &str| given[name].as_u64().map(|number| u8::try_from(number).unwrap());
        let properties = Properties {
            content_type: text("content_type"),
            content_encoding: text("content_encoding"),
            headers: given["headers"].as_object().map(|headers| {
                assert!(headers.is_empty(), "the fixtures have no headers");
                Default::default()
            }),
            delivery_mode: number("delivery_mode"),
            priority: number("priority"),
            message_id: text("message_id"),
            correlation_id: text("correlation_id"),
            ..Properties::default()
        };
        (
            fixture.shape,
            Message { properties, ..Message::new(&fixture.routing_key, fixture.body.get()) },
        )
    };
    fixtures.into_iter().map(message).collect()
}
