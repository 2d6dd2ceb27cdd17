//! Retention: partitions are mended, made ahead, and dropped when they are old enough.
//!
//! On a connection of its own for as long as that takes: counting what is dropped may take minutes, and signs of life and
//! recording wait for nothing here.

use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;

use super::{
    Fault, Ledger, Mended, Settings,
    acts::Act,
    link::{Link, answered},
    partitions::{self, Plan},
};
use crate::event::{now, rfc3339};

/// How long one step may take. A partition is counted before it is dropped.
const STEP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What became of an attempt to drop what is older than it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expired {
    /// Nothing is old enough.
    Nothing,
    /// Another daemon is at it.
    Busy,
    /// A partition is old enough, and the ledger has yet to seal that it goes.
    Announced {
        /// Its table in the schema `audit`.
        name: String,
    },
    /// A partition was dropped. There may be more.
    Partition {
        /// Its table in the schema `audit`.
        name: String,
        /// First instant that it held.
        from: OffsetDateTime,
        /// First instant after it.
        to: OffsetDateTime,
        /// Events in it.
        events: i64,
        /// What its table and its indexes took.
        bytes: i64,
    },
    /// So many rejections were deleted. There may be more.
    Rejections(i64),
    /// So many records of replays were deleted whose events are gone. There may be more.
    Replayed(i64),
    /// The lists of chosen events of so many replays were emptied. There may be more.
    Chosen(i64),
    /// Transactions are reading the history, and were not to be held up.
    Locked {
        /// The partition that would have been dropped.
        name: String,
    },
    /// The daemon's clock and the database's differ by more than an hour; this is the database's.
    ClocksDiffer(OffsetDateTime),
    /// The database's clock jumped by more than a day, or nobody looked for as long.
    ClockJumped {
        /// From when on, by it, partitions are dropped again.
        until: OffsetDateTime,
    },
    /// A partition is old, but events in it were committed not long ago: a clock that was behind gave them their time.
    Held {
        /// Its table in the schema `audit`.
        name: String,
        /// First instant after it.
        to: OffsetDateTime,
        /// When the last of them were committed.
        committed_at: OffsetDateTime,
    },
}

/// A partition that is to be dropped, as the ledger has it.
#[derive(Debug, Serialize)]
struct Due<'a> {
    partition: &'a str,
    from: String,
    to: String,
    events: i64,
    bytes: i64,
    keep_seconds: u64,
}

/// A connection for one round of upkeep.
#[derive(Debug)]
pub struct Upkeep {
    link: Link,
    plan: Plan,
    ledger: Option<Ledger>,
}

impl Upkeep {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<Upkeep, Fault> {
        let mut link = Link::open(settings, STEP_TIMEOUT).await?;
        // Writers wait for whoever changes partitions.
        partitions::wait_little(&mut link, true).await?;
        // Without a ledger nobody may be there who seals.
        let first = if settings.ledger.is_some() { "sealed" } else { "announced" };
        let say = sqlx::query("select set_config('audit.ledger', $1, false)").bind(first);
        answered(link.patience, say.execute(&mut link.connection)).await?;
        Ok(Upkeep { link, plan: settings.plan(), ledger: settings.ledger.clone() })
    }

    /// What the database's clock says.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn database_time(&mut self) -> Result<OffsetDateTime, Fault> {
        let query = sqlx::query_as("select clock_timestamp()");
        let (at,): (OffsetDateTime,) =
            answered(self.link.patience, query.fetch_one(&mut self.link.connection)).await?;
        Ok(at)
    }

    /// Mends what somebody did to partitions by hand, as far as they are needed from now on, and tells of it, and of
    /// older ones that are missing; and makes the next ones ahead.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn mend(&mut self) -> Result<Vec<Mended>, Fault> {
        let at = now();
        let mended = partitions::mend(&mut self.link, at).await?;
        let span = partitions::enter(&mut self.link, self.plan, at).await?;
        partitions::make_ahead(&mut self.link, self.plan, span).await?;
        Ok(mended)
    }

    /// Deletes some marks of canaries whose events are no longer kept.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn expire_canaries(&mut self) -> Result<(), Fault> {
        let query = sqlx::query("select audit.expire_canaries()");
        answered(self.link.patience, query.execute(&mut self.link.connection)).await?;
        Ok(())
    }

    /// Drops one partition that is older than `keep`, or else some rejections, or some of what replays left.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn expire(&mut self, keep: Duration) -> Result<Expired, Fault> {
        let query = sqlx::query_as(
            "select e.outcome, coalesce(e.partition, ''), e.from_at, e.to_at, coalesce(e.number, 0), coalesce(e.bytes, 0), e.at
               from audit.expire($1, $2) e",
        )
        .bind(interval(keep))
        .bind(now());
        type Time = Option<OffsetDateTime>;
        type Row = (String, String, Time, Time, i64, i64, Time);
        let (outcome, name, from, to, number, bytes, at): Row =
            answered(self.link.patience, query.fetch_one(&mut self.link.connection)).await?;
        let time = |time: Time| time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Ok(match &*outcome {
            "nothing" => Expired::Nothing,
            "busy" => Expired::Busy,
            "due" => {
                let due = Due {
                    partition: &name,
                    from: rfc3339(time(from)),
                    to: rfc3339(time(to)),
                    events: number,
                    bytes,
                    keep_seconds: keep.as_secs(),
                };
                self.announce(&due).await?;
                Expired::Announced { name }
            }
            "unsealed" => Expired::Announced { name },
            "dropped" => {
                Expired::Partition { name, from: time(from), to: time(to), events: number, bytes }
            }
            "rejections" => Expired::Rejections(number),
            "replayed" => Expired::Replayed(number),
            "chosen" => Expired::Chosen(number),
            "locked" => Expired::Locked { name },
            "clocks-differ" => Expired::ClocksDiffer(time(at)),
            "clock-jumped" => Expired::ClockJumped { until: time(at) },
            "held" => Expired::Held { name, to: time(to), committed_at: time(at) },
            other => {
                return Err(Fault::misconfigured(format!("audit.expire answers {other}")));
            }
        })
    }

    /// Puts on record that a partition is to be dropped.
    async fn announce(&mut self, due: &Due<'_>) -> Result<(), Fault> {
        let ledger = self.ledger.clone().unwrap_or_default();
        let act = Act::new(&ledger, "expired", due)?;
        let announce = sqlx::query("select audit.announce_expiry($1, $2, $3::json, $4, $5)");
        let announce = act.bind(announce).execute(&mut self.link.connection);
        answered(self.link.patience, announce).await?;
        Ok(())
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

fn interval(span: Duration) -> PgInterval {
    let microseconds = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}
