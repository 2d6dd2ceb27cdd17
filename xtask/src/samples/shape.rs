//! One shape of event: text with gaps for what differs from event to event.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::event::Properties;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Identity, Texts};
use crate::draw::Draw;

/// Where texts stand that differ from event to event.
const PROSE: [&str; 9] = [
    "/payload/text",
    "/payload/prompt",
    "/payload/title",
    "/payload/response_text",
    "/payload/command_payload/message",
    "/payload/command_payload/raw_text",
    "/raw_payload/tool_input/content",
    "/agent_context/code_state/working_diff",
    "/data/prompt",
];
const BASE64: [&str; 1] = ["/payload/audio_base64"];

/// One of the fixtures, ready to be written again and again.
pub struct Shape {
    pub routing_key: String,
    /// Whether the body says which event it is.
    pub has_id: bool,
    derived_id: bool,
    message_id: Option<MessageId>,
    properties: Properties,
    pieces: Vec<Piece>,
}

#[derive(Deserialize)]
struct Fixture {
    routing_key: String,
    properties: FixtureProperties,
    body: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FixtureProperties {
    content_type: Option<String>,
    content_encoding: Option<String>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    headers: Option<BTreeMap<String, Value>>,
    message_id: Option<String>,
    correlation_id: Option<String>,
}

enum MessageId {
    /// The event's own.
    Same,
    /// A uuid of its own, with or without hyphens.
    Random { hyphens: bool },
}

enum Piece {
    Verbatim(String),
    Gap(Gap),
}

/// What is written anew for each event.
#[derive(Clone)]
enum Gap {
    Id,
    Parent,
    OtherId,
    Counter,
    Time { digits: usize, zone: String },
    Prose,
    Base64,
}

impl Shape {
    /// Reads the fixtures' file.
    pub fn parse(fixtures: &str) -> Result<Vec<Self>> {
        let fixtures: Vec<Fixture> = serde_json::from_str(fixtures)?;
        ensure!(!fixtures.is_empty(), "it holds no shape");
        fixtures
            .into_iter()
            .map(|fixture| {
                let routing_key = fixture.routing_key.clone();
                Self::of(fixture).with_context(|| format!("the shape of {routing_key}"))
            })
            .collect()
    }

    fn of(fixture: Fixture) -> Result<Self> {
        let Fixture { routing_key, properties, body } = fixture;
        let text = compact(body.get());
        let body: Value = serde_json::from_str(&text)?;
        let id = string_at(&body, &["/event_id", "/id"]);
        let message_id = properties.message_id.map(|message_id| match id {
            Some(id) if id == message_id => MessageId::Same,
            _ => MessageId::Random { hyphens: message_id.contains('-') },
        });
        ensure!(
            properties.headers.as_ref().is_none_or(BTreeMap::is_empty),
            "headers are not supported in a fixture"
        );
        Ok(Self {
            has_id: id.is_some(),
            derived_id: id
                .and_then(|id| Uuid::parse_str(id).ok())
                .is_some_and(|id| id.get_version_num() == 5),
            pieces: pieces(&text, &gaps(&body)?),
            routing_key,
            message_id,
            properties: Properties {
                content_type: properties.content_type,
                content_encoding: properties.content_encoding,
                delivery_mode: properties.delivery_mode,
                priority: properties.priority,
                headers: properties.headers.map(|_| BTreeMap::new()),
                correlation_id: properties.correlation_id,
                ..Properties::default()
            },
        })
    }

    /// The event's id: derived from its name where the shape's is, else random.
    pub fn id(&self, seed: u64, number: u32, draw: &mut Draw) -> Uuid {
        if self.derived_id {
            let name = format!("bloodbank-audit/samples/{seed}/{number}");
            Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())
        } else {
            draw.uuid()
        }
    }

    pub fn message_id(&self, identity: &Identity, draw: &mut Draw) -> Option<String> {
        self.message_id.as_ref().map(|message_id| match message_id {
            MessageId::Same => identity.id.to_string(),
            MessageId::Random { hyphens: true } => draw.uuid().to_string(),
            MessageId::Random { hyphens: false } => draw.uuid().simple().to_string(),
        })
    }

    pub fn properties(&self, message_id: Option<String>, identity: &Identity) -> Properties {
        Properties {
            message_id,
            correlation_id: self
                .properties
                .correlation_id
                .as_ref()
                .map(|_| identity.parent.to_string()),
            ..self.properties.clone()
        }
    }

