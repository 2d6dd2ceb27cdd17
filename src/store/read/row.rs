//! A row as PostgreSQL sent it, in binary: nothing is copied before somebody writes it.

use sqlx::{Row as _, ValueRef as _, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Column;
use crate::store::Fault;

/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH: i128 = 946_684_800_000_000;

/// An event as it was read.
#[derive(Debug)]
pub struct Row(pub(super) PgRow);

/// A value of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// A time, in UTC.
    Time(OffsetDateTime),
    /// A uuid.
    Uuid(Uuid),
    /// A text.
    Text(&'a str),
    /// Several texts.
    Texts(Texts<'a>),
    /// JSON, as it was written.
    Json(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl Row {
    /// The value in that column; none where it is null. Of columns that were not asked for too: see
    /// [`Selection`](super::Selection).
    ///
    /// # Errors
    /// The server sent something else than that column.
    pub fn value(&self, column: Column) -> Result<Option<Value<'_>>, Fault> {
        let Some(bytes) = (match column {
            Column::Id => match self.bytes(Column::EventId)? {
                Some(id) => return uuid(id).map(Some),
                None => self.bytes(Column::EventKey)?,
            },
            _ => self.bytes(column)?,
        }) else {
            return Ok(None);
        };
        Ok(Some(match column {
            Column::Seq | Column::BodyBytes => Value::Number(i64::from_be_bytes(exactly(bytes)?)),
            Column::ReceivedAt | Column::EventTime | Column::OriginalAt => {
                time(i64::from_be_bytes(exactly(bytes)?))
            }
            Column::EventId | Column::Replay => uuid(bytes)?,
            Column::Redelivered | Column::Conflict | Column::Malformed => Value::Flag(bytes != [0]),
            Column::Id
            | Column::EventKey
            | Column::EventType
            | Column::Source
            | Column::Exchange
            | Column::RoutingKey => Value::Text(text(bytes)?),
            Column::CorrelationIds | Column::Defects => Value::Texts(Texts::of(bytes)?),
            Column::Properties | Column::Payload => Value::Json(text(bytes)?),
            Column::Body | Column::ConflictDigest => Value::Bytes(bytes),
        }))
    }

    fn bytes(&self, column: Column) -> Result<Option<&[u8]>, Fault> {
        // The statements name the columns in this order, `id` aside, which is made here; those of replays only where replays
        // are asked for.
        let index = column as usize - usize::from(column as usize > Column::Id as usize);
        if column.is_of_replays() && index >= self.0.len() {
            return Ok(None);
        }
        let value = self.0.try_get_raw(index)?;
        if value.is_null() {
            Ok(None)
        } else {
            value.as_bytes().map(Some).map_err(|_| unexpected())
        }
    }
}

/// An array of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts<'a> {
    rest: &'a [u8],
}

impl<'a> Texts<'a> {
    /// An array in binary: dimensions, flags, type, then of the only dimension its length and lower bound.
    fn of(bytes: &'a [u8]) -> Result<Texts<'a>, Fault> {
        let (dimensions, rest) = number(bytes)?;
        if dimensions == 0 {
            return Ok(Texts { rest: &[] });
        }
        let (count, rest) = number(rest.get(8..).ok_or_else(unexpected)?)?;
        let texts = Texts { rest: rest.get(4..).ok_or_else(unexpected)? };
        if dimensions != 1 || i32::try_from(texts.iter().count()) != Ok(count) {
            return Err(unexpected());
        }
        Ok(texts)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let (length, after) = number(rest).ok()?;
            let text = after.get(..usize::try_from(length).ok()?)?;
            rest = &after[text.len()..];
            std::str::from_utf8(text).ok()
        })
    }
}

fn number(bytes: &[u8]) -> Result<(i32, &[u8]), Fault> {
    let (number, rest) = bytes.split_first_chunk().ok_or_else(unexpected)?;
    Ok((i32::from_be_bytes(*number), rest))
}

fn time(microseconds: i64) -> Value<'static> {
    match microseconds {
        i64::MAX => Value::Text("infinity"),
        i64::MIN => Value::Text("-infinity"),
        since_2000 => {
            match OffsetDateTime::from_unix_timestamp_nanos((i128::from(since_2000) + EPOCH) * 1000)
            {
                Ok(time) => Value::Time(time),
                Err(_) => Value::Text("beyond the year 9999"),
            }
        }
    }
}

fn uuid(bytes: &[u8]) -> Result<Value<'_>, Fault> {
    Ok(Value::Uuid(Uuid::from_bytes(exactly(bytes)?)))
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| unexpected())
}

fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| unexpected())
}

fn unexpected() -> Fault {
    Fault::misconfigured(
        "a column of audit.events is of another type than this program knows; run `bloodbank-audit migrate`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_postgres_sends_them() {
        let mut bytes = Vec::new();
        for number in [1_i32, 0, 25, 2, 1, 1] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.push(b'a');
        bytes.extend(2_i32.to_be_bytes());
        bytes.extend("ü".as_bytes());
        let texts = Texts::of(&bytes).unwrap();
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["a", "ü"]);
        assert_eq!(Texts::of(&[0; 12]).unwrap().iter().count(), 0);
        for cut in [0, 3, 8, 21, bytes.len() - 1] {
            assert!(Texts::of(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn times_begin_in_2000() {
        let Value::Time(found) = time(0) else { panic!("no time") };
        assert_eq!(found, ::time::macros::datetime!(2000-01-01 00:00 UTC));
    }
}
