//! What is published: mostly the shapes of a real bus, and beside them all that makes trouble.

use std::fmt::Write as _;

use anyhow::Result;
use bloodbank_audit::event::Properties;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::scene::{REFUSED_BY_RULE, REFUSED_BY_TRIGGER};
use crate::draw::Draw;
use crate::history::Digest;
use crate::samples::Samples;

/// The longest body.
const LONGEST: usize = 1 << 20;
/// How far back an event is published again, or another under its id.
const REACH: usize = 2_000;

/// Makes the events of one run: the same number gives the same bytes, so that none has to be remembered.
pub struct Mix {
    samples: Samples,
    seed: u64,
    started: OffsetDateTime,
}

/// An event to publish.
pub struct Event {
    /// The routing key.
    pub routing_key: String,
    /// The properties.
    pub properties: Properties,
    /// The body.
    pub body: Vec<u8>,
    /// The id under which the history knows it; none for an event without.
    pub id: Option<String>,
    /// Whether the database refuses it.
    pub refused: bool,
}

/// What an event is recognised by: SHA-256 of the SHA-256 of its body and its id, which may be empty.
pub type Key = Digest;

#[derive(Clone, Copy)]
enum Kind {
    Sample,
    /// One published before, byte for byte.
    Again,
    /// One published before, with its id and other content.
    Conflict,
    /// JSON without any id.
    Anonymous,
    /// No JSON at all.
    Bytes,
    /// A few bytes, so that equal ones are common.
    Tiny,
    /// Up to a mebibyte.
    Big,
    /// JSON that SQL stumbles over.
    Odd,
    Refused(&'static str),
}

impl Mix {
    /// The events of that seed.
    pub fn new(seed: u64, started: OffsetDateTime) -> Result<Self> {
        Ok(Self { samples: Samples::new(seed)?, seed, started })
    }

