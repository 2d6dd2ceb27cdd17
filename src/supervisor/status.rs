//! The status: how the daemon fares at one moment. What /status shows, and what health and metrics are made from.

use std::time::Duration;

use metrics::{counter, histogram};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{canary::Missing, ledger::LedgerStatus, sides::Usable};
use crate::{
    broker::Depths,
    event::{now, rfc3339},
    measures::{CANARIES, CANARY_LATENCY},
    pipeline::{Counts, InHand},
    store::State,
};

/// How the daemon fares. It holds no secret. Times are in RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The program's.
    pub version: &'static str,
    /// `storage.instance`, or the machine's name.
    pub instance: String,
    /// The run, as in `audit.runs`.
    #[serde(serialize_with = "id")]
    pub run: Uuid,
    /// The exchange whose events are recorded.
    pub exchange: String,
    /// The daemon's queue.
    pub queue_name: String,
    /// When the process started.
    #[serde(serialize_with = "utc")]
    pub started_at: OffsetDateTime,
    /// It consumes, it can store, and it gets on.
    pub ready: bool,
    /// What it is doing, as in `audit.coverage`.
    #[serde(serialize_with = "state")]
    pub state: State,
    /// Since when.
    #[serde(serialize_with = "utc")]
    pub since: OffsetDateTime,
    /// Why.
    pub cause: String,
    /// A stage of the pipeline that does not get on.
    pub stuck: Option<Stuck>,
    /// The session with the broker.
    pub broker: Usable,
    /// The database.
    pub postgres: Usable,
    /// What was taken and committed since the start.
    pub counts: Counts,
    /// When something was committed last.
    #[serde(serialize_with = "perhaps_utc")]
    pub committed_at: Option<OffsetDateTime>,
    /// What was taken and is not committed.
    pub in_hand: InHand,
    /// `ingest.memory`, in bytes.
    pub in_hand_limit_bytes: usize,
    /// What the broker said last of the queues.
    pub queue: Option<Queue>,
    /// What the database said last of the partitions.
    pub history: History,
    /// What became of canaries; none where none is sent.
    pub canary: Option<CanaryStatus>,
    /// How the ledger stands; none where it is off.
    pub ledger: Option<LedgerStatus>,
    /// Until when certificates are valid.
    pub certificates: Certificates,
    /// `retention.keep`, in seconds; none where everything is kept.
    pub retention_seconds: Option<u64>,
}

/// A stage of the pipeline that does not get on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// Which.
    pub stage: &'static str,
    /// For how long.
    pub seconds: u64,
}

/// What the broker said of the queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// When.
    #[serde(serialize_with = "utc")]
    pub at: OffsetDateTime,
    /// Messages in the daemon's queue that no consumer has.
    pub ready: u32,
    /// Consumers of it.
    pub consumers: u32,
    /// Messages in the dead-letter queue that no consumer has.
    pub dead_letters: u32,
}

impl From<Depths> for Queue {
    fn from(depths: Depths) -> Queue {
        let Depths { at, ready, consumers, dead_letters } = depths;
        Queue { at, ready, consumers, dead_letters }
    }
}

/// The partitions of the history, looked at every ten minutes; nothing before the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// Those that are parts of `audit.events`.
    pub attached: usize,
    /// Those that somebody detached.
    pub detached: usize,
    /// Those that are gone and should not be.
    pub missing: usize,
    /// Bytes of the tables.
    pub table_bytes: i64,
    /// Bytes of the indexes.
    pub index_bytes: i64,
    /// What the attached ones hold.
    pub span: Option<Span>,
    /// When they were looked after last with nothing in the way.
    #[serde(serialize_with = "perhaps_utc")]
    pub looked_after_at: Option<OffsetDateTime>,
}

/// What became of the canaries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CanaryStatus {
    /// `canary.every`, in seconds.
    pub every_seconds: f64,
    /// When one was seen as a row last; before the first one, when the daemon started.
    #[serde(serialize_with = "utc")]
    pub stored_at: OffsetDateTime,
    /// How long that one took, from before it was published.
    pub took_seconds: Option<f64>,
    /// Why the last one did not come back.
    pub missing: Option<String>,
}

impl CanaryStatus {
    pub(super) fn new(every: Duration) -> CanaryStatus {
        let every_seconds = every.as_secs_f64();
        CanaryStatus { every_seconds, stored_at: now(), took_seconds: None, missing: None }
    }

    pub(super) fn take(&mut self, outcome: &Result<Duration, Missing>) {
        match outcome {
            Ok(took) => {
                counter!(CANARIES, "outcome" => "stored").increment(1);
                histogram!(CANARY_LATENCY).record(took.as_secs_f64());
                self.stored_at = now();
                self.took_seconds = Some(took.as_secs_f64());
                self.missing = None;
            }
            Err(missing) => {
                counter!(CANARIES, "outcome" => missing.outcome()).increment(1);
                self.missing = Some(missing.to_string());
            }
        }
    }
}

/// Until when certificates are valid; none where there is no such certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Certificates {
    /// The broker's, as it was shown when the session was opened.
    #[serde(serialize_with = "perhaps_utc")]
    pub broker: Option<OffsetDateTime>,
    /// Our own towards the broker.
    #[serde(serialize_with = "perhaps_utc")]
    pub broker_client: Option<OffsetDateTime>,
    /// Our own towards PostgreSQL.
    #[serde(serialize_with = "perhaps_utc")]
    pub postgres_client: Option<OffsetDateTime>,
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its first instant.
    #[serde(serialize_with = "utc")]
    pub from: OffsetDateTime,
    /// The first instant after it.
    #[serde(serialize_with = "utc")]
    pub to: OffsetDateTime,
}

impl Status {
    /// What `ready` stands for, in lines for people.
    pub fn readiness(&self) -> String {
        let word = if self.ready { "ready" } else { "not ready" };
        let (state, since) = (self.state.as_str(), rfc3339(self.since));
        let mut text = format!("{word}: {state} since {since}: {}\n", self.cause);
        for (name, side) in [("broker", &self.broker), ("postgres", &self.postgres)] {
            let since = rfc3339(side.since);
            text.push_str(&match &side.cause {
                None => format!("{name}: can be used since {since}\n"),
                Some(cause) => format!("{name}: cannot be used since {since}: {cause}\n"),
            });
        }
        text.push_str(&self.late());
        text
    }

    /// Whether its loops turn, in a line for people.
    pub fn liveness(&self) -> Result<String, String> {
        match self.stuck {
            None => Ok("alive\n".to_owned()),
            Some(_) => Err(self.late()),
        }
    }

    fn late(&self) -> String {
        self.stuck.as_ref().map_or(String::new(), |Stuck { stage, seconds }| {
            format!("stuck: the stage {stage} has been at one thing for {seconds} s\n")
        })
    }
}

pub(super) fn utc<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*at))
}

pub(super) fn perhaps_utc<S: Serializer>(
    at: &Option<OffsetDateTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(rfc3339).serialize(serializer)
}

fn id<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn state<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}