    pub fn body(
        &self,
        identity: &Identity,
        now: OffsetDateTime,
        draw: &mut Draw,
        texts: &Texts,
    ) -> Vec<u8> {
        let mut body = String::with_capacity(1024);
        for piece in &self.pieces {
            match piece {
                Piece::Verbatim(text) => body.push_str(text),
                Piece::Gap(gap) => {
                    body.push('"');
                    match gap {
                        Gap::Id => body.push_str(&identity.id.to_string()),
                        Gap::Parent => body.push_str(&identity.parent.to_string()),
                        Gap::OtherId => body.push_str(&draw.uuid().to_string()),
                        Gap::Counter => {
                            body.push_str(&format!(
                                "ctx-{}",
                                1_772_128_800 + u64::from(identity.number)
                            ));
                        }
                        Gap::Time { digits, zone } => {
                            body.push_str(&time_text(now, *digits, draw));
                            body.push_str(zone);
                        }
                        Gap::Prose => body.push_str(texts.prose(draw)),
                        Gap::Base64 => body.push_str(texts.base64(draw)),
                    }
                    body.push('"');
                }
            }
        }
        body.into_bytes()
    }
}

/// The values that differ from event to event, and what takes their place.
fn gaps(body: &Value) -> Result<Vec<(String, Gap)>> {
    let mut gaps = Vec::new();
    let mut gap = |value: &str, gap: Gap| -> Result<()> {
        gaps.push((serde_json::to_string(value)?, gap));
        Ok(())
    };
    if let Some(id) = string_at(body, &["/event_id", "/id"]) {
        gap(id, Gap::Id)?;
    }
    // One that is no uuid names a session, which stays.
    let parent = string_at(body, &["/correlation_ids/0", "/correlation_id"]);
    if let Some(parent) = parent.filter(|parent| Uuid::parse_str(parent).is_ok()) {
        gap(parent, Gap::Parent)?;
    }
    if let Some(command) = string_at(body, &["/payload/command_id"]) {
        let is_uuid = Uuid::parse_str(command).is_ok();
        gap(command, if is_uuid { Gap::OtherId } else { Gap::Counter })?;
    }
    if let Some(time) = string_at(body, &["/timestamp", "/ts"]) {
        gap(time, time_gap(time)?)?;
    }
    for (pointers, kind) in [(&PROSE[..], Gap::Prose), (&BASE64[..], Gap::Base64)] {
        for pointer in pointers {
            if let Some(text) = string_at(body, &[pointer]) {
                gap(text, kind.clone())?;
            }
        }
    }
    Ok(gaps)
}

/// Cuts the text wherever one of the values stands.
fn pieces(text: &str, gaps: &[(String, Gap)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let first = gaps
            .iter()
            .filter_map(|(value, gap)| Some((rest.find(value.as_str())?, value, gap)))
            .min_by_key(|(at, ..)| *at);
        let Some((at, value, gap)) = first else { break };
        pieces.push(Piece::Verbatim(rest[..at].to_owned()));
        pieces.push(Piece::Gap(gap.clone()));
        rest = &rest[at + value.len()..];
    }
    pieces.push(Piece::Verbatim(rest.to_owned()));
    pieces
}

fn string_at<'body>(body: &'body Value, pointers: &[&str]) -> Option<&'body str> {
    pointers.iter().find_map(|pointer| body.pointer(pointer)?.as_str())
}

/// How a time is written: `2026-01-27T15:30:00`, then a fraction, then a zone, each perhaps.
fn time_gap(text: &str) -> Result<Gap> {
    let rest = text.get(19..).context("a time shorter than its seconds")?;
    let (digits, zone) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            (digits, &fraction[digits..])
        }
        None => (0, rest),
    };
    Ok(Gap::Time { digits, zone: zone.to_owned() })
}

/// The clock tells microseconds; what a shape has beyond them is drawn.
fn time_text(now: OffsetDateTime, digits: usize, draw: &mut Draw) -> String {
    let mut text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    if digits > 0 {
        let fraction = format!("{:06}{:03}", now.microsecond(), draw.below(1000));
        text.push('.');
        text.extend(fraction.chars().chain(std::iter::repeat('0')).take(digits));
    }
    text
}

/// The same JSON on one line, its keys in their order, as publishers send it.
fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string || !character.is_ascii_whitespace() {
            compact.push(character);
        }
        match character {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && character == '\\' && !escaped;
    }
    compact
}