    /// The event of that number.
    pub fn event(&self, number: u32) -> Event {
        let (kind, mut draw) = self.kind(number);
        match kind {
            Kind::Again => match self.earlier(number, &mut draw) {
                Some(earlier) => self.event(earlier),
                None => self.sample(number),
            },
            Kind::Conflict => match self.earlier(number, &mut draw) {
                Some(earlier) if matches!(self.kind(earlier).0, Kind::Sample) => {
                    self.sample(earlier).with_field("soak_conflict", number)
                }
                _ => self.sample(number),
            },
            Kind::Sample => self.sample(number),
            Kind::Refused(routing_key) => {
                let event = self.sample(number).with_field("soak_refused", number);
                Event { routing_key: routing_key.to_owned(), refused: true, ..event }
            }
            Kind::Anonymous => {
                let body = format!(r#"{{"n":{number},"text":"{}"}}"#, draw.uuid());
                self.made(body.into_bytes(), None)
            }
            Kind::Bytes => {
                let length = 16 + draw.below(4_000);
                let body = bytes(&mut draw, length);
                let id = maybe_id(number, &mut draw);
                self.made(body, id)
            }
            Kind::Tiny => {
                let length = 1 + draw.below(2);
                let body = (0..length).map(|_| b'0' + draw.below(10) as u8).collect();
                let id = maybe_id(number, &mut draw);
                self.made(body, id)
            }
            Kind::Big => {
                // As many between 4 and 8 KiB as between 512 KiB and 1 MiB.
                let octave = 4_096 << draw.below(8);
                let length = (octave + draw.below(octave)).min(LONGEST);
                let body = if draw.below(2) == 0 {
                    bytes(&mut draw, length)
                } else {
                    text(length, number)
                };
                let id = maybe_id(number, &mut draw);
                self.made(body, id)
            }
            Kind::Odd => {
                let oddity = [r#""\u0000""#, r#""\ud800""#, "[[[[1]]]]", "1e400", "\"\u{1F600}\""];
                let oddity = oddity[draw.below(oddity.len())];
                let id = draw.uuid();
                let body = format!(r#"{{"event_id":"{id}","n":{number},"odd":{oddity}}}"#);
                Event { id: Some(id.to_string()), ..self.made(body.into_bytes(), None) }
            }
        }
    }

    /// What to call the event of that number.
    pub fn name(&self, number: u32) -> String {
        let event = self.event(number);
        let id = event.id.as_ref().map_or("without an id".to_owned(), |id| format!("id {id}"));
        let digest = hex(&event.digest());
        format!("#{number} {} {id}, {} bytes, sha256 {digest}", event.routing_key, event.body.len())
    }

    fn kind(&self, number: u32) -> (Kind, Draw) {
        let mut draw = Draw::new(self.seed.rotate_left(32), number);
        let kind = match draw.below(1_000) {
            0..860 => Kind::Sample,
            860..900 => Kind::Again,
            900..925 => Kind::Conflict,
            925..945 => Kind::Anonymous,
            945..965 => Kind::Bytes,
            965..975 => Kind::Tiny,
            975..985 => Kind::Big,
            985..998 => Kind::Odd,
            998 => Kind::Refused(REFUSED_BY_RULE),
            _ => Kind::Refused(REFUSED_BY_TRIGGER),
        };
        (kind, draw)
    }

    /// One of those before it that are not themselves taken from before.
    fn earlier(&self, number: u32, draw: &mut Draw) -> Option<u32> {
        let reach = REACH.min(number as usize);
        if reach == 0 {
            return None;
        }
        let earlier = number - 1 - draw.below(reach) as u32;
        let taken = matches!(self.kind(earlier).0, Kind::Again);
        (!taken).then_some(earlier)
    }

    fn sample(&self, number: u32) -> Event {
        let happened = self.started + time::Duration::milliseconds(number.into());
        let message = self.samples.message(number, happened);
        let id = event_id(&message.body).or(message.properties.message_id.clone());
        Event {
            id: id.map(|id| normal(&id)),
            routing_key: message.routing_key,
            properties: message.properties,
            body: message.body,
            refused: false,
        }
    }

    fn made(&self, body: Vec<u8>, message_id: Option<String>) -> Event {
        Event {
            routing_key: "soak.made".to_owned(),
            id: message_id.as_deref().map(normal),
            properties: Properties { message_id, delivery_mode: Some(2), ..Properties::default() },
            body,
            refused: false,
        }
    }
}

impl Event {
    /// The SHA-256 of the body.
    pub fn digest(&self) -> Digest {
        Sha256::digest(&self.body).into()
    }

    /// What it is recognised by.
    pub fn key(&self) -> Key {
        key(&self.digest(), self.id.as_deref())
    }

    /// Its id where that is a uuid, and the event one that is stored.
    pub fn uuid(&self) -> Option<Uuid> {
        let id = self.id.as_deref().filter(|_| !self.refused)?;
        Uuid::parse_str(id).ok()
    }

    /// The same with one more field at the end of its JSON object.
    fn with_field(mut self, name: &str, number: u32) -> Self {
        self.body.pop();
        self.body.extend(format!(r#","{name}":{number}}}"#).bytes());
        self
    }
}

/// What an event of that body and id is recognised by.
pub fn key(digest: &Digest, id: Option<&str>) -> Key {
    let hash = Sha256::new().chain_update(digest).chain_update(id.unwrap_or_default());
    hash.finalize().into()
}

/// Hexadecimal digits, the first eight bytes.
pub fn hex(digest: &Digest) -> String {
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn event_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        event_id: Option<String>,
    }
    serde_json::from_slice::<Named>(body).ok()?.event_id
}

/// As the history writes it: uuids in one form, anything else verbatim.
fn normal(id: &str) -> String {
    Uuid::parse_str(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

/// No id, a uuid, or a name that is none.
fn maybe_id(number: u32, draw: &mut Draw) -> Option<String> {
    match draw.below(3) {
        0 => None,
        1 => Some(draw.uuid().to_string()),
        _ => Some(format!("order-{number}")),
    }
}

fn bytes(draw: &mut Draw, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        bytes.extend(draw.uuid().as_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A JSON object of that length.
fn text(length: usize, number: u32) -> Vec<u8> {
    let start = format!(r#"{{"n":{number},"text":""#);
    let filler = length.saturating_sub(start.len() + 2);
    format!(r#"{start}{}"}}"#, "soak ".repeat(filler / 5)).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use time::macros::datetime;

    use super::{LONGEST, Mix};

    #[test]
    fn the_mix_is_the_same_each_time_and_holds_everything() {
        let mix = || Mix::new(7, datetime!(2026-03-04 05:06:07 UTC)).unwrap();
        let (mix, same) = (mix(), mix());
        let (mut refused, mut anonymous, mut longest, mut shortest) = (0, 0, 0, usize::MAX);
        let mut keys: HashMap<_, u32> = HashMap::new();
        let mut ids: HashMap<_, Vec<_>> = HashMap::new();
        for number in 0..10_000 {
            let event = mix.event(number);
            assert!(event.body == same.event(number).body);
            assert!(!event.body.is_empty() && event.body.len() <= LONGEST);
            refused += u32::from(event.refused);
            anonymous += u32::from(event.id.is_none());
            longest = longest.max(event.body.len());
            shortest = shortest.min(event.body.len());
            *keys.entry(event.key()).or_default() += 1;
            if let Some(id) = event.id.clone() {
                let contents = ids.entry(id).or_default();
                if !contents.contains(&event.key()) {
                    contents.push(event.key());
                }
            }
        }
        let repeated = keys.values().filter(|&&times| times > 1).count();
        let conflicts = ids.values().filter(|contents| contents.len() > 1).count();
        assert!((10..60).contains(&refused), "{refused} refused");
        assert!(anonymous > 300, "{anonymous} without an id");
        assert!((100..800).contains(&repeated), "{repeated} repeated");
        assert!((50..400).contains(&conflicts), "{conflicts} conflicts");
        assert_eq!(shortest, 1);
        assert!(longest > LONGEST / 2, "{longest}");
    }
}
