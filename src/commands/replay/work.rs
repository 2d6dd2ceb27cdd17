//! A replay at work: who looks on, what stops it, and what it came to.

use anyhow::Context as _;
use uuid::Uuid;

use super::{Options, Status, look_on::LookOn, say, summary::Summary};
use crate::{
    commands::access::{Noted, Purpose},
    config::Config,
    replay::{self, Ended, Job, Outcome, Places, Report},
    signals::{Listener, Stop},
    store::ReplayLog,
};

/// A replay that is on record, and what it takes to work on it.
pub struct Begun {
    pub job: Job,
    pub matched: i64,
    pub log: ReplayLog,
    pub report: Report,
    pub noted: Noted,
    pub signals: (Stop, Listener),
}

impl Options {
    /// Works on it until it ends, and says how it did.
    pub async fn work(&self, places: &Places, begun: Begun) -> anyhow::Result<Status> {
        let Begun { job, matched, log, report, noted, signals: (stop, listener) } = begun;
        let look_on = LookOn::new(matched, job.progress.settled());
        look_on.begins(&job);
        let outcome = replay::run(&job, places, log, report, &stop, &look_on).await;
        drop(listener);
        let left_out = look_on.end();
        let Outcome { ended, progress, unnoted } = &outcome;
        if let Some(failure) = unnoted {
            say(&format!(
                "how far it has come is not on record, so that --resume may publish up to {} events again, and the record may \
                 say that it still runs: {failure}",
                replay::WINDOW
            ));
        }
        let settled = progress.settled() - job.progress.settled();
        if let Err(error) = noted.end(u64::try_from(settled).unwrap_or_default()).await {
            say(&format!("{error:#}"));
        }
        let summary = Summary {
            job: &job,
            outcome: &outcome,
            matched,
            left_out,
            report: self.report.as_deref(),
        };
        let status = match ended {
            Ended::Finished if progress.undelivered() > 0 || summary.gone() > 0 => {
                Status::Undelivered
            }
            Ended::Finished => Status::Done,
            Ended::Stopped | Ended::CutShort => Status::Stopped,
            Ended::Failed(failure) => {
                say(&failure.to_string());
                match failure {
                    replay::Failure::Report(_) => Status::Unreported,
                    _ => Status::Unavailable,
                }
            }
        };
        Ok(status.told(summary.write(self.json))?)
    }
}

/// Hears signals from now on.
pub fn listens() -> anyhow::Result<(Stop, Listener)> {
    let stop = Stop::new();
    let listener = Listener::start(stop.clone(), || {}, || {}).context("handling signals")?;
    Ok((stop, listener))
}

/// Leaves a row in the access log, as events leave the history.
pub async fn noted(
    config: &Config,
    command: &str,
    id: Uuid,
    mut filter: serde_json::Map<String, serde_json::Value>,
) -> anyhow::Result<Noted> {
    filter.insert("replay".to_owned(), id.to_string().into());
    Noted::begin(config, Purpose::Export, command, filter).await
}
