//! Sample events: the shapes found on a real bus, each time with ids, a time and texts of their own.

mod shape;

use anyhow::{Context as _, Result};
use bloodbank_audit::event::Properties;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::draw::Draw;
use shape::Shape;

/// The shapes, with their properties, as they were seen on the wire.
const FIXTURES: &str = include_str!("../../tests/fixtures/events.json");

/// Longest text put into an event, in bytes.
const LONGEST_TEXT: usize = 24 << 10;

/// A message to publish.
pub struct Message {
    /// The routing key, which need not be the event's type.
    pub routing_key: String,
    /// The properties; a shape without a message id has none.
    pub properties: Properties,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes sample events: the same number gives the same ids, so that none has to be remembered.
pub struct Samples {
    shapes: Vec<Shape>,
    seed: u64,
    text: Texts,
}

/// What texts are cut from.
struct Texts {
    words: String,
    base64: String,
}

impl Samples {
    /// Samples of one run; another seed gives other ids.
    pub fn new(seed: u64) -> Result<Self> {
        let shapes = Shape::parse(FIXTURES).context("read tests/fixtures/events.json")?;
        Ok(Self { shapes, seed, text: Texts::new() })
    }

    /// The event of that number, happening now.
    pub fn message(&self, number: u32, now: OffsetDateTime) -> Message {
        let shape = self.shape(number);
        let (mut draw, id) = self.identity(number);
        let cause = Identity { id, parent: self.parent(number), number };
        let message_id = shape.message_id(&cause, &mut draw);
        let properties = shape.properties(message_id, &cause);
        let body = shape.body(&cause, now, &mut draw, &self.text);
        Message { routing_key: shape.routing_key.clone(), properties, body }
    }

    /// What to call the event of that number: its number, routing key and id.
    pub fn name(&self, number: u32) -> String {
        let shape = self.shape(number);
        let (mut draw, id) = self.identity(number);
        let cause = Identity { id, parent: self.parent(number), number };
        let message_id = shape.message_id(&cause, &mut draw);
        let id = match (shape.has_id, message_id) {
            (true, _) => format!("id {id}"),
            (false, Some(message_id)) => format!("message id {message_id}"),
            (false, None) => "without an id".to_owned(),
        };
        format!("#{number} {} {id}", shape.routing_key)
    }

    fn shape(&self, number: u32) -> &Shape {
        &self.shapes[number as usize % self.shapes.len()]
    }

    fn identity(&self, number: u32) -> (Draw, Uuid) {
        let mut draw = Draw::new(self.seed, number);
        let id = self.shape(number).id(self.seed, number, &mut draw);
        (draw, id)
    }

    /// The first event of the same round: what follows from something follows from that.
    fn parent(&self, number: u32) -> Uuid {
        self.identity(number - number % self.shapes.len() as u32).1
    }
}

/// What an event and its relatives are called.
struct Identity {
    id: Uuid,
    parent: Uuid,
    number: u32,
}

impl Texts {
    fn new() -> Self {
        const WORDS: [&str; 24] = [
            "the", "queue", "drained", "while", "rack", "cooling", "held", "and", "a", "prompt",
            "asked", "for", "another", "summary", "of", "this", "meeting", "before", "standup",
            "agent", "wrote", "two", "files", "again",
        ];
        const BASE64: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut draw = Draw::new(0, 0);
        let (mut words, mut base64) = (String::new(), String::new());
        while words.len() < 2 * LONGEST_TEXT {
            words.push_str(WORDS[draw.below(WORDS.len())]);
            words.push(' ');
            base64.extend((0..6).map(|_| char::from(BASE64[draw.below(BASE64.len())])));
        }
        while base64.len() < 2 * LONGEST_TEXT {
            base64.push(char::from(BASE64[draw.below(BASE64.len())]));
        }
        Self { words, base64 }
    }

    fn prose(&self, draw: &mut Draw) -> &str {
        Self::cut(&self.words, draw)
    }

    fn base64(&self, draw: &mut Draw) -> &str {
        Self::cut(&self.base64, draw)
    }

