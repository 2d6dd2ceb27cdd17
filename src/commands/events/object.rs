//! Events as JSON objects, a line each, or as one array.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD, write::EncoderWriter};
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::{
    commands::{
        json,
        terminal::{Look, json_safe},
    },
    store::{Column, Fault, Row, Value},
};

/// Writes events as objects.
pub struct Objects {
    columns: Vec<Column>,
    /// Whether they are elements of an array, indented; lines otherwise.
    array: bool,
    first: bool,
    terminal: bool,
    line: Vec<u8>,
}

impl Objects {
    pub fn lines(columns: Vec<Column>, look: Look) -> Objects {
        Objects { columns, array: false, first: true, terminal: look.terminal, line: Vec::new() }
    }

    pub fn array(columns: Vec<Column>, look: Look) -> Objects {
        Objects { array: true, ..Objects::lines(columns, look) }
    }

    pub fn row(&mut self, out: &mut impl Write, row: &Row) -> anyhow::Result<()> {
        let start: &[u8] = match (self.array, self.first) {
            (false, _) => b"",
            (true, true) => b"[\n  ",
            (true, false) => b",\n  ",
        };
        out.write_all(start)?;
        self.first = false;
        self.line.clear();
        object(&mut self.line, row, &self.columns, !self.array)?;
        if !self.array {
            self.line.push(b'\n');
        }
        if self.array || self.terminal {
            let mut text = String::from_utf8_lossy(&self.line);
            if self.array {
                text = json::indented(&text, 1).into();
            }
            let text = if self.terminal { json_safe(&text) } else { text.as_ref().into() };
            out.write_all(text.as_bytes())?;
        } else {
            out.write_all(&self.line)?;
        }
        // One large body must not cost its memory for ever.
        self.line.shrink_to(1 << 20);
        Ok(())
    }

    pub fn end(self, out: &mut impl Write) -> anyhow::Result<()> {
        match (self.array, self.first) {
            (false, _) => {}
            (true, true) => out.write_all(b"[]\n")?,
            (true, false) => out.write_all(b"\n]\n")?,
        }
        Ok(())
    }
}

/// Writes these columns of an event as an object: nulls are left out; the body is last, as one of `payload`, `body` and
/// `body_base64`. On one line, JSON that has line breaks is text.
///
/// # Errors
/// Those of `out`, or of the row.
pub fn object(
    out: &mut Vec<u8>,
    row: &Row,
    columns: &[Column],
    one_line: bool,
) -> anyhow::Result<()> {
    out.push(b'{');
    let mut body = false;
    let mut first = true;
    for &column in columns {
        if matches!(column, Column::Payload | Column::Body) {
            body = true;
            continue;
        }
        if let Some(value) = row.value(column)? {
            member(out, &mut first, column.name());
            self::value(out, value)?;
        }
    }
    if body {
        self::body(out, &mut first, row, one_line)?;
    }
    out.push(b'}');
    Ok(())
}

fn member(out: &mut Vec<u8>, first: &mut bool, name: &str) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn body(out: &mut Vec<u8>, first: &mut bool, row: &Row, one_line: bool) -> anyhow::Result<()> {
    let breaks = |json: &str| one_line && json.bytes().any(|byte| matches!(byte, b'\n' | b'\r'));
    match body_of(row)? {
        Some(Value::Json(payload)) if !breaks(payload) => {
            member(out, first, "payload");
            out.extend_from_slice(payload.as_bytes());
        }
        Some(Value::Json(text)) => {
            member(out, first, "body");
            json::string(out, text)?;
        }
        Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => {
                member(out, first, "body");
                json::string(out, text)?;
            }
            Err(_) => {
                member(out, first, "body_base64");
                out.push(b'"');
                EncoderWriter::new(&mut *out, &STANDARD).write_all(bytes)?;
                out.push(b'"');
            }
        },
        _ => {}
    }
    Ok(())
}

/// The body, whichever column holds it.
pub fn body_of(row: &Row) -> Result<Option<Value<'_>>, Fault> {
    match row.value(Column::Payload)? {
        Some(payload) => Ok(Some(payload)),
        None => row.value(Column::Body),
    }
}

fn value(out: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Number(number) => write!(out, "{number}"),
        Value::Flag(true) => out.write_all(b"true"),
        Value::Flag(false) => out.write_all(b"false"),
        Value::Time(time) => {
            out.push(b'"');
            timestamp(out, time, b'T', 6);
            out.extend_from_slice(b"Z\"");
            Ok(())
        }
        Value::Uuid(uuid) => {
            out.push(b'"');
            hyphenated(out, uuid);
            out.push(b'"');
            Ok(())
        }
        Value::Text(text) => json::string(out, text),
        Value::Texts(texts) => {
            out.push(b'[');
            for (n, text) in texts.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                json::string(out, text)?;
            }
            out.push(b']');
            Ok(())
        }
        // A line break in valid JSON means nothing.
        Value::Json(json) => {
            let space = |byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
            out.extend(json.bytes().map(space));
            Ok(())
        }
        Value::Bytes(bytes) => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
            Ok(())
        }
    }
}

/// Writes a uuid in its usual form.
pub fn hyphenated(out: &mut Vec<u8>, uuid: Uuid) {
    let mut text = Uuid::encode_buffer();
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
}

/// A time in UTC with so many decimals of a second, for people and for machines: `2026-11-23T12:34:56.123Z`.
#[must_use]
pub fn written(time: OffsetDateTime, decimals: usize) -> String {
    let mut out = Vec::new();
    timestamp(&mut out, time.to_offset(UtcOffset::UTC), b'T', decimals);
    out.push(b'Z');
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes a time in UTC with so many decimals of a second, at most six: `2026-11-23T12:34:56.123456`.
pub fn timestamp(out: &mut Vec<u8>, time: OffsetDateTime, between: u8, decimals: usize) {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, micro) = time.to_hms_micro();
    if year < 0 {
        out.push(b'-');
    }
    digits(out, year.unsigned_abs(), 4);
    out.push(b'-');
    digits(out, u32::from(u8::from(month)), 2);
    out.push(b'-');
    digits(out, u32::from(day), 2);
    out.push(between);
    digits(out, u32::from(hour), 2);
    out.push(b':');
    digits(out, u32::from(minute), 2);
    out.push(b':');
    digits(out, u32::from(second), 2);
    if decimals > 0 {
        out.push(b'.');
        let end = out.len() + decimals;
        digits(out, micro, 6);
        out.truncate(end);
    }
}

fn digits(out: &mut Vec<u8>, number: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = number;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_have_as_many_decimals_as_wanted() {
        let written = |decimals| {
            let mut out = Vec::new();
            timestamp(&mut out, datetime!(0006-01-02 03:04:05.000678 UTC), b' ', decimals);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(6), "0006-01-02 03:04:05.000678");
        assert_eq!(written(3), "0006-01-02 03:04:05.000");
        assert_eq!(written(0), "0006-01-02 03:04:05");
    }
}
