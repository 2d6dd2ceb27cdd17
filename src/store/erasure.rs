//! Erasure: an event's bytes leave the history, and what proves that it was there stays.
//!
//! One transaction changes the row, takes its salt away and puts on record what was done, by whom and why. For the schema's owner:
//! the role that records can change nothing.

use serde::Serialize;
use sqlx::{Connection as _, PgConnection, postgres::PgQueryResult};
use time::OffsetDateTime;

use super::{
    Fault, Ledger, Settings,
    acts::{Act, wants_key},
    link::{Link, answered},
    recorded::{Missing, Place, Recorded},
};
use crate::{
    event::rfc3339,
    ledger::{Hash, Leaves, Salt, metadata_salt},
};

/// What of an event is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

impl Eraser {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<Eraser, Fault> {
        let link = Link::open(settings, settings.statement_timeout).await?;
        Ok(Eraser { link, ledger: settings.ledger.clone().unwrap_or_default() })
    }

    /// Whether what is done here could not be signed, and has to be: a key is on record, and there is none here.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn wants_key(&mut self) -> Result<bool, Fault> {
        let Eraser { link: Link { connection, patience, .. }, ledger } = self;
        Ok(answered(*patience, wants_key(connection, ledger)).await?)
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
    let alone = sqlx::query("select pg_advisory_xact_lock(hashtextextended('audit.erase', 0))");
    answered(patience, alone.execute(&mut *connection)).await?;
    let event = answered(patience, Recorded::find(connection, seq, received_at)).await?;
    let Some(event) = event else { return Ok(Erased::Gone) };
    let before = answered(patience, Missing::find(connection, seq, received_at)).await?;
    if before.is_some_and(|before| erasure.level == Level::Content || before.metadata.is_some()) {
        return Ok(Erased::Before);
    }
    let place = answered(patience, Place::find(connection, seq, received_at)).await?;
    let commitments = match &place {
        None => None,
        Some(place) => {
            let row = event.columns()?;
            let commitments = before.unwrap_or_default().commitments(&row, &place.salt);
            if Leaves::default().hash_of(seq, &row, &commitments) != place.leaf {
                return Ok(Erased::Altered);
            }
            Some(commitments)
        }
    };
    let both = erasure.level == Level::Metadata;
    let change = sqlx::query(if both { ERASE_ALL } else { ERASE_CONTENT });
    let change = change.bind(received_at).bind(seq).execute(&mut *connection);
    changed_one(answered(patience, change).await?, "the row was not changed")?;
    if let Some(place) = &place {
        let salt = if both { Salt::default() } else { metadata_salt(&place.salt) };
        let drop = sqlx::query(
            "update audit.batches set salts = overlay(salts placing $3 from $4) where lane = $1 and number = $2",
        )
        .bind(place.lane)
        .bind(place.number)
        .bind(salt.as_slice())
        .bind(i32::try_from(place.index * 16 + 1).unwrap_or(i32::MAX));
        let dropped = answered(patience, drop.execute(&mut *connection)).await?;
        changed_one(dropped, "its salt was not taken away")?;
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

/// A trigger of the user's own may let nothing be changed, and say nothing.
fn changed_one(done: PgQueryResult, what: &str) -> Result<(), Fault> {
    match done.rows_affected() {
        1 => Ok(()),
        rows => Err(Fault::misconfigured(format!(
            "{what}: {rows} rows instead of one, as by a trigger; nothing is erased"
        ))),
    }
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

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
