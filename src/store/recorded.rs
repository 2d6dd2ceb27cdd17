//! An event as it is stored, with its leaf and what its leaf is made of.

use sqlx::{PgConnection, Row as _, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::ledger::{Commitments, EventRow, Hash, Leaves, Salt, metadata_salt};

/// The columns of an event.
#[derive(Debug)]
pub(super) struct Recorded {
    row: PgRow,
    correlation_ids: Vec<String>,
    defects: Option<Vec<String>>,
}

impl Recorded {
    /// The event that has this number and was received then.
    pub async fn find(
        connection: &mut PgConnection,
        seq: i64,
        received_at: OffsetDateTime,
    ) -> Result<Option<Recorded>, sqlx::Error> {
        let row = sqlx::query(
            "select e.received_at, e.event_time, e.event_id, e.redelivered, e.conflict, e.malformed, e.event_key, e.event_type,
                    e.source, e.exchange, e.routing_key, e.correlation_ids, e.defects, e.properties::text, e.payload::text,
                    e.body, e.conflict_digest
               from audit.events e where e.received_at = $1 and e.seq = $2",
        )
        .bind(received_at)
        .bind(seq)
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (correlation_ids, defects) = (row.try_get("correlation_ids")?, row.try_get("defects")?);
        Ok(Some(Recorded { row, correlation_ids, defects }))
    }

    /// They as the ledger takes them.
    pub fn columns(&self) -> Result<EventRow<'_>, sqlx::Error> {
        let Recorded { row, correlation_ids, defects } = self;
        Ok(EventRow {
            received_at: row.try_get("received_at")?,
            event_time: row.try_get("event_time")?,
            event_id: row.try_get("event_id")?,
            redelivered: row.try_get("redelivered")?,
            conflict: row.try_get("conflict")?,
            malformed: row.try_get("malformed")?,
            event_key: row.try_get("event_key")?,
            event_type: row.try_get("event_type")?,
            source: row.try_get("source")?,
            exchange: row.try_get::<&str, _>("exchange")?.into(),
            routing_key: row.try_get::<&str, _>("routing_key")?.into(),
            correlation_ids,
            defects: defects.as_ref().map(|names| names.iter().map(String::as_str).collect()),
            properties: row.try_get("properties")?,
            payload: row.try_get("payload")?,
            body: row.try_get("body")?,
            conflict_digest: row.try_get("conflict_digest")?,
        })
    }
}

/// Where an event's leaf is.
#[derive(Debug)]
pub(super) struct Place {
    pub lane: Uuid,
    pub number: i64,
    pub position: i64,
    /// From 0 on in its batch.
    pub index: i64,
    pub leaf: Hash,
    /// What is left of its salt.
    pub salt: Salt,
}

impl Place {
    /// Nothing where the event has no leaf: the ledger was off, or its batch is not there.
    pub async fn find(
        connection: &mut PgConnection,
        seq: i64,
        received_at: OffsetDateTime,
    ) -> Result<Option<Place>, sqlx::Error> {
        let row = sqlx::query(
            "select b.lane, b.number, b.position, $1 - b.first_seq as index,
                    substring(b.leaves from ($1 - b.first_seq)::int4 * 32 + 1 for 32) as leaf,
                    substring(b.salts from ($1 - b.first_seq)::int4 * 16 + 1 for 16) as salt
               from audit.batches b
              -- No batch has more numbers than a block of the sequence.
              where b.first_seq <= $1 and b.first_seq > $1 - 10000 and b.first_seq + b.events > $1 and b.received_from <= $2 and b.received_to >= $2
                and b.leaves is not null
              order by b.first_seq desc limit 1",
        )
        .bind(seq)
        .bind(received_at)
        .fetch_optional(connection)
        .await?;
        let place = |row: PgRow| {
            let bytes = |column: &'static str| row.try_get::<&[u8], _>(column);
            Ok(Place {
                lane: row.try_get("lane")?,
                number: row.try_get("number")?,
                position: row.try_get("position")?,
                index: row.try_get("index")?,
                leaf: bytes("leaf")?.try_into().unwrap_or_default(),
                salt: bytes("salt")?.try_into().unwrap_or_default(),
            })
        };
        row.map(place).transpose()
    }
}

/// What was erased of an event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Missing {
    /// The commitment of its body.
    pub content: Option<Hash>,
    /// That of all beside it.
    pub metadata: Option<Hash>,
}

impl Missing {
    /// What was, and the commitments that were left; nothing where nothing was.
    pub async fn find(
        connection: &mut PgConnection,
        seq: i64,
        received_at: OffsetDateTime,
    ) -> Result<Option<Missing>, sqlx::Error> {
        type Left = (Option<Vec<u8>>, Option<Vec<u8>>);
        let acts: Vec<Left> = sqlx::query_as(
            "select decode(a.details ->> 'commit_content', 'hex'), decode(a.details ->> 'commit_metadata', 'hex')
               from audit.acts a
              where a.kind = 'erased' and (a.details ->> 'seq')::bigint = $1
                and (a.details ->> 'received_at')::timestamptz = $2",
        )
        .bind(seq)
        .bind(received_at)
        .fetch_all(connection)
        .await?;
        let hash = |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| Hash::try_from(bytes).ok());
        Ok(acts.into_iter().fold(None, |missing, (content, metadata)| {
            let before: Missing = missing.unwrap_or_default();
            Some(Missing {
                content: before.content.or(hash(content)),
                metadata: before.metadata.or(hash(metadata)),
            })
        }))
    }

    /// The commitments of an event of which this is erased, from what is left of it.
    pub fn commitments(&self, row: &EventRow<'_>, salt: &Salt) -> Commitments {
        let mut leaves = Leaves::default();
        let of_metadata = match self.content {
            // It took the place of the other, which it is made from.
            Some(_) => *salt,
            None => metadata_salt(salt),
        };
        Commitments {
            content: self.content.unwrap_or_else(|| leaves.content(row, salt)),
            metadata: self.metadata.unwrap_or_else(|| leaves.metadata(row, &of_metadata)),
        }
    }
}
