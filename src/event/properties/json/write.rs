//! Properties to JSON.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::wire;
use super::{FieldValue, MAX_DEPTH, Properties, identity};

/// The properties as JSON; `identity` leaves out what the broker changes.
pub(super) fn write(
    properties: &Properties,
    exchange: Option<&str>,
    routing_key: Option<&str>,
    identity: bool,
) -> String {
    write_behind(String::with_capacity(256), properties, exchange, routing_key, identity)
}

/// The same behind what is there already.
pub(super) fn write_behind(
    json: String,
    properties: &Properties,
    exchange: Option<&str>,
    routing_key: Option<&str>,
    identity: bool,
) -> String {
    let p = properties;
    let expiration =
        if identity { identity::published_expiration(p) } else { p.expiration.as_deref() };
    let mut out = Object { json, empty: true };
    out.json.push('{');

    out.text("app_id", p.app_id.as_deref());
    out.base64(&[
        ("app_id", p.app_id.as_deref()),
        ("cluster_id", p.cluster_id.as_deref()),
        ("content_encoding", p.content_encoding.as_deref()),
        ("content_type", p.content_type.as_deref()),
        ("correlation_id", p.correlation_id.as_deref()),
        ("exchange", exchange),
        ("expiration", expiration),
        ("message_id", p.message_id.as_deref()),
        ("reply_to", p.reply_to.as_deref()),
        ("routing_key", routing_key),
        ("type", p.message_type.as_deref()),
        ("user_id", p.user_id.as_deref()),
    ]);
    out.text("cluster_id", p.cluster_id.as_deref());
    out.text("content_encoding", p.content_encoding.as_deref());
    out.text("content_type", p.content_type.as_deref());
    out.text("correlation_id", p.correlation_id.as_deref());
    out.integer("delivery_mode", p.delivery_mode.map(u64::from));
    out.text("expiration", expiration);
    if let Some(headers) = &p.headers {
        out.headers(headers, identity);
    }
    out.text("message_id", p.message_id.as_deref());
    out.integer("priority", p.priority.map(u64::from));
    out.text("reply_to", p.reply_to.as_deref());
    out.integer("timestamp", p.timestamp);
    out.text("type", p.message_type.as_deref());
    out.text("user_id", p.user_id.as_deref());

    out.json.push('}');
    out.json
}

struct Object {
    json: String,
    empty: bool,
}

impl Object {
    fn key(&mut self, name: &str) {
        separate(&mut self.json, &mut self.empty);
        put_string(&mut self.json, name);
        self.json.push(':');
    }

    /// Text without U+0000; the rest is for [`Object::base64`].
    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.contains('\0')) {
            self.key(name);
            put_string(&mut self.json, text);
        }
    }

    fn integer(&mut self, name: &str, integer: Option<u64>) {
        if let Some(integer) = integer {
            self.key(name);
            put(&mut self.json, integer);
        }
    }

    fn base64(&mut self, texts: &[(&str, Option<&str>)]) {
        let mut empty = true;
        for (name, text) in texts {
            let Some(text) = text.filter(|text| text.contains('\0')) else {
                continue;
            };
            if empty {
                self.key("base64");
                self.json.push('{');
            }
            separate(&mut self.json, &mut empty);
            put_string(&mut self.json, name);
            self.json.push(':');
            put_base64(&mut self.json, text.as_bytes());
        }
        if !empty {
            self.json.push('}');
        }
    }

    fn headers(&mut self, headers: &BTreeMap<String, FieldValue>, identity: bool) {
        let mut values = Values { json: String::new(), types: Vec::new(), pointer: String::new() };
        let kept = headers.iter().filter(|(name, _)| !(identity && identity::is_bookkeeping(name)));
        // No table and an empty one are different, but the broker turns the one into the other by adding a
        // header of its own.
        if identity && kept.clone().next().is_none() {
            return;
        }
        if headers.keys().any(|name| name.contains('\0')) {
            values.typed("F");
            put_base64(&mut values.json, &wire::encode_table(kept));
        } else {
            values.table(kept, 0);
        }
        if !values.types.is_empty() {
            values.types.sort_unstable();
            self.key("header_types");
            self.json.push('{');
            let mut empty = true;
            for (pointer, tag) in &values.types {
                separate(&mut self.json, &mut empty);
                put_string(&mut self.json, pointer);
                self.json.push(':');
                put_string(&mut self.json, tag);
            }
            self.json.push('}');
        }
        self.key("headers");
        self.json.push_str(&values.json);
    }
}

/// Header values, their types, and where in `headers` the writing is.
struct Values {
    json: String,
    types: Vec<(String, &'static str)>,
    pointer: String,
}

impl Values {
    fn typed(&mut self, tag: &'static str) {
        self.types.push((self.pointer.clone(), tag));
    }