    /// Most texts are a sentence or two, some a page, a few a document.
    fn cut<'text>(text: &'text str, draw: &mut Draw) -> &'text str {
        let length = match draw.below(100) {
            0..70 => 20 + draw.below(280),
            70..97 => 300 + draw.below(2_200),
            _ => 2_500 + draw.below(LONGEST_TEXT - 2_500),
        };
        let start = draw.below(LONGEST_TEXT);
        &text[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;
    use time::macros::datetime;

    use super::{FIXTURES, Message, Samples};

    fn fixtures() -> Vec<Value> {
        serde_json::from_str(FIXTURES).unwrap()
    }

    fn sample(number: u32) -> (Message, Value) {
        let samples = Samples::new(7).unwrap();
        let message = samples.message(number, datetime!(2026-03-04 05:06:07.089 UTC));
        let body = serde_json::from_slice(&message.body).unwrap();
        (message, body)
    }

    /// The keys of every object, at every depth, in order.
    fn keys(value: &Value) -> Vec<String> {
        match value {
            Value::Object(map) => map
                .iter()
                .flat_map(|(key, value)| std::iter::once(key.clone()).chain(keys(value)))
                .collect(),
            Value::Array(items) => items.iter().flat_map(keys).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn each_sample_has_the_keys_of_its_shape_and_properties_of_the_same_names() {
        for (number, fixture) in fixtures().iter().enumerate() {
            let (message, body) = sample(number.try_into().unwrap());
            assert_eq!(keys(&body), keys(&fixture["body"]), "{}", fixture["shape"]);
            let properties = &fixture["properties"];
            let is_set = |name: &str| properties.get(name).is_some();
            assert_eq!(message.properties.message_id.is_some(), is_set("message_id"));
            assert_eq!(message.properties.correlation_id.is_some(), is_set("correlation_id"));
            assert_eq!(message.properties.headers.is_some(), is_set("headers"));
            assert_eq!(message.properties.priority.is_some(), is_set("priority"));
            assert_eq!(message.routing_key, fixture["routing_key"].as_str().unwrap());
        }
    }

    #[test]
    fn a_message_id_equals_the_event_id_exactly_where_it_does_in_the_shape() {
        for (number, fixture) in fixtures().iter().enumerate() {
            let (message, body) = sample(number.try_into().unwrap());
            let id = |body: &Value| body.get("event_id").or(body.get("id")).cloned();
            let message_id = message.properties.message_id.map(Value::String);
            assert_eq!(
                id(&body).is_some() && id(&body) == message_id,
                id(&fixture["body"]).is_some()
                    && id(&fixture["body"]) == fixture["properties"].get("message_id").cloned(),
                "{}",
                fixture["shape"]
            );
        }
    }

    #[test]
    fn times_keep_the_precision_and_zone_of_their_shape() {
        let times = [
            "2026-03-04T05:06:07.089000Z",
            "2026-03-04T05:06:07Z",
            "2026-03-04T05:06:07.089000Z",
            "2026-03-04T05:06:07.089000",
            "2026-03-04T05:06:07.089000",
            "2026-03-04T05:06:07.089000+00:00",
            "2026-03-04T05:06:07Z",
            "2026-03-04T05:06:07.089000+00:00",
        ];
        for (number, expected) in times.iter().enumerate() {
            let (_, body) = sample(number.try_into().unwrap());
            let time = body.get("timestamp").or(body.get("ts")).and_then(Value::as_str).unwrap();
            assert!(time.starts_with(expected), "{time}");
            assert_eq!(time.len() == expected.len(), number != 4, "{time} has nine digits");
        }
    }

    #[test]
    fn consequences_name_the_first_event_of_their_round() {
        let (_, first) = sample(8);
        let (_, second) = sample(9);
        let (seventh, body) = sample(15);
        assert_eq!(second["correlation_ids"][0], first["event_id"]);
        assert_eq!(body["correlation_id"], first["event_id"]);
        assert_eq!(seventh.properties.correlation_id.as_deref(), first["event_id"].as_str());
        let (_, shell) = sample(12);
        assert_eq!(shell["correlation_id"], "sess-7");
    }

    #[test]
    fn a_number_has_one_name_and_no_two_share_an_id() {
        let samples = Samples::new(7).unwrap();
        let (_, body) = sample(3);
        assert!(samples.name(3).contains(body["event_id"].as_str().unwrap()));
        let (message, _) = sample(6);
        assert!(samples.name(6).contains(&message.properties.message_id.unwrap()));
        assert!(samples.name(4).contains("without an id"));
        let names: HashSet<_> = (0..800).map(|number| samples.name(number)).collect();
        assert_eq!(names.len(), 800);
    }
}
