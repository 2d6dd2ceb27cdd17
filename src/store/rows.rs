//! Events as columns: one array a column, which PostgreSQL unnests into rows.
//!
//! One statement with arrays takes one round trip, at 10 rows as at 10,000.

use std::borrow::Cow;

use sqlx::{Postgres, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::dedupe::ContentDigest;
use crate::event::{BodyForm, Event, EventId, column_text};

/// Inserts the rows bound by [`Rows::bind`]: `$1` is the first row's seq, `$2` … `$18` are the columns.
///
/// A macro, so that the statement can be a part of a longer one and still be one constant text.
macro_rules! insert_events {
    () => {
        "insert into audit.events (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_key,
             event_type, source, exchange, routing_key, correlation_ids, defects, properties, payload, body,
             conflict_digest)
         select $1 + e.ordinal - 1, e.received_at, e.event_time, e.event_id, e.redelivered, e.conflict, e.malformed,
                e.event_key, e.event_type, e.source, e.exchange, e.routing_key, e.correlation_ids::text[],
                e.defects::text[], e.properties::json, e.payload::json, e.body, e.conflict_digest
           from unnest($2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::bool[], $6::bool[], $7::bool[], $8::text[],
                       $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                       $16::text[], $17::bytea[], $18::bytea[])
                with ordinality
             as e (received_at, event_time, event_id, redelivered, conflict, malformed, event_key, event_type, source,
                   exchange, routing_key, correlation_ids, defects, properties, payload, body, conflict_digest, ordinal)"
    };
}
pub(super) use insert_events;

/// The columns of some events, ready to be bound.
#[derive(Default)]
pub(super) struct Rows<'a> {
    received_at: Vec<OffsetDateTime>,
    event_time: Vec<Option<OffsetDateTime>>,
    event_id: Vec<Option<Uuid>>,
    redelivered: Vec<bool>,
    conflict: Vec<bool>,
    malformed: Vec<bool>,
    event_key: Vec<Option<&'a str>>,
    event_type: Vec<Option<&'a str>>,
    source: Vec<Option<&'a str>>,
    exchange: Vec<Cow<'a, str>>,
    routing_key: Vec<Cow<'a, str>>,
    correlation_ids: Vec<String>,
    defects: Vec<Option<String>>,
    properties: Vec<String>,
    payload: Vec<Option<&'a str>>,
    body: Vec<Option<&'a [u8]>>,
    conflict_digest: Vec<Option<ContentDigest>>,
    body_bytes: i64,
}

impl<'a> Rows<'a> {
    /// Adds an event; with the digest of its content where it is a conflict.
    pub fn push(&mut self, event: &'a Event, conflict: Option<ContentDigest>) {
        let delivery = &event.delivery;
        let (id, key) = id_columns(event);
        // Bytes that are not UTF-8 never come with BodyForm::Json; if they did, they would still be kept, as bytes.
        let text = match event.body_form {
            BodyForm::Json => str::from_utf8(&delivery.body).ok(),
            BodyForm::Bytes => None,
        };
        self.received_at.push(delivery.received_at);
        self.event_time.push(event.event_time);
        self.event_id.push(id);
        self.redelivered.push(delivery.redelivered);
        self.conflict.push(conflict.is_some());
        self.malformed.push(event.malformed);
        self.event_key.push(key);
        self.event_type.push(event.event_type.as_deref());
        self.source.push(event.source.as_deref());
        self.exchange.push(column_text(&delivery.exchange));
        self.routing_key.push(column_text(&delivery.routing_key));
        self.correlation_ids.push(array_literal(event.correlation_ids.iter().map(String::as_str)));
        self.defects.push(match event.defects.is_empty() {
            true => None,
            false => Some(array_literal(event.defects.iter().map(|defect| defect.as_str()))),
        });
        self.properties.push(delivery.properties_json());
        self.payload.push(text);
        self.body.push(text.is_none().then_some(delivery.body.as_slice()));
        self.conflict_digest.push(conflict);
        self.body_bytes += whole(delivery.body.len());
    }

    /// Has all of them received at that time, as the partition of another time may not be there.
    pub fn all_received_at(&mut self, at: OffsetDateTime) {
        self.received_at.fill(at);
    }

    pub fn len(&self) -> usize {
        self.received_at.len()
    }

    /// How many of them are conflicts.
    pub fn conflicts(&self) -> usize {
        self.conflict_digest.iter().flatten().count()
    }

    /// Bytes of the bodies.
    pub fn body_bytes(&self) -> i64 {
        self.body_bytes
    }

    /// Binds `$1` … `$18` of [`insert_events!`].
    pub fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
        first_seq: i64,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(first_seq)
            .bind(&self.received_at)
            .bind(&self.event_time)
            .bind(&self.event_id)
            .bind(&self.redelivered)
            .bind(&self.conflict)
            .bind(&self.malformed)
            .bind(&self.event_key)
            .bind(&self.event_type)
            .bind(&self.source)
            .bind(&self.exchange)
            .bind(&self.routing_key)
            .bind(&self.correlation_ids)
            .bind(&self.defects)
            .bind(&self.properties)
            .bind(&self.payload)
            .bind(&self.body)
            .bind(&self.conflict_digest)
    }
}

/// The event's id as the columns `event_id` and `event_key` hold it.
pub(super) fn id_columns(event: &Event) -> (Option<Uuid>, Option<&str>) {
    match &event.id {
        Some(EventId::Uuid(id)) => (Some(*id), None),
        Some(EventId::Text(key)) => (None, Some(key)),
        None => (None, None),
    }
}

/// A length as PostgreSQL counts.
pub(super) fn whole(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Text that PostgreSQL reads as an array of these texts. Arrays of arrays cannot be bound: unnest flattens them.
fn array_literal<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut literal = String::from("{");
    for (position, item) in items.enumerate() {
        if position > 0 {
            literal.push(',');
        }
        literal.push('"');
        for character in item.chars() {
            if matches!(character, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(character);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use super::array_literal;

    #[test]
    fn array_literals_quote_what_postgres_would_read() {
        assert_eq!(array_literal([].into_iter()), "{}");
        assert_eq!(array_literal(["a", "", "NULL"].into_iter()), r#"{"a","","NULL"}"#);
        assert_eq!(array_literal([r#"q"uo\te"#, "{,}"].into_iter()), r#"{"q\"uo\\te","{,}"}"#);
    }
}
