//! New events as they commit: each once, and none skipped.
//!
//! By asking again and again: a word from the writer at each commit (NOTIFY) would make commits wait for one another.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use time::OffsetDateTime;

use super::{Filter, ReadError, Reader, Row, fault, filter::filtered};
use crate::store::{Settings, link::answered};

/// Events that are looked at in one go.
const STEP: i32 = 500;
/// Where the cursor stands in a row, behind the columns of [`Column`](super::Column).
const NEXT: usize = 19;

/// The last row comes in any case, so that the cursor goes on over what does not match.
const STATEMENT: &str = concat!(
    "with s as materialized (
         select f.next, f.event, row_number() over () as place from audit.events_since($15, $16) f
     )
     select e.seq, e.received_at, e.event_time, e.event_id, e.redelivered, e.conflict, e.malformed, e.event_key,
            e.event_type, e.source, e.exchange, e.routing_key, e.correlation_ids, e.defects, e.properties,
            case when $13::bool then e.payload end, case when $13::bool then e.body end, e.conflict_digest,
            case when $14::bool then coalesce(octet_length(e.body), octet_length(e.payload::text))::int8 end, s.next
       from s
       left join lateral (select e.*",
    filtered!("(select (s.event).*)"),
    ") e on true
      where e.seq is not null or s.place = (select max(place) from s)
      order by s.place"
);

/// Somebody who reads along.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    cursor: String,
}

impl Follower {
    /// Begins behind all that is committed, or before the first event that was received at that time.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn open(
        settings: &Settings,
        timeout: Duration,
        since: Option<OffsetDateTime>,
    ) -> Result<Follower, ReadError> {
        let mut reader = Reader::connect(settings, timeout).await?;
        let begin =
            sqlx::query_scalar("select audit.cursor_at(coalesce($1, 'infinity'::timestamptz))")
                .bind(since);
        let cursor = answered(timeout, begin.fetch_one(&mut reader.connection))
            .await
            .map_err(|error| reader.fault(error))?;
        Ok(Follower { reader, cursor })
    }

    /// Hands what matches of the next events to `each`. Tells whether there were any; more may be there then.
    ///
    /// # Errors
    /// A [`ReadError`], or that of `each`; there is no going on after either.
    pub async fn next<E: From<ReadError>>(
        &mut self,
        filter: &Filter,
        bodies: bool,
        body_bytes: bool,
        mut each: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<bool, E> {
        // One that began earlier would not see what has committed since.
        self.reader.begin_anew().await?;
        let condition = self.reader.condition(filter).await?;
        let query = match &condition {
            Some(condition) => condition.query(STATEMENT),
            None => sqlx::query(STATEMENT),
        };
        let query =
            filter.bind(query).bind(bodies).bind(body_bytes).bind(self.cursor.clone()).bind(STEP);
        let timeout = self.reader.timeout;
        let failed = |error| match &condition {
            Some(condition) => condition.fault(error, timeout, STATEMENT),
            None => fault::of_reading(error, timeout),
        };
        let mut rows = query.persistent(false).fetch(&mut self.reader.connection);
        let mut any = false;
        while let Some(row) = answered(timeout, rows.try_next()).await.map_err(failed)? {
            self.cursor = sqlx::Row::try_get(&row, NEXT).map_err(failed)?;
            any = true;
            let row = Row(row);
            if row.value(super::Column::Seq).map_err(ReadError::from)?.is_some() {
                each(&row)?;
            }
        }
        drop(rows);
        self.reader.end().await?;
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_its_place() {
        assert_eq!(STATEMENT.matches("/* and */").count(), 1);
    }
}
