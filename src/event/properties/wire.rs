//! Tables and arrays in the encoding they have on the wire, for what JSON cannot hold.
//!
//! Nothing here recurses: a header table may nest as deep as a frame is long.

use std::collections::{BTreeMap, btree_map};
use std::slice;

use super::FieldValue;

/// A container in the middle of being written: where its length goes, and what is left of it.
enum Writing<'a> {
    Array(slice::Iter<'a, FieldValue>),
    Table(btree_map::Iter<'a, String, FieldValue>),
}

/// The AMQP encoding of `value`, without its tag. Keys end at 255 bytes, as they do on the wire.
pub(super) fn encode(value: &FieldValue) -> Vec<u8> {
    let mut out = Vec::new();
    let mut open: Vec<(usize, Writing<'_>)> = Vec::new();
    encode_one(value, &mut out, &mut open);
    while let Some((start, rest)) = open.last_mut() {
        let next = match rest {
            Writing::Array(items) => items.next(),
            Writing::Table(entries) => entries.next().map(|(key, value)| {
                put_key(&mut out, key);
                value
            }),
        };
        if let Some(value) = next {
            out.push(tag(value));
            encode_one(value, &mut out, &mut open);
        } else {
            let length = out.len() - *start;
            put_length(&mut out, *start - 4, length);
            open.pop();
        }
    }
    out
}

/// The AMQP encoding of a table of these entries, as [`encode`] does it.
pub(super) fn encode_table<'a>(
    entries: impl Iterator<Item = (&'a String, &'a FieldValue)>,
) -> Vec<u8> {
    let mut out = vec![0; 4];
    for (key, value) in entries {
        put_key(&mut out, key);
        out.push(tag(value));
        out.extend(encode(value));
    }
    let length = out.len() - 4;
    put_length(&mut out, 0, length);
    out
}

fn put_key(out: &mut Vec<u8>, key: &str) {
    let key = &key[..key.floor_char_boundary(usize::from(u8::MAX))];
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(key.as_bytes());
}

fn encode_one<'a>(value: &'a FieldValue, out: &mut Vec<u8>, open: &mut Vec<(usize, Writing<'a>)>) {
    match value {
        FieldValue::Bool(v) => out.push(u8::from(*v)),
        FieldValue::I8(v) => out.extend(v.to_be_bytes()),
        FieldValue::U8(v) => out.push(*v),
        FieldValue::I16(v) => out.extend(v.to_be_bytes()),
        FieldValue::U16(v) => out.extend(v.to_be_bytes()),
        FieldValue::I32(v) => out.extend(v.to_be_bytes()),
        FieldValue::U32(v) => out.extend(v.to_be_bytes()),
        FieldValue::I64(v) => out.extend(v.to_be_bytes()),
        FieldValue::F32(v) => out.extend(v.to_be_bytes()),
        FieldValue::F64(v) => out.extend(v.to_be_bytes()),
        FieldValue::Decimal { scale, value } => {
            out.push(*scale);
            out.extend(value.to_be_bytes());
        }
        FieldValue::String(v) => put_bytes(out, v.as_bytes()),
        FieldValue::Bytes(v) => put_bytes(out, v),
        FieldValue::Timestamp(v) => out.extend(v.to_be_bytes()),
        FieldValue::Void => {}
        FieldValue::Array(items) => {
            out.extend([0; 4]);
            open.push((out.len(), Writing::Array(items.iter())));
        }
        FieldValue::Table(entries) => {
            out.extend([0; 4]);
            open.push((out.len(), Writing::Table(entries.iter())));
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let at = out.len();
    out.extend([0; 4]);
    put_length(out, at, bytes.len());
    out.extend_from_slice(bytes);
}

/// A length that a frame could not carry cannot have come from one.
fn put_length(out: &mut [u8], at: usize, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// The tag a value has on the wire.
fn tag(value: &FieldValue) -> u8 {
    match value {
        FieldValue::Bool(_) => b't',
        FieldValue::I8(_) => b'b',
        FieldValue::U8(_) => b'B',
        FieldValue::I16(_) => b's',
        FieldValue::U16(_) => b'u',
        FieldValue::I32(_) => b'I',
        FieldValue::U32(_) => b'i',
        FieldValue::I64(_) => b'l',
        FieldValue::F32(_) => b'f',
        FieldValue::F64(_) => b'd',
        FieldValue::Decimal { .. } => b'D',
        FieldValue::String(_) => b'S',
        FieldValue::Array(_) => b'A',
        FieldValue::Timestamp(_) => b'T',
        FieldValue::Table(_) => b'F',
        FieldValue::Void => b'V',
        FieldValue::Bytes(_) => b'x',
    }
}

/// A container in the middle of being read: where it ends, and what it holds so far.
struct Reading {
    end: usize,
    into: Container,
}

enum Container {
    Array(Vec<FieldValue>),
    Table(BTreeMap<String, FieldValue>, String),
}

/// Reads what [`encode`] wrote for a table (tag `F`) or an array (tag `A`); `None` if it is anything else.
pub(super) fn decode(tag: u8, bytes: &[u8]) -> Option<FieldValue> {
    let mut input = Input { bytes, at: 0 };
    let mut open = vec![input.open(tag, bytes.len())?];
    loop {
        let top = open.last_mut()?;
        let done = if input.at == top.end {
            let closed = open.pop()?;
            match closed.into {
                Container::Array(items) => FieldValue::Array(items),
                Container::Table(entries, _) => FieldValue::Table(entries),
            }
        } else {
            let end = top.end;
            if let Container::Table(_, key) = &mut top.into {
                let length = input.take::<1>()?[0];
                *key = input.text(usize::from(length))?;
            }
            let [tag] = input.take()?;
            if matches!(tag, b'A' | b'F') {
                open.push(input.open(tag, end)?);
                continue;
            }
            let value = input.scalar(tag)?;
            if input.at > end {
                return None;
            }
            value
        };
        match open.last_mut() {
            Some(Reading { into: Container::Array(items), .. }) => items.push(done),
            Some(Reading { into: Container::Table(entries, key), .. }) => {
                entries.insert(std::mem::take(key), done);
            }
            None => return (input.at == bytes.len()).then_some(done),
        }
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    fn slice(&mut self, length: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(length)?;
        let slice = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(slice)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        Some(std::str::from_utf8(self.slice(length)?).ok()?.to_owned())
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.take()?)).ok()
    }

    /// Enters a container that must end by `limit`.
    fn open(&mut self, tag: u8, limit: usize) -> Option<Reading> {
        let length = self.length()?;
        let end = self.at.checked_add(length).filter(|end| *end <= limit)?;
        let into = match tag {
            b'A' => Container::Array(Vec::new()),
            b'F' => Container::Table(BTreeMap::new(), String::new()),
            _ => return None,
        };
        Some(Reading { end, into })
    }

    fn scalar(&mut self, tag: u8) -> Option<FieldValue> {
        Some(match tag {
            b't' => FieldValue::Bool(self.take::<1>()?[0] != 0),
            b'b' => FieldValue::I8(i8::from_be_bytes(self.take()?)),
            b'B' => FieldValue::U8(u8::from_be_bytes(self.take()?)),
            b's' => FieldValue::I16(i16::from_be_bytes(self.take()?)),
            b'u' => FieldValue::U16(u16::from_be_bytes(self.take()?)),
            b'I' => FieldValue::I32(i32::from_be_bytes(self.take()?)),
            b'i' => FieldValue::U32(u32::from_be_bytes(self.take()?)),
            b'l' => FieldValue::I64(i64::from_be_bytes(self.take()?)),
            b'f' => FieldValue::F32(f32::from_be_bytes(self.take()?)),
            b'd' => FieldValue::F64(f64::from_be_bytes(self.take()?)),
            b'D' => {
                let [scale] = self.take()?;
                FieldValue::Decimal { scale, value: i32::from_be_bytes(self.take()?) }
            }
            b'S' => {
                let length = self.length()?;
                FieldValue::String(self.text(length)?)
            }
            b'T' => FieldValue::Timestamp(u64::from_be_bytes(self.take()?)),
            b'V' => FieldValue::Void,
            b'x' => {
                let length = self.length()?;
                FieldValue::Bytes(self.slice(length)?.to_vec())
            }
            _ => return None,
        })
    }
}
