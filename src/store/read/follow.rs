//! New events as they commit: each once, and none skipped.
//!
//! By asking again and again: a word from the writer at each commit (NOTIFY) would make commits wait for one another.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use time::OffsetDateTime;

use super::{Filter, ReadError, Reader, Row, alike::Alike, events::columns, filter::filtered};
use crate::store::{Settings, link::answered};

/// Events that are looked at in one go.
const STEP: i32 = 500;
/// Where the cursor stands in a row, behind the columns of [`Column`](super::Column).
const NEXT: usize = 19;

/// The last row comes in any case, so that the cursor goes on over what does not match.
const STATEMENT: &str = concat!(
    "with s as materialized (
         select f.next, f.event, row_number() over () as place from audit.events_since($18, $19) f
     )
     select ",
    columns!(),
    ", s.next
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
    settings: Settings,
    timeout: Duration,
    cursor: String,
    /// None after a failure.
    reader: Option<Reader>,
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
        let cursor = answered(reader.patience(), begin.fetch_one(&mut reader.connection))
            .await
            .map_err(|error| reader.fault(error))?;
        Ok(Follower { settings: settings.clone(), timeout, cursor, reader: Some(reader) })
    }

    /// Hands what matches of the next events to `each`. Tells whether there were any; more may be there then.
    ///
    /// # Errors
    /// A [`ReadError`], or that of `each`. It may be called again after one that [may pass](ReadError::may_pass): on a new
    /// connection it goes on behind the last event that was handed out.
    pub async fn next<E: From<ReadError>>(
        &mut self,
        filter: &Filter,
        bodies: bool,
        body_bytes: bool,
        each: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::connect(&self.settings, self.timeout).await?,
        };
        let read = read_on(&mut reader, &mut self.cursor, filter, bodies, body_bytes, each).await?;
        // What was read was read. A server that has had enough of a reader who dawdled is asked again on a new connection.
        if read.done && reader.end().await.is_ok() {
            self.reader = Some(reader);
        }
        Ok(read.any)
    }
}

struct Read {
    any: bool,
    /// Whether the statement came to its end.
    done: bool,
}

/// Hands out what follows the cursor, and moves it with each.
async fn read_on<E: From<ReadError>>(
    reader: &mut Reader,
    cursor: &mut String,
    filter: &Filter,
    bodies: bool,
    body_bytes: bool,
    mut each: impl FnMut(&Row) -> Result<(), E>,
) -> Result<Read, E> {
    // One that began earlier would not see what has committed since.
    reader.begin_anew().await?;
    let asked = reader.conditioned(filter, STATEMENT).await?;
    let alike = Alike::default();
    let query = filter.bind(asked.query(), &alike);
    let query = query.bind(bodies).bind(body_bytes).bind(cursor.clone()).bind(STEP);
    let failed = |error| asked.fault(error);
    // The server ends what takes too long first: that would take as long again, while silence may pass.
    let patience = reader.patience();
    let mut rows = query.persistent(false).fetch(&mut reader.connection);
    let mut any = false;
    loop {
        let row = match answered(patience, rows.try_next()).await.map_err(failed) {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(Read { any, done: true }),
            // Rows come when all are found: what took too long since then was to hand them out.
            Err(ReadError::Fault(fault)) if any && fault.is_timeout() => {
                return Ok(Read { any, done: false });
            }
            Err(error) => return Err(error.into()),
        };
        *cursor = sqlx::Row::try_get(&row, NEXT).map_err(failed)?;
        any = true;
        let row = Row(row);
        if row.value(super::Column::Seq).map_err(ReadError::from)?.is_some() {
            each(&row)?;
        }
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
