//! What tells whether a check that was interrupted can go on with what it has.

use futures_util::{Stream, TryStreamExt as _};
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    entries::time,
    events::{EventBatch, batch, select_batches},
    snapshot::{View, failed},
};
use crate::store::ReadError;

/// Where a batch stands, and when its events were received, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchTimes {
    /// Its position.
    pub position: i64,
    /// The first one; none where its header does not say.
    pub from: Option<i64>,
    /// The last one.
    pub to: Option<i64>,
}

impl View {
    /// A position below which no batch can come any more that is not seen.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn horizon(&mut self) -> Result<i64, ReadError> {
        let query = sqlx::query_scalar("select audit.horizon()");
        query.fetch_one(&mut self.connection).await.map_err(failed)
    }

    /// The lane of the first batch of all; none where nothing is stored.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn first_lane(&mut self) -> Result<Option<Uuid>, ReadError> {
        let query = sqlx::query_scalar(
            "select b.lane from audit.batches b order by b.position, b.lane limit 1",
        );
        query.fetch_optional(&mut self.connection).await.map_err(failed)
    }

    /// The batches from this position on that have events.
    pub fn batches_since(
        &mut self,
        position: i64,
    ) -> impl Stream<Item = Result<BatchTimes, ReadError>> + Unpin + Send {
        let query = sqlx::query(
            "select b.position, b.received_from, b.received_to from audit.batches b
              where b.position >= $1 and (b.events > 0 or length(b.leaves) > 0)",
        );
        let rows = query.bind(position).fetch(&mut self.connection);
        rows.and_then(|row| std::future::ready(times(&row))).map_err(failed)
    }

    /// A batch by its lane and number; none where it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn event_batch(
        &mut self,
        lane: Uuid,
        number: i64,
    ) -> Result<Option<EventBatch>, ReadError> {
        let query = sqlx::query(concat!(select_batches!(), "where b.lane = $1 and b.number = $2"));
        let row = query.bind(lane).bind(number);
        let row = row.fetch_optional(&mut self.connection).await.map_err(failed)?;
        row.map(|row| batch(&row)).transpose().map_err(failed)
    }
}

fn times(row: &PgRow) -> Result<BatchTimes, sqlx::Error> {
    Ok(BatchTimes {
        position: row.try_get("position")?,
        from: time(row, "received_from")?,
        to: time(row, "received_to")?,
    })
}
