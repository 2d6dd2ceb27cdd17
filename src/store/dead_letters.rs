//! Dead letters: why they were rejected, and what is done with them.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Fault, Settings,
    link::{Link, answered},
};
use crate::event::column_text;

/// The statements are small: one that takes longer than this is not going to be answered.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a rejection is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionKey {
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
}

/// Why the daemon rejected a message.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct RejectionRecord {
    /// `malformed`, `too-large` or `refused`.
    pub reason: String,
    /// More on it.
    pub detail: String,
    /// The database's error code where it refused the row.
    pub sqlstate: Option<String>,
    /// When the daemon had it in hand.
    pub received_at: OffsetDateTime,
}

/// A connection on which rejections are looked up.
#[derive(Debug)]
pub struct RejectionRecords(Link);

impl RejectionRecords {
    /// Connects.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn open(settings: &Settings) -> Result<RejectionRecords, Fault> {
        let timeout = settings.statement_timeout.min(STATEMENT_TIMEOUT);
        Ok(RejectionRecords(Link::open(settings, timeout).await?))
    }

    /// The last rejection of each; `None` where there is none. In the order asked for.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn of(
        &mut self,
        keys: &[RejectionKey],
    ) -> Result<Vec<Option<RejectionRecord>>, Fault> {
        #[derive(FromRow)]
        struct Found {
            place: i64,
            #[sqlx(flatten)]
            record: RejectionRecord,
        }
        let columns = || keys.iter();
        let query = sqlx::query_as(
            "select k.place - 1 as place, r.reason, r.detail, r.sqlstate, r.received_at
               from unnest($1::bytea[], $2::text[], $3::text[]) with ordinality
                 as k (body_sha256, exchange, routing_key, place)
              cross join lateral (
                    select * from audit.rejections r
                     where r.body_sha256 = k.body_sha256 and r.exchange = k.exchange and r.routing_key = k.routing_key
                     order by r.received_at desc limit 1) r",
        )
        .bind(columns().map(|key| &key.body_sha256[..]).collect::<Vec<_>>())
        .bind(columns().map(|key| column_text(&key.exchange)).collect::<Vec<_>>())
        .bind(columns().map(|key| column_text(&key.routing_key)).collect::<Vec<_>>());
        let Link { connection, patience, .. } = &mut self.0;
        let found: Vec<Found> = answered(*patience, query.fetch_all(connection)).await?;
        let mut records = vec![None; keys.len()];
        for Found { place, record } in found {
            if let Some(slot) = usize::try_from(place).ok().and_then(|place| records.get_mut(place))
            {
                *slot = Some(record);
            }
        }
        Ok(records)
    }
}

/// What is done with dead letters by one run of a command.
#[derive(Debug, Clone)]
pub struct DeadLetterRun {
    /// Its id.
    pub id: Uuid,
    /// What is done.
    pub action: DeadLetterAction,
    /// Which user of this machine does it.
    pub os_user: String,
    /// The name of this machine.
    pub host: String,
    /// The dead-letter queue, and its broker.
    pub queue: String,
    /// Where they are sent.
    pub target: Option<String>,
    /// Why, in the user's words.
    pub reason: Option<String>,
}

/// What is done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterAction {
    /// It was confirmed elsewhere.
    Requeued,
    /// It is nowhere else.
    Discarded,
}

/// A dead letter, as it is put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// Its number within the run.
    pub number: i64,
    /// The event's id.
    pub event_id: Option<String>,
    /// What it was, and where it came from.
    pub key: RejectionKey,
    /// Why it was a dead letter.
    pub died_of: String,
    /// Length of its body.
    pub body_bytes: i64,
}

/// The record of one run.
#[derive(Debug)]
pub struct DeadLetterLog {
    settings: Settings,
    run: DeadLetterRun,
    link: Option<Link>,
}

impl DeadLetterLog {
    /// Connects, and makes sure that this role may put something on record.
    ///
    /// # Errors
    /// The database is away, is a standby, or the role may not.
    pub async fn open(settings: &Settings, run: DeadLetterRun) -> Result<DeadLetterLog, Fault> {
        let mut log = DeadLetterLog { settings: settings.clone(), run, link: None };
        log.record(&[]).await?;
        Ok(log)
    }

    /// Puts these on record; when this returns, that is committed. The same may be recorded again after a fault.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn record(&mut self, letters: &[DeadLetterRecord]) -> Result<(), Fault> {
        let timeout = self.settings.statement_timeout.min(STATEMENT_TIMEOUT);
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::open(&self.settings, timeout).await?,
        };
        let run = &self.run;
        let columns = || letters.iter();
        let text =
            |text: &Option<String>| text.as_deref().map(|text| column_text(text).into_owned());
        let record = sqlx::query(
            "select audit.record_dead_letters($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(run.id)
        .bind(match run.action {
            DeadLetterAction::Requeued => "requeued",
            DeadLetterAction::Discarded => "discarded",
        })
        .bind(column_text(&run.os_user))
        .bind(column_text(&run.host))
        .bind(column_text(&run.queue))
        .bind(text(&run.target))
        .bind(text(&run.reason))
        .bind(columns().map(|letter| letter.number).collect::<Vec<_>>())
        .bind(columns().map(|letter| text(&letter.event_id)).collect::<Vec<_>>())
        .bind(columns().map(|letter| column_text(&letter.key.exchange)).collect::<Vec<_>>())
        .bind(columns().map(|letter| column_text(&letter.key.routing_key)).collect::<Vec<_>>())
        .bind(columns().map(|letter| column_text(&letter.died_of)).collect::<Vec<_>>())
        .bind(columns().map(|letter| &letter.key.body_sha256[..]).collect::<Vec<_>>())
        .bind(columns().map(|letter| letter.body_bytes).collect::<Vec<_>>());
        answered(link.patience, record.execute(&mut link.connection)).await?;
        self.link = Some(link);
        Ok(())
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        if let Some(link) = self.link {
            link.close().await;
        }
    }
}
