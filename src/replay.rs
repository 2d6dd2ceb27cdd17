//! Replay: events of the history, published again.
//!
//! In the order of their arrival, each with its own body and properties, and with headers that say what it is. An event is
//! settled when the broker has answered, and the replay is known to have come as far as the last event before which all
//! are settled. No more than [`WINDOW`] events are published beyond what is noted of that, so a process that is killed
//! leaves no more than those to be published twice, and none is left out.

mod alarms;
mod carried;
mod keep;
mod ledger;
mod outgoing;
mod pace;
mod patience;
mod publish;
mod report;
mod select;
mod session;
mod settle;
mod slowness;
mod target;

use std::{io, time::Duration};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    keep::{Note, keep},
    ledger::Ledger,
    select::Rooms,
    session::Sessions,
};
use crate::{
    broker,
    signals::Stop,
    store::{self, Arrivals, Progress, ReadError, ReplayLog, ReplayState},
};

pub use alarms::say_alarms;
pub use outgoing::{LeftOut, Outgoing, Rules};
pub use pace::{Pace, Pacer};
pub use patience::Patience;
pub use report::Report;
pub use select::{Selected, WINDOW};
pub use session::open;
pub use target::{Target, To};

/// How long it is tried to note how it ended.
const LAST_NOTE: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// Which events; where to begin among them, and how many, is told by the others.
    pub arrivals: Arrivals,
    /// At most so many events, from the first one on.
    pub most: Option<i64>,
    /// Where they go.
    pub target: Target,
    /// How fast.
    pub pace: Pace,
    /// How far it has come already.
    pub progress: Progress,
}

/// Between what.
#[derive(Debug, Clone)]
pub struct Places {
    /// The history.
    pub store: store::Settings,
    /// How long PostgreSQL may take for the next event.
    pub read_timeout: Duration,
    /// The broker; of its topology nothing is needed.
    pub broker: broker::Settings,
    /// How long either may be away.
    pub patience: Duration,
}

/// Somebody who looks on.
pub trait Watcher {
    /// It has come that far. Called now and then.
    fn settled(&self, progress: &Progress);

    /// Something happened that whoever looks on may want to know, in words.
    fn say(&self, words: &str);

    /// Confirms take much longer than before, so that it goes on with one event at a time; or that is over.
    fn slow(&self, slow: bool);

    /// A message was published without these.
    fn left_out(&self, left_out: LeftOut);
}

/// Why a replay cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The events cannot be read.
    #[error("{0}")]
    Read(ReadError),
    /// How far it has come cannot be noted.
    #[error("{0}")]
    Store(store::Fault),
    /// The broker is away, or refuses.
    #[error("{0}")]
    Broker(broker::Fault),
    /// Another process works on it.
    #[error("another process has taken this replay up")]
    TakenOver,
    /// What is in no queue cannot be reported.
    #[error("the report cannot be written: {0}")]
    Report(io::Error),
    /// There was no time left to note how far it has come.
    #[error("a second signal came before it was noted")]
    CutShort,
}

/// How a piece of work ended, such as a replay.
#[derive(Debug)]
pub enum Ended<F = Failure> {
    /// All that was meant is settled.
    Finished,
    /// It was told to stop; all that was under way is settled.
    Stopped,
    /// It was told to stop at once.
    CutShort,
    /// It cannot go on.
    Failed(F),
}

/// What a replay has done.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// How far it has come.
    pub progress: Progress,
    /// Why that is not on record, where it is not: then the record is a little behind.
    pub unnoted: Option<Failure>,
}

/// Replays, until each event is settled or until it is told to stop. Then that is on record, unless it was told to stop at
/// once.
pub async fn run(
    job: &Job,
    places: &Places,
    mut log: ReplayLog,
    mut report: Report,
    stop: &Stop,
    watcher: &impl Watcher,
) -> Outcome {
    let ledger = Ledger::new(job.progress);
    let rooms = Rooms::new();
    let (halt, over) = (stop.soft.child_token(), CancellationToken::new());
    let sessions = Sessions {
        job,
        places,
        ledger: &ledger,
        rooms: &rooms,
        report: &mut report,
        stop: &halt,
        watcher,
    };
    let publishing = async {
        let outcome = sessions.run().await;
        over.cancel();
        outcome
    };
    let keeping = async {
        let kept = keep(&mut log, places, &ledger, &over, watcher).await;
        // What cannot be noted is not to be published.
        halt.cancel();
        kept
    };
    let stopping = async {
        stop.soft.cancelled().await;
        watcher.say("stopping when the broker has answered what is on its way; Ctrl-C once more does not wait for it");
        std::future::pending().await
    };
    let work = async {
        tokio::select! {
            work = async { tokio::join!(publishing, keeping) } => work,
            never = stopping => never,
        }
    };
    let (published, kept) = tokio::select! {
        biased;
        () = stop.hard.cancelled() => {
            let (progress, unnoted) = (ledger.progress(), Some(Failure::CutShort));
            return Outcome { ended: Ended::CutShort, progress, unnoted };
        }
        work = work => work,
    };
    let progress = ledger.progress();
    watcher.settled(&progress);
    let ended = match (published, kept) {
        (_, Err(failure)) | (Err(failure), _) => Ended::Failed(failure),
        (Ok(true), Ok(())) => Ended::Finished,
        (Ok(false), Ok(())) => Ended::Stopped,
    };
    let (state, cause) = match &ended {
        Ended::Finished => (ReplayState::Finished, None),
        Ended::Stopped | Ended::CutShort => (ReplayState::Stopped, None),
        Ended::Failed(failure) => (ReplayState::Failed, Some(failure.to_string())),
    };
    let note = Note { progress: &progress, state, cause: cause.as_deref() };
    let unnoted = match &ended {
        Ended::Failed(Failure::TakenOver) => None,
        _ => match note.write(&mut log, places, LAST_NOTE, &stop.hard, watcher).await {
            Ok(true) => None,
            Ok(false) => Some(Failure::CutShort),
            Err(failure) => Some(failure),
        },
    };
    log.close().await;
    Outcome { ended, progress, unnoted }
}
