//! The event that is measured with: the bus's canonical envelope, 600 bytes, an id of its own.

use bloodbank_audit::event::Properties;
use uuid::Uuid;

/// Bytes of a body.
pub const BODY_BYTES: usize = 600;
/// The routing key.
pub const ROUTING_KEY: &str = "llm.prompt.submitted";

/// A message ready to be published.
pub struct Message {
    pub id: Uuid,
    pub properties: Properties,
    pub body: Vec<u8>,
}

/// An event as the bus's usual publisher sends it, with a random (version 4) id.
pub fn message() -> Message {
    message_of(BODY_BYTES, "the quick brown fox jumps over the lazy dog and ")
}

/// The same with a body of so many bytes, filled up with a text of letters and digits.
pub fn message_of(bytes: usize, text: &str) -> Message {
    let (id, parent) = (Uuid::new_v4(), Uuid::new_v4());
    let mut body = format!(
        concat!(
            r#"{{"event_id":"{}","event_type":"llm.prompt.submitted","timestamp":"2026-01-27T15:30:00.123456Z","#,
            r#""version":"1.0.0","source":{{"host":"workstation-7","type":"agent","app":"prompt-relay","#,
            r#""meta":{{"pid":4711,"session":"s-20260127-1530"}}}},"correlation_ids":["{}"],"#,
            r#""agent_context":null,"payload":{{"provider":"anthropic","model":"claude","project":"bench","#,
            r#""tokens":512,"prompt":""#
        ),
        id, parent
    );
    const END: &str = r#""}}"#;
    let missing = bytes.saturating_sub(body.len() + END.len());
    body.reserve_exact(missing + END.len());
    body.push_str(&text.repeat(missing / text.len()));
    body.push_str(&text[..missing % text.len()]);
    body.push_str(END);
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        headers: Some(Default::default()),
        delivery_mode: Some(2),
        priority: Some(0),
        message_id: Some(id.to_string()),
        ..Properties::default()
    };
    Message { id, properties, body: body.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::{BODY_BYTES, message};

    #[test]
    fn a_body_is_json_of_the_promised_length() {
        let message = message();
        assert_eq!(message.body.len(), BODY_BYTES);
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!(body["event_id"], message.id.to_string());
        assert!(body["payload"]["prompt"].as_str().unwrap().len() > 50);
    }
}
