//! Reads everything that a run has left behind.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bloodbank_audit::broker::Address;
use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _};

use super::balance::{Found, Rejected, Stored};
use crate::history::{connect, digest};
use crate::stage::queue;

/// How long reading the dead-letter queue may take.
const QUEUE_LIMIT: Duration = Duration::from_secs(120);
/// Ids to name that have not exactly one original.
const MOST_IDS: i64 = 100;

/// As `mix::key`, in SQL.
const STORED: &str = "select sha256(sha256(audit.raw(e)) \
     || convert_to(coalesce(e.event_id::text, e.event_key, ''), 'UTF8')), e.redelivered, e.conflict from audit.events e";
const REJECTED: &str = "select sha256(body_sha256 || convert_to(coalesce(event_id::text, event_key, ''), 'UTF8')), \
     redelivered, concat_ws(' ', reason, sqlstate) from audit.rejections";
const NOT_ONE_ORIGINAL: &str = "select format('%s: %s originals, %s conflicts', id, originals, conflicts) from (\
     select coalesce(event_id::text, event_key) as id, count(*) filter (where not conflict) as originals, \
     count(*) filter (where conflict) as conflicts from audit.events group by 1) ids \
     where id is not null and originals <> 1 limit $1";
/// What the headers of batches say against what is there.
const BOOKS: &str = "select format('batches count %s %s, there are %s', counted, what, found) from (\
     select 'events' as what, coalesce(sum(events), 0) as counted, (select count(*) from audit.events) as found \
     from audit.batches union all \
     select 'conflicts', coalesce(sum(conflicts), 0), (select count(*) from audit.events where conflict) \
     from audit.batches union all \
     select 'rejections', coalesce(sum(rejections), 0), (select count(*) from audit.rejections) \
     from audit.batches) books where counted <> found";
const GAPS: &str = "select format('lane %s has %s batches, numbered up to %s', lane, count(*), max(number)) \
     from audit.batches group by lane having count(*) <> max(number) or min(number) <> 1";

/// Reads the history, the rejections and the dead-letter queue, whose messages stay in it.
///
/// # Errors
/// When one of them cannot be read.
pub async fn gather(
    database_url: &str,
    broker: &Address,
    dead_letter_queue: &str,
    broker_ends: u64,
) -> Result<Found> {
    let mut database = connect(database_url).await?;
    let mut wrong_books = words(&mut database, BOOKS).await?;
    wrong_books.extend(words(&mut database, GAPS).await?);
    Ok(Found {
        stored: stored(&mut database).await.context("read the history")?,
        rejected: rejected(&mut database).await.context("read the rejections")?,
        dead_letters: queue::bodies(broker, dead_letter_queue, QUEUE_LIMIT).await?,
        ids_without_one_original: sqlx::query_scalar(NOT_ONE_ORIGINAL)
            .bind(MOST_IDS)
            .fetch_all(&mut database)
            .await
            .context("look for originals")?,
        wrong_books,
        broker_ends,
    })
}

async fn words(database: &mut PgConnection, query: &'static str) -> Result<Vec<String>> {
    sqlx::query_scalar(query).fetch_all(database).await.context("read the batches")
}

async fn stored(database: &mut PgConnection) -> Result<Vec<Stored>> {
    let mut found = Vec::new();
    let mut rows = sqlx::query(STORED).fetch(database);
    while let Some(row) = rows.try_next().await? {
        found.push(Stored {
            key: digest(row.try_get(0)?)?,
            redelivered: row.try_get(1)?,
            conflict: row.try_get(2)?,
        });
    }
    Ok(found)
}

async fn rejected(database: &mut PgConnection) -> Result<Vec<Rejected>> {
    let rows = sqlx::query(REJECTED).fetch_all(database).await?;
    rows.iter()
        .map(|row| {
            Ok(Rejected {
                key: digest(row.try_get(0)?)?,
                redelivered: row.try_get(1)?,
                why: row.try_get(2)?,
            })
        })
        .collect()
}