    fn plain(&mut self, value: impl Display) {
        put(&mut self.json, value);
    }

    fn number(&mut self, number: impl Display, tag: &'static str) {
        self.typed(tag);
        put(&mut self.json, number);
    }

    fn string(&mut self, text: &str, tag: &'static str) {
        self.typed(tag);
        put_string(&mut self.json, text);
    }

    fn base64(&mut self, bytes: &[u8], tag: &'static str) {
        self.typed(tag);
        put_base64(&mut self.json, bytes);
    }

    /// Recurses at most [`MAX_DEPTH`] deep.
    fn value(&mut self, value: &FieldValue, depth: usize) {
        match value {
            FieldValue::Bool(v) => self.plain(v),
            FieldValue::I8(v) => self.number(v, "b"),
            FieldValue::U8(v) => self.number(v, "B"),
            FieldValue::I16(v) => self.number(v, "s"),
            FieldValue::U16(v) => self.number(v, "u"),
            FieldValue::I32(v) => self.number(v, "I"),
            FieldValue::U32(v) => self.number(v, "i"),
            FieldValue::I64(v) => self.plain(v),
            FieldValue::Timestamp(v) => self.number(v, "T"),
            // `Debug` always writes a point or an exponent, and the shortest text that reads back.
            FieldValue::F32(v) if v.is_finite() => self.number(format_args!("{v:?}"), "f"),
            FieldValue::F64(v) if v.is_finite() => self.plain(format_args!("{v:?}")),
            FieldValue::F32(v) if v.is_nan() && v.to_bits() != f32::NAN.to_bits() => {
                self.string(&format!("NaN:{:08x}", v.to_bits()), "f");
            }
            FieldValue::F64(v) if v.is_nan() && v.to_bits() != f64::NAN.to_bits() => {
                self.string(&format!("NaN:{:016x}", v.to_bits()), "d");
            }
            FieldValue::F32(v) => self.string(&v.to_string(), "f"),
            FieldValue::F64(v) => self.string(&v.to_string(), "d"),
            FieldValue::Decimal { scale, value } => self.number(decimal(*scale, *value), "D"),
            FieldValue::String(v) if v.contains('\0') => self.base64(v.as_bytes(), "S"),
            FieldValue::String(v) => put_string(&mut self.json, v),
            FieldValue::Bytes(v) => self.base64(v, "x"),
            FieldValue::Void => self.plain("null"),
            FieldValue::Array(_) if depth == MAX_DEPTH => self.base64(&wire::encode(value), "A"),
            FieldValue::Array(items) => self.array(items, depth),
            FieldValue::Table(entries)
                if depth == MAX_DEPTH || entries.keys().any(|key| key.contains('\0')) =>
            {
                self.base64(&wire::encode(value), "F");
            }
            FieldValue::Table(entries) => self.table(entries.iter(), depth),
        }
    }

    fn array(&mut self, items: &[FieldValue], depth: usize) {
        let here = self.pointer.len();
        let mut empty = true;
        self.json.push('[');
        for (index, item) in items.iter().enumerate() {
            separate(&mut self.json, &mut empty);
            put(&mut self.pointer, format_args!("/{index}"));
            self.value(item, depth + 1);
            self.pointer.truncate(here);
        }
        self.json.push(']');
    }

    fn table<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a String, &'a FieldValue)>,
        depth: usize,
    ) {
        let here = self.pointer.len();
        let mut empty = true;
        self.json.push('{');
        for (key, value) in entries {
            separate(&mut self.json, &mut empty);
            put_string(&mut self.json, key);
            self.json.push(':');
            self.pointer.push('/');
            for char in key.chars() {
                match char {
                    '~' => self.pointer.push_str("~0"),
                    '/' => self.pointer.push_str("~1"),
                    char => self.pointer.push(char),
                }
            }
            self.value(value, depth + 1);
            self.pointer.truncate(here);
        }
        self.json.push('}');
    }
}

/// `value / 10^scale`, exactly, with `scale` decimals.
fn decimal(scale: u8, value: i32) -> String {
    let scale = usize::from(scale);
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    match digits.split_at(digits.len() - scale) {
        (whole, "") => format!("{sign}{whole}"),
        (whole, decimals) => format!("{sign}{whole}.{decimals}"),
    }
}

/// A comma before every element but the first.
fn separate(out: &mut String, empty: &mut bool) {
    if !*empty {
        out.push(',');
    }
    *empty = false;
}

fn put(out: &mut String, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

fn put_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// A JSON string; `text` is free of U+0000, so that no `\u0000` is ever written.
fn put_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..index]);
        plain = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => put(out, format_args!("\\u{byte:04x}")),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}
