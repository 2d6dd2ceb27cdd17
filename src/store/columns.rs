//! Rows as columns: one array a column, which PostgreSQL unnests into rows.
//!
//! One statement with arrays takes one round trip, whatever the number of rows.

use sqlx::{Postgres, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::dedupe::ContentDigest;
use crate::ledger::EventRow;

/// The columns that are bound, in their order behind `seq`.
macro_rules! insert_into_events {
    () => {
        "insert into audit.events (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_key,
             event_type, source, exchange, routing_key, correlation_ids, defects, properties, payload, body,
             conflict_digest) "
    };
}
pub(super) use insert_into_events;

/// Inserts the rows bound by [`Columns::bind`]: `$1` is the first row's seq, `$2` … `$18` are the columns.
///
/// A macro, so that the statement can be a part of a longer one and still be one constant text.
macro_rules! insert_events {
    () => {
        concat!(
            insert_into_events!(),
            "select $1 + e.ordinal - 1, e.received_at, e.event_time, e.event_id, e.redelivered, e.conflict, e.malformed,
                e.event_key, e.event_type, e.source, e.exchange, e.routing_key, e.correlation_ids::text[],
                e.defects::text[], e.properties::json, e.payload::json, e.body, e.conflict_digest
           from unnest($2::timestamptz[], $3::timestamptz[], $4::uuid[], $5::bool[], $6::bool[], $7::bool[], $8::text[],
                       $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                       $16::text[], $17::bytea[], $18::bytea[])
                with ordinality
             as e (received_at, event_time, event_id, redelivered, conflict, malformed, event_key, event_type, source,
                   exchange, routing_key, correlation_ids, defects, properties, payload, body, conflict_digest, ordinal)"
        )
    };
}
pub(super) use insert_events;

/// Inserts the first of the rows bound by [`Columns::bind`], where there is no other.
///
/// On a quiet bus each batch is one event. How many rows an array holds is not known to a plan that fits them all, so
/// PostgreSQL plans [`insert_events!`] anew each time; this one it plans once, which saves a tenth of a millisecond a commit.
macro_rules! insert_one_event {
    () => {
        concat!(
            insert_into_events!(),
            "values ($1, ($2::timestamptz[])[1], ($3::timestamptz[])[1], ($4::uuid[])[1], ($5::bool[])[1], ($6::bool[])[1],
                     ($7::bool[])[1], ($8::text[])[1], ($9::text[])[1], ($10::text[])[1], ($11::text[])[1], ($12::text[])[1],
                     ($13::text[])[1]::text[], ($14::text[])[1]::text[], ($15::text[])[1]::json, ($16::text[])[1]::json,
                     ($17::bytea[])[1], ($18::bytea[])[1])"
        )
    };
}
pub(super) use insert_one_event;

/// The columns of some rows, ready to be bound.
#[derive(Default)]
pub(super) struct Columns<'a> {
    received_at: Vec<OffsetDateTime>,
    event_time: Vec<Option<OffsetDateTime>>,
    event_id: Vec<Option<Uuid>>,
    redelivered: Vec<bool>,
    conflict: Vec<bool>,
    malformed: Vec<bool>,
    event_key: Vec<Option<&'a str>>,
    event_type: Vec<Option<&'a str>>,
    source: Vec<Option<&'a str>>,
    exchange: Vec<&'a str>,
    routing_key: Vec<&'a str>,
    correlation_ids: Vec<String>,
    defects: Vec<Option<String>>,
    properties: Vec<&'a str>,
    payload: Vec<Option<&'a str>>,
    body: Vec<Option<&'a [u8]>>,
    conflict_digest: Vec<Option<ContentDigest>>,
}

impl<'a> Columns<'a> {
    pub fn of(rows: impl Iterator<Item = &'a EventRow<'a>>) -> Columns<'a> {
        let mut columns = Columns::default();
        for row in rows {
            columns.push(row);
        }
        columns
    }

    fn push(&mut self, row: &'a EventRow<'a>) {
        self.received_at.push(row.received_at);
        self.event_time.push(row.event_time);
        self.event_id.push(row.event_id);
        self.redelivered.push(row.redelivered);
        self.conflict.push(row.conflict);
        self.malformed.push(row.malformed);
        self.event_key.push(row.event_key);
        self.event_type.push(row.event_type);
        self.source.push(row.source);
        self.exchange.push(&row.exchange);
        self.routing_key.push(&row.routing_key);
        self.correlation_ids.push(array_literal(row.correlation_ids.iter().map(String::as_str)));
        self.defects
            .push(row.defects.as_ref().map(|defects| array_literal(defects.iter().copied())));
        self.properties.push(row.properties);
        self.payload.push(row.payload);
        self.body.push(row.body);
        self.conflict_digest.push(row.conflict_digest);
    }

    /// The statement that inserts them, numbered from `first_seq` on.
    pub fn insert(&self, first_seq: i64) -> Query<'_, Postgres, PgArguments> {
        self.bind(sqlx::query(insert_events!()), first_seq)
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
