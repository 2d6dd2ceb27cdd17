//! Properties from JSON.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::super::wire;
use super::{FieldValue, MAX_DEPTH, Properties, RecordedProperties};

/// Recorded properties that do not read back.
#[derive(Debug, Error)]
pub enum InvalidProperties {
    /// Not JSON, or not the members that properties have.
    #[error("recorded properties: {0}")]
    Shape(#[from] serde_json::Error),
    /// A header's value is not of the type that `header_types` gives it.
    #[error("recorded properties: the header at {pointer:?} is no AMQP value of type {tag:?}")]
    Header {
        /// JSON pointer into `headers`.
        pointer: String,
        /// The AMQP tag it should have.
        tag: String,
    },
    /// Not the base64 of a text, or of a property that does not exist.
    #[error("recorded properties: the base64 of {0:?} does not read back")]
    Base64(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    app_id: Option<String>,
    #[serde(default)]
    base64: BTreeMap<String, String>,
    cluster_id: Option<String>,
    content_encoding: Option<String>,
    content_type: Option<String>,
    correlation_id: Option<String>,
    delivery_mode: Option<u8>,
    expiration: Option<String>,
    #[serde(default)]
    header_types: BTreeMap<String, String>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    message_id: Option<String>,
    priority: Option<u8>,
    reply_to: Option<String>,
    timestamp: Option<u64>,
    r#type: Option<String>,
    user_id: Option<String>,
}

pub(super) fn read(json: &str) -> Result<RecordedProperties, InvalidProperties> {
    let members: Members<'_> = serde_json::from_str(json)?;
    let headers = match members.headers {
        None => None,
        Some(raw) => {
            let mut values = Values { types: members.header_types, pointer: String::new() };
            match values.value(raw, 0)? {
                FieldValue::Table(headers) => Some(headers),
                _ => return Err(values.wrong("F")),
            }
        }
    };
    let mut recorded = RecordedProperties {
        properties: Properties {
            content_type: members.content_type,
            content_encoding: members.content_encoding,
            headers,
            delivery_mode: members.delivery_mode,
            priority: members.priority,
            correlation_id: members.correlation_id,
            reply_to: members.reply_to,
            expiration: members.expiration,
            message_id: members.message_id,
            timestamp: members.timestamp,
            message_type: members.r#type,
            user_id: members.user_id,
            app_id: members.app_id,
            cluster_id: members.cluster_id,
        },
        exchange: None,
        routing_key: None,
    };
    for (name, base64) in members.base64 {
        let text = STANDARD.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match (place(&mut recorded, &name), text) {
            (Some(place), Some(text)) => *place = Some(text),
            _ => return Err(InvalidProperties::Base64(name)),
        }
    }
    Ok(recorded)
}

/// Where a text of that name belongs.
fn place<'a>(recorded: &'a mut RecordedProperties, name: &str) -> Option<&'a mut Option<String>> {
    let properties = &mut recorded.properties;
    Some(match name {
        "app_id" => &mut properties.app_id,
        "cluster_id" => &mut properties.cluster_id,
        "content_encoding" => &mut properties.content_encoding,
        "content_type" => &mut properties.content_type,
        "correlation_id" => &mut properties.correlation_id,
        "exchange" => &mut recorded.exchange,
        "expiration" => &mut properties.expiration,
        "message_id" => &mut properties.message_id,
        "reply_to" => &mut properties.reply_to,
        "routing_key" => &mut recorded.routing_key,
        "type" => &mut properties.message_type,
        "user_id" => &mut properties.user_id,
        _ => return None,
    })
}

struct Values {
    types: BTreeMap<String, String>,
    pointer: String,
}

impl Values {
    fn wrong(&self, tag: &str) -> InvalidProperties {
        InvalidProperties::Header { pointer: self.pointer.clone(), tag: tag.to_owned() }
    }

