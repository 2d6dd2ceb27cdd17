//! What surrounds an event: where it sits, what led to it, and what followed.

use sqlx::{FromRow, postgres::PgRow, query::QueryAs};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ReadError, Reader};
use crate::store::link::answered;

/// Where an event sits.
#[derive(Debug, Clone, FromRow)]
pub struct Place {
    /// Its partition, a table in the schema audit.
    pub partition: String,
    /// The writer connection that committed it, where the batch is known.
    pub lane: Option<Uuid>,
    /// The batch's number on it.
    pub number: Option<i64>,
    /// When the batch's transaction began, by the database's clock.
    pub committed_at: Option<OffsetDateTime>,
    /// How many events it stored.
    pub events: Option<i32>,
}

/// An event that another one names, or that names it.
#[derive(Debug, Clone, FromRow)]
pub struct Relative {
    /// Its id; of one that has none, nothing.
    pub id: Option<String>,
    /// Its number, if it is stored.
    pub seq: Option<i64>,
    /// When it was received.
    pub received_at: Option<OffsetDateTime>,
    /// Its type.
    pub event_type: Option<String>,
    /// Its source.
    pub source: Option<String>,
}

impl Reader {
    /// Where the event sits that has this number and was received then.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn place(
        &mut self,
        seq: i64,
        received_at: OffsetDateTime,
    ) -> Result<Option<Place>, ReadError> {
        // Batches are found by when they were committed, which is mostly when their events were received.
        let query = sqlx::query_as(
            "select c.relname::text as partition, coalesce(near.lane, far.lane) as lane,
                    coalesce(near.number, far.number) as number, coalesce(near.committed_at, far.committed_at) as committed_at,
                    coalesce(near.events, far.events) as events
               from audit.events e
               join pg_class c on c.oid = e.tableoid
               left join lateral (
                    select b.* from audit.batches b
                     where b.committed_at >= e.received_at - interval '1 hour' and b.committed_at < e.received_at + interval '1 hour'
                       and b.first_seq <= e.seq and b.first_seq + b.events > e.seq
                     limit 1) near on true
               left join lateral (
                    select b.* from audit.batches b
                     where near.lane is null and b.first_seq <= e.seq and b.first_seq + b.events > e.seq
                     limit 1) far on true
              where e.received_at = $1 and e.seq = $2",
        );
        Ok(self.all(query.bind(received_at).bind(seq)).await?.pop())
    }

    /// What is stored under each of these ids, of each the first one; and those that are not stored.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn causes(&mut self, ids: &[String]) -> Result<Vec<Relative>, ReadError> {
        let query = sqlx::query_as(
            "select c.id, e.seq, e.received_at, e.event_type, e.source
               from unnest($1::text[]) with ordinality c (id, place)
               left join lateral (select * from audit.event(c.id) limit 1) e on true
              order by c.place",
        );
        self.all(query.bind(ids)).await
    }

    /// The first events that name this id, at most so many.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn effects(&mut self, id: &str, limit: i64) -> Result<Vec<Relative>, ReadError> {
        let query = sqlx::query_as(
            "select coalesce(e.event_id::text, e.event_key) as id, e.seq, e.received_at, e.event_type, e.source
               from audit.caused_by($1) e limit $2",
        );
        self.all(query.bind(id).bind(limit)).await
    }

    /// All rows of a statement whose answer is small.
    pub(super) async fn all<T>(
        &mut self,
        query: QueryAs<'_, sqlx::Postgres, T, sqlx::postgres::PgArguments>,
    ) -> Result<Vec<T>, ReadError>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        self.let_statements_take(self.timeout).await?;
        let patience = self.patience();
        let rows = query.persistent(false).fetch_all(&mut self.connection);
        answered(patience, rows).await.map_err(|error| self.fault(error))
    }
}
