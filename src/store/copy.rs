//! Rows as a binary COPY: each written once, and sent while the next ones are written.

use sqlx::{Encode, PgConnection, Postgres, error::BoxDynError, postgres::PgArgumentBuffer};

use crate::ledger::EventRow;

const COPY: &str =
    "copy audit.events (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_key, event_type,
         source, exchange, routing_key, correlation_ids, defects, properties, payload, body, conflict_digest)
     from stdin (format binary)";

/// How many columns that are.
const COLUMNS: i16 = 18;

/// What a file of that format begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands in place of a count of columns after the last row.
const TRAILER: i16 = -1;

/// Bytes that are written before they are sent. Larger ones cost memory, smaller ones system calls.
const CHUNK: usize = 128 << 10;

/// Copies rows, numbered from `first_seq` on, as a part of a transaction.
pub(super) async fn copy(
    connection: &mut PgConnection,
    first_seq: i64,
    rows: impl Iterator<Item = EventRow<'_>>,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(COPY).await?;
    let mut chunk = Chunk::default();
    chunk.0.extend_from_slice(HEADER);
    for (seq, row) in (first_seq..).zip(rows) {
        if let Err(error) = chunk.row(seq, &row) {
            copy.abort("a row cannot be encoded").await?;
            return Err(sqlx::Error::Encode(error));
        }
        if chunk.0.len() >= CHUNK {
            copy.send(chunk.0.as_slice()).await?;
            chunk.0.clear();
        }
    }
    chunk.0.extend_from_slice(&TRAILER.to_be_bytes());
    copy.send(chunk.0.as_slice()).await?;
    copy.finish().await.map(drop)
}

#[derive(Default)]
struct Chunk(PgArgumentBuffer);

impl Chunk {
    fn row(&mut self, seq: i64, row: &EventRow<'_>) -> Result<(), BoxDynError> {
        self.0.extend_from_slice(&COLUMNS.to_be_bytes());
        self.field(seq)?;
        self.field(row.received_at)?;
        self.field(row.event_time)?;
        self.field(row.event_id)?;
        self.field(row.redelivered)?;
        self.field(row.conflict)?;
        self.field(row.malformed)?;
        self.field(row.event_key)?;
        self.field(row.event_type)?;
        self.field(row.source)?;
        self.field(&*row.exchange)?;
        self.field(&*row.routing_key)?;
        self.field(row.correlation_ids)?;
        self.field(row.defects.as_deref())?;
        self.field(row.properties)?;
        self.field(row.payload)?;
        self.field(row.body)?;
        self.field(row.conflict_digest)
    }

    /// A value after its length; none is a length of -1.
    fn field<'q>(&mut self, value: impl Encode<'q, Postgres>) -> Result<(), BoxDynError> {
        let start = self.0.len();
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
        if !value.encode(&mut self.0)?.is_null() {
            let length = i32::try_from(self.0.len() - start - 4)?;
            self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}
