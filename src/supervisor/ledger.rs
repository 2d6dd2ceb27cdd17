//! How the ledger stands, as the status has it.

use metrics::counter;
use serde::Serialize;
use time::OffsetDateTime;

use super::{Notary, status::perhaps_utc};
use crate::{
    event::now,
    measures::LEDGER_EXPORTS,
    store::{LedgerState, Reach},
};

/// How the ledger stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LedgerStatus {
    /// `ledger.seal_every`, in seconds.
    pub seal_every_seconds: f64,
    /// The tree, from 1 on; 0 before it was looked at first.
    pub epoch: i32,
    /// The leaves of the tree.
    pub leaves: i64,
    /// What the database has lost, so that nothing is sealed before a new epoch is begun.
    pub halted: Option<String>,
    /// Since when there has been a batch that is not sealed.
    #[serde(serialize_with = "perhaps_utc")]
    pub unsealed_since: Option<OffsetDateTime>,
    /// `ledger.export_within`, in seconds.
    pub export_within_seconds: f64,
    /// Since when there has been a seal of which no checkpoint is outside; it matters where there are sinks.
    #[serde(serialize_with = "perhaps_utc")]
    pub unexported_since: Option<OffsetDateTime>,
    /// Where checkpoints go.
    pub sinks: Vec<SinkStatus>,
}

/// How one of the places fares where checkpoints go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SinkStatus {
    /// file, log, exchange or webhook.
    pub sink: &'static str,
    /// The epoch of the checkpoint that it took last, of this run.
    pub epoch: Option<i32>,
    /// The leaves of which that one speaks.
    pub leaves: Option<i64>,
    /// When it took it.
    #[serde(serialize_with = "perhaps_utc")]
    pub taken_at: Option<OffsetDateTime>,
    /// Why it does not take one now.
    pub cause: Option<String>,
}

impl LedgerStatus {
    pub(super) const OUTCOMES: [&str; 2] = ["taken", "refused"];

    pub(super) fn new(notary: &Notary) -> LedgerStatus {
        let sink = |name| SinkStatus {
            sink: name,
            epoch: None,
            leaves: None,
            taken_at: None,
            cause: None,
        };
        LedgerStatus {
            seal_every_seconds: notary.seal_every.as_secs_f64(),
            epoch: 0,
            leaves: 0,
            halted: None,
            unsealed_since: None,
            export_within_seconds: notary.export_within.as_secs_f64(),
            unexported_since: None,
            sinks: notary.places.iter().map(|place| sink(place.name())).collect(),
        }
    }

    pub(super) fn look(&mut self, state: &LedgerState) {
        self.epoch = state.sealed.epoch;
        self.leaves = state.sealed.size;
        self.unsealed_since = state.unsealed_for.map(|age| now() - age);
        self.unexported_since = state.unexported_for.map(|age| now() - age);
    }

    pub(super) fn exported(&mut self, place: usize, outcome: Result<Reach, &str>) {
        let Some(sink) = self.sinks.get_mut(place) else { return };
        let [taken, refused] = LedgerStatus::OUTCOMES;
        let word = if outcome.is_ok() { taken } else { refused };
        counter!(LEDGER_EXPORTS, "sink" => sink.sink, "outcome" => word).increment(1);
        match outcome {
            Ok(Reach { epoch, size }) => {
                *sink = SinkStatus {
                    sink: sink.sink,
                    epoch: Some(epoch),
                    leaves: Some(size),
                    taken_at: Some(now()),
                    cause: None,
                }
            }
            Err(why) => sink.cause = Some(why.to_owned()),
        }
    }
}
