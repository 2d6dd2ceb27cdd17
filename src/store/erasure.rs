//! Erasure: an event's bytes leave the history, and what proves that it was there stays.
//!
//! One transaction changes the row, takes its salt away and puts on record what was done, by whom and why. For the schema's owner:
//! the role that records can change nothing.

use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Fault, Ledger, Settings,
    acts::Act,
    link::{Link, answered},
};
use crate::{
    event::rfc3339,
    ledger::{Commitments, EventRow, Hash, Leaves, Salt, metadata_salt},
};

/// What of an event is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Its body.
    Content,
    /// Its body, and everything beside it but `seq`, `received_at` and the flags.
    Metadata,
}

/// What is to be erased, and why.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// How much of it.
    pub level: Level,
    /// Who wants it, in words.
    pub by: String,
    /// Why, in words; it stays on record.
    pub reason: String,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// It is erased.
    Now,
    /// As much of it was erased before.
    Before,
    /// It is not there.
    Gone,
    /// Its columns are not those that were recorded, so nothing was done: erasing would hide it.
    Altered,
}

/// A connection for erasing.
#[derive(Debug)]
pub struct Eraser {
    link: Link,
    ledger: Ledger,
}

/// An event erased, as the ledger has it.
#[derive(Debug, Serialize)]
struct Details<'a> {
    seq: i64,
    received_at: String,
    level: Level,
    by: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_metadata: Option<String>,
}

/// The leaf of an event, and where its salt is.
struct Place {
    lane: Uuid,
    number: i64,
    /// From 0 on in its batch.
    index: i64,
    leaf: Hash,
    salt: Salt,
}

impl Eraser {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<Eraser, Fault> {
        let link = Link::open(settings, settings.statement_timeout).await?;
        Ok(Eraser { link, ledger: settings.ledger.clone().unwrap_or_default() })
    }

    /// Erases the event that has this number and was received then.
    ///
    /// # Errors
    /// A [`Fault`]; nothing was erased, or it is unknown whether it was, and it may be done again.
    pub async fn erase(
        &mut self,
        seq: i64,
        received_at: OffsetDateTime,
        erasure: &Erasure,
    ) -> Result<Erased, Fault> {
        let Eraser { link: Link { connection, patience, .. }, ledger } = self;
        let mut transaction = answered(*patience, connection.begin()).await?;
        let erased =
            erase(&mut transaction, *patience, ledger, (seq, received_at), erasure).await?;
        match erased {
            Erased::Now => answered(*patience, transaction.commit()).await?,
            _ => answered(*patience, transaction.rollback()).await?,
        }
        Ok(erased)
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

async fn erase(
    connection: &mut PgConnection,
    patience: std::time::Duration,
    ledger: &Ledger,
    (seq, received_at): (i64, OffsetDateTime),
    erasure: &Erasure,
) -> Result<Erased, Fault> {
    // Writers lock it before their transaction has a number, and an act stands in one order with what they store.
    let lock = sqlx::query("lock table audit.batches in row exclusive mode");
    answered(patience, lock.execute(&mut *connection)).await?;
    let event = sqlx::query(
        "select e.received_at, e.event_time, e.event_id, e.redelivered, e.conflict, e.malformed, e.event_key, e.event_type,
                e.source, e.exchange, e.routing_key, e.correlation_ids, e.defects, e.properties::text, e.payload::text, e.body,
                e.conflict_digest
           from audit.events e where e.received_at = $1 and e.seq = $2 for update",
    )
    .bind(received_at)
    .bind(seq)
    .fetch_optional(&mut *connection);
    let Some(event) = answered(patience, event).await? else { return Ok(Erased::Gone) };
    let before = answered(patience, erased_before(connection, seq, received_at)).await?;
    if before.as_ref().is_some_and(|(level, _)| *level >= erasure.level) {
        return Ok(Erased::Before);
    }
    let place = answered(patience, place(connection, seq, received_at)).await?;
    let commitments = match &place {
        None => None,
        Some(place) => {
            let before = before.and_then(|(_, content)| content);
            match commitments(&event, seq, place, before)? {
                Some(commitments) => Some(commitments),
                None => return Ok(Erased::Altered),
            }
        }
    };
    let both = erasure.level == Level::Metadata;
    let change = sqlx::query(if both { ERASE_ALL } else { ERASE_CONTENT });
    let change = change.bind(received_at).bind(seq).execute(&mut *connection);
    answered(patience, change).await?;
    if let Some(place) = &place {
        let salt = if both { Salt::default() } else { metadata_salt(&place.salt) };
        let drop = sqlx::query(
            "update audit.batches set salts = overlay(salts placing $3 from $4) where lane = $1 and number = $2",
        )
        .bind(place.lane)
        .bind(place.number)
        .bind(salt.as_slice())
        .bind(i32::try_from(place.index * 16 + 1).unwrap_or(i32::MAX));
        answered(patience, drop.execute(&mut *connection)).await?;
    }
    let details = Details {
        seq,
        received_at: rfc3339(received_at),
        level: erasure.level,
        by: &erasure.by,
        reason: &erasure.reason,
        commit_content: commitments.map(|commitments| hex(&commitments.content)),
        commit_metadata: commitments.filter(|_| both).map(|commitments| hex(&commitments.metadata)),
    };
    let act = Act::new(ledger, "erased", &details)?;
    let record = sqlx::query("select audit.act($1, $2, 'erased', $3::json, $4, $5)");
    answered(patience, act.bind(record).execute(&mut *connection)).await?;
    Ok(Erased::Now)
}

/// Where a digest of what is erased would tell what it was, random bytes take its place.
const ERASE_CONTENT: &str = "update audit.events set payload = null, body = '',
       conflict_digest = case when conflict then sha256(uuid_send(gen_random_uuid())) end
 where received_at = $1 and seq = $2";

const ERASE_ALL: &str = "update audit.events set payload = null, body = '',
       conflict_digest = case when conflict then sha256(uuid_send(gen_random_uuid())) end,
       event_time = null, event_id = null, event_key = null, event_type = null, source = null, exchange = '', routing_key = '',
       correlation_ids = '{}', defects = null, properties = '{}'
 where received_at = $1 and seq = $2";

/// How much of an event was erased before, and the commitment of its content.
async fn erased_before(
    connection: &mut PgConnection,
    seq: i64,
    received_at: OffsetDateTime,
) -> Result<Option<(Level, Option<Hash>)>, sqlx::Error> {
    let row: Option<(bool, Option<Vec<u8>>)> = sqlx::query_as(
        "select a.details ->> 'level' = 'metadata', decode(a.details ->> 'commit_content', 'hex')
           from audit.acts a
          where a.kind = 'erased' and (a.details ->> 'seq')::bigint = $1
            and (a.details ->> 'received_at')::timestamptz = $2
          order by 1 desc limit 1",
    )
    .bind(seq)
    .bind(received_at)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(all, content)| {
        let level = if all { Level::Metadata } else { Level::Content };
        (level, content.and_then(|content| content.try_into().ok()))
    }))
}