    /// Recurses at most [`MAX_DEPTH`] deep: nothing deeper is ever written as JSON.
    fn value(&mut self, raw: &RawValue, depth: usize) -> Result<FieldValue, InvalidProperties> {
        let json = raw.get();
        if let Some(tag) = self.types.get(&self.pointer) {
            return typed(tag, json).ok_or_else(|| self.wrong(tag));
        }
        match json.as_bytes().first() {
            Some(b'[') if depth < MAX_DEPTH => self.array(json, depth),
            Some(b'{') if depth < MAX_DEPTH => self.table(json, depth),
            Some(b'[') => Err(self.wrong("A")),
            Some(b'{') => Err(self.wrong("F")),
            Some(b'"') => Ok(FieldValue::String(serde_json::from_str(json)?)),
            Some(b't') => Ok(FieldValue::Bool(true)),
            Some(b'f') => Ok(FieldValue::Bool(false)),
            Some(b'n') => Ok(FieldValue::Void),
            _ if json.contains(['.', 'e', 'E']) => {
                json.parse().map(FieldValue::F64).map_err(|_| self.wrong("d"))
            }
            _ => json.parse().map(FieldValue::I64).map_err(|_| self.wrong("l")),
        }
    }

    fn array(&mut self, json: &str, depth: usize) -> Result<FieldValue, InvalidProperties> {
        let here = self.pointer.len();
        let mut items = Vec::new();
        for (index, raw) in serde_json::from_str::<Vec<&RawValue>>(json)?.into_iter().enumerate() {
            self.pointer.push('/');
            self.pointer.push_str(&index.to_string());
            items.push(self.value(raw, depth + 1)?);
            self.pointer.truncate(here);
        }
        Ok(FieldValue::Array(items))
    }

    fn table(&mut self, json: &str, depth: usize) -> Result<FieldValue, InvalidProperties> {
        let here = self.pointer.len();
        let mut entries = BTreeMap::new();
        for (key, raw) in serde_json::from_str::<BTreeMap<String, &RawValue>>(json)? {
            self.pointer.push('/');
            self.pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            let value = self.value(raw, depth + 1)?;
            entries.insert(key, value);
            self.pointer.truncate(here);
        }
        Ok(FieldValue::Table(entries))
    }
}

/// The value that `json` writes under an explicit tag.
fn typed(tag: &str, json: &str) -> Option<FieldValue> {
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).ok()?;
        return match tag {
            "f" => special(&text, |bits| Some(f32::from_bits(u32::from_str_radix(bits, 16).ok()?)))
                .map(FieldValue::F32),
            "d" => special(&text, |bits| Some(f64::from_bits(u64::from_str_radix(bits, 16).ok()?)))
                .map(FieldValue::F64),
            "S" => String::from_utf8(STANDARD.decode(text).ok()?).ok().map(FieldValue::String),
            "x" => STANDARD.decode(text).ok().map(FieldValue::Bytes),
            "A" => wire::decode(b'A', &STANDARD.decode(text).ok()?),
            "F" => wire::decode(b'F', &STANDARD.decode(text).ok()?),
            _ => None,
        };
    }
    match tag {
        "b" => json.parse().ok().map(FieldValue::I8),
        "B" => json.parse().ok().map(FieldValue::U8),
        "s" => json.parse().ok().map(FieldValue::I16),
        "u" => json.parse().ok().map(FieldValue::U16),
        "I" => json.parse().ok().map(FieldValue::I32),
        "i" => json.parse().ok().map(FieldValue::U32),
        "T" => json.parse().ok().map(FieldValue::Timestamp),
        "f" => json.parse().ok().map(FieldValue::F32),
        "D" => decimal(json),
        _ => None,
    }
}

/// A float that JSON has no number for.
fn special<F: FromStr>(text: &str, from_bits: impl Fn(&str) -> Option<F>) -> Option<F> {
    match text.strip_prefix("NaN:") {
        Some(bits) => from_bits(bits),
        None => text.parse().ok(),
    }
}

fn decimal(json: &str) -> Option<FieldValue> {
    let (whole, decimals) = json.split_once('.').unwrap_or((json, ""));
    let scale = u8::try_from(decimals.len()).ok()?;
    let value = format!("{whole}{decimals}").parse().ok()?;
    Some(FieldValue::Decimal { scale, value })
}
