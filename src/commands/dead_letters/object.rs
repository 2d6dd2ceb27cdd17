//! A dead letter as a JSON object.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{dead_letters::Letter, event::rfc3339};

#[derive(Serialize)]
struct Object<'a> {
    id: String,
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    exchange: &'a str,
    routing_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    died_at: Option<String>,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<String>,
    detail: String,
    times_died: i64,
    deaths: Vec<Died<'a>>,
    body_bytes: usize,
    body_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
struct Died<'a> {
    queue: &'a str,
    reason: &'a str,
    count: i64,
    exchange: &'a str,
    routing_keys: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// The letter as one object on a line; with properties and body where all of it is wanted.
///
/// # Errors
/// None is known: what is written here is made here.
pub fn object(letter: &Letter, whole: bool) -> serde_json::Result<String> {
    let (exchange, routing_key) = letter.origin();
    let cause = letter.cause();
    let delivery = &letter.delivery;
    let text = std::str::from_utf8(&delivery.body).ok().filter(|_| whole);
    let died = letter.deaths.iter().map(|death| Died {
        queue: &death.queue,
        reason: &death.reason,
        count: death.count,
        exchange: &death.exchange,
        routing_keys: &death.routing_keys,
        time: death.time.map(rfc3339),
    });
    let object = Object {
        id: letter.id(),
        position: letter.position,
        event_id: letter.event_id.as_deref(),
        exchange,
        routing_key,
        died_at: letter.died_at().map(rfc3339),
        reason: cause.reason,
        sqlstate: cause.sqlstate,
        detail: cause.detail,
        times_died: letter.times_died(),
        deaths: died.collect(),
        body_bytes: delivery.body.len(),
        body_sha256: letter.digest(),
        properties: whole.then(|| RawValue::from_string(delivery.properties_json())).transpose()?,
        body: text,
        body_base64: (whole && text.is_none()).then(|| STANDARD.encode(&delivery.body)),
    };
    serde_json::to_string(&object)
}