/// Nothing where the event has no leaf: the ledger was off, or its batch is not there.
async fn place(
    connection: &mut PgConnection,
    seq: i64,
    received_at: OffsetDateTime,
) -> Result<Option<Place>, sqlx::Error> {
    let row = sqlx::query(
        "select b.lane, b.number, $1 - b.first_seq as index,
                substring(b.leaves from ($1 - b.first_seq)::int4 * 32 + 1 for 32) as leaf,
                substring(b.salts from ($1 - b.first_seq)::int4 * 16 + 1 for 16) as salt
           from audit.batches b
          where b.first_seq <= $1 and b.first_seq + b.events > $1 and b.received_from <= $2 and b.received_to >= $2
            and b.leaves is not null
          order by b.first_seq desc limit 1",
    )
    .bind(seq)
    .bind(received_at)
    .fetch_optional(connection)
    .await?;
    let place = |row: PgRow| {
        let exactly = |column: &'static str| row.try_get::<&[u8], _>(column);
        Ok(Place {
            lane: row.try_get("lane")?,
            number: row.try_get("number")?,
            index: row.try_get("index")?,
            leaf: exactly("leaf")?.try_into().unwrap_or_default(),
            salt: exactly("salt")?.try_into().unwrap_or_default(),
        })
    };
    row.map(place).transpose()
}

/// The commitments of a row as it is stored; none where they are not those of its leaf. `content` is that of a body which was
/// erased before; then the salt is that of the metadata.
fn commitments(
    event: &PgRow,
    seq: i64,
    place: &Place,
    content: Option<Hash>,
) -> Result<Option<Commitments>, Fault> {
    let causes: Vec<String> = event.try_get("correlation_ids")?;
    let defects: Option<Vec<String>> = event.try_get("defects")?;
    let row = EventRow {
        received_at: event.try_get("received_at")?,
        event_time: event.try_get("event_time")?,
        event_id: event.try_get("event_id")?,
        redelivered: event.try_get("redelivered")?,
        conflict: event.try_get("conflict")?,
        malformed: event.try_get("malformed")?,
        event_key: event.try_get("event_key")?,
        event_type: event.try_get("event_type")?,
        source: event.try_get("source")?,
        exchange: event.try_get::<&str, _>("exchange")?.into(),
        routing_key: event.try_get::<&str, _>("routing_key")?.into(),
        correlation_ids: &causes,
        defects: defects.as_ref().map(|defects| defects.iter().map(String::as_str).collect()),
        properties: event.try_get("properties")?,
        payload: event.try_get("payload")?,
        body: event.try_get("body")?,
        conflict_digest: event.try_get("conflict_digest")?,
    };
    let mut leaves = Leaves::default();
    let metadata_salt = if content.is_some() { place.salt } else { metadata_salt(&place.salt) };
    let commitments = Commitments {
        content: content.unwrap_or_else(|| leaves.content(&row, &place.salt)),
        metadata: leaves.metadata(&row, &metadata_salt),
    };
    Ok((leaves.hash_of(seq, &row, &commitments) == place.leaf).then_some(commitments))
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
