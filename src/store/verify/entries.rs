//! What goes into the tree: batches and acts in order of their positions.

use futures_util::{Stream, TryStreamExt as _};
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};
use uuid::Uuid;

use super::{
    micros::Micros,
    snapshot::{View, failed},
};
use crate::store::ReadError;

/// A row of `audit.batches`, but for its salts. Times are microseconds since 1970.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns, as the database describes them")]
pub struct BatchRow {
    pub lane: Uuid,
    pub number: i64,
    pub position: i64,
    pub committed_at: i64,
    pub first_seq: Option<i64>,
    pub events: i32,
    pub conflicts: i32,
    pub duplicates: i32,
    pub rejections: i32,
    pub replays: i32,
    pub body_bytes: i64,
    pub received_from: Option<i64>,
    pub received_to: Option<i64>,
    pub previous: Option<Vec<u8>>,
    pub leaves: Option<Vec<u8>>,
    pub signature: Option<Vec<u8>>,
    pub key_id: Option<i64>,
    /// A column is null that never is; it counts as nothing, or as zero.
    pub holed: bool,
}

/// A row of `audit.acts`. Its time is in microseconds since 1970.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns, as the database describes them")]
pub struct ActRow {
    pub id: Uuid,
    pub position: i64,
    pub at: i64,
    pub kind: String,
    /// As it is stored, to the byte.
    pub details: String,
    pub signature: Option<Vec<u8>>,
    pub key_id: Option<i64>,
    /// A column is null that never is; it counts as nothing, or as zero.
    pub holed: bool,
}

/// What the tree has a leaf of.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A batch: a leaf of its own, and those of its events behind it.
    Batch(Box<BatchRow>),
    /// An act.
    Act(ActRow),
}

impl Entry {
    /// Its place in the order.
    #[must_use]
    pub fn position(&self) -> i64 {
        match self {
            Entry::Batch(batch) => batch.position,
            Entry::Act(act) => act.position,
        }
    }
}

impl View {
    /// The details of all acts by which keys were put on record, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn key_acts(&mut self) -> Result<Vec<(String,)>, ReadError> {
        let query = "select a.details::text from audit.acts a where a.kind = 'key' and a.details is not null order by a.position, a.id";
        sqlx::query_as(query).fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// Batches that have leaves, and acts, where no tree can have them: before this position, from which on all is in one, or at none.
    /// Of a batch its lane and its number, of an act its id.
    pub fn astray(
        &mut self,
        from: i64,
    ) -> impl Stream<Item = Result<(Uuid, Option<i64>), ReadError>> + Unpin {
        let query = sqlx::query_as(
            "select coalesce(b.lane, '00000000-0000-0000-0000-000000000000'), coalesce(b.number, 0)
               from audit.batches b where b.position < $1 and b.leaves is not null or b.position is null
             union all
             select coalesce(a.id, '00000000-0000-0000-0000-000000000000'), null
               from audit.acts a where a.position < $1 or a.position is null",
        );
        query.bind(from).fetch(&mut self.connection).map_err(failed)
    }

    /// All batches and acts from this position on, in the order in which a seal takes them on.
    pub fn entries(&mut self, from: i64) -> impl Stream<Item = Result<Entry, ReadError>> + Unpin {
        // A transaction may have both; then acts come first.
        let query = sqlx::query(
            "select b.position, 1 as place, b.lane as id, b.committed_at as at, null as kind, null as details, b.number, b.first_seq,
                    b.events, b.conflicts, b.duplicates, b.rejections, b.replays, b.body_bytes, b.received_from, b.received_to,
                    b.previous, b.leaves, b.signature, b.key_id
               from audit.batches b where b.position >= $1
             union all
             select a.position, 0, a.id, a.at, a.kind, a.details::text, null, null, null, null, null, null, null, null, null,
                    null, null, null, a.signature, a.key_id
               from audit.acts a where a.position >= $1
              order by position, place, id",
        );
        let rows = query.bind(from).fetch(&mut self.connection);
        rows.and_then(|row| std::future::ready(entry(&row))).map_err(failed)
    }
}

fn entry(row: &PgRow) -> Result<Entry, sqlx::Error> {
    let mut columns = Columns { row, holed: false };
    let entry = match row.try_get("place")? {
        0 => Entry::Act(ActRow {
            id: columns.get("id")?,
            position: row.try_get("position")?,
            at: columns.get::<Micros>("at")?.0,
            kind: columns.get("kind")?,
            details: columns.get("details")?,
            signature: row.try_get("signature")?,
            key_id: row.try_get("key_id")?,
            holed: columns.holed,
        }),
        _ => Entry::Batch(Box::new(BatchRow {
            lane: columns.get("id")?,
            number: columns.get("number")?,
            position: row.try_get("position")?,
            committed_at: columns.get::<Micros>("at")?.0,
            first_seq: row.try_get("first_seq")?,
            events: columns.get("events")?,
            conflicts: columns.get("conflicts")?,
            duplicates: columns.get("duplicates")?,
            rejections: columns.get("rejections")?,
            replays: columns.get("replays")?,
            body_bytes: columns.get("body_bytes")?,
            received_from: time(row, "received_from")?,
            received_to: time(row, "received_to")?,
            previous: row.try_get("previous")?,
            leaves: row.try_get("leaves")?,
            signature: row.try_get("signature")?,
            key_id: row.try_get("key_id")?,
            holed: columns.holed,
        })),
    };
    Ok(entry)
}

/// Columns that are never null, unless somebody has taken away what keeps them from that.
struct Columns<'r> {
    row: &'r PgRow,
    holed: bool,
}

impl<'r> Columns<'r> {
    fn get<T>(&mut self, name: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Postgres> + Type<Postgres> + Default,
    {
        let value: Option<T> = self.row.try_get(name)?;
        self.holed |= value.is_none();
        Ok(value.unwrap_or_default())
    }
}

pub(super) fn time(row: &PgRow, column: &str) -> Result<Option<i64>, sqlx::Error> {
    Ok(row.try_get::<Option<Micros>, _>(column)?.map(|at| at.0))
}
