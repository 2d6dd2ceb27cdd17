//! The supervisor: one pipeline after the other, a new one for each session with the broker, until told to stop.

mod beside;
mod board;
mod canary;
mod coverage;
mod exporting;
mod ledger;
mod measured;
mod past;
mod report;
mod sealing;
mod sessions;
mod sides;
mod status;
mod unparsable;
mod unsealed;
mod upkeep;

use std::{fmt::Display, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    backoff::Backoff,
    broker,
    event::now,
    pipeline::Rules,
    service_manager::ServiceManager,
    signals::Stop,
    store::{self, MigrationError, Run},
};
pub use board::Board;
pub use canary::Flights;
use coverage::Keeper;
pub use exporting::Notary;
pub use ledger::{LedgerStatus, SinkStatus};
use sealing::Sealer;
use sessions::Sessions;
pub use sides::Usable;
pub use status::{History, Queue, Span, Status, Stuck};
use upkeep::Upkeep;

/// Everything the daemon is told to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The broker.
    pub broker: broker::Settings,
    /// The database.
    pub store: store::Settings,
    /// Which daemon this is, for whoever asks when it was listening.
    pub instance: String,
    /// For how long history is kept; for ever where there is no end. What it changes to counts from then on.
    pub keep: watch::Receiver<Option<Duration>>,
    /// Whether to apply missing migrations at the start.
    pub migrate: bool,
    /// What to do with deliveries.
    pub rules: Rules,
    /// How often a canary is sent; none where none is.
    pub canary: Option<Flights>,
    /// When to seal, and where checkpoints go; nothing is sealed where the ledger is off.
    pub notary: Option<Notary>,
    /// How long a stop may take before it becomes a hard one.
    pub grace: Duration,
}

/// How the daemon ended without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Everything in hand was committed and acknowledged.
    Clean,
    /// A second signal, the end of the grace period or an outage cut it short; what was in hand stays with the broker.
    CutShort,
}

/// Why the daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What exists on the broker is not what the configuration asks for.
    #[error("{0}")]
    Broker(broker::Fault),
    /// The database wants mending before events can be stored.
    #[error("events cannot be stored: {0}")]
    Store(store::Fault),
    /// The schema is not what this program needs.
    #[error(transparent)]
    Schema(#[from] MigrationError),
    /// The schema lacks steps, and nobody asked to apply them.
    #[error(
        "the schema lacks {0} migration(s): run `bloodbank-audit migrate`, or set postgres.migrate = true"
    )]
    Unmigrated(usize),
    /// A part of the daemon died.
    #[error("{0}")]
    Died(String),
}

/// Runs until told to stop, or until somebody has to mend something.
///
/// # Errors
/// A [`Failure`]; what was not acknowledged stays with the broker.
pub async fn run(
    settings: Settings,
    stop: Stop,
    manager: &ServiceManager,
    board: &Board,
) -> Result<Finished, Failure> {
    let grace = end_of_grace(stop.clone(), settings.grace);
    let coverage = board.coverage();
    let keeper = Keeper::new(&settings.store, board, &settings.rules.backoff);
    let serve = async {
        let result = tokio::select! {
            result = serve(&settings, &stop, board) => result,
            never = grace => match never {},
        };
        coverage.end(why(&result));
        result
    };
    let upkeep = Upkeep::new(&settings.store, settings.keep.clone());
    let report = report::report(manager, &settings, coverage, board.pulse(), &stop);
    let canaries = async {
        if let Some(flights) = &settings.canary {
            canary::Sender::new(&settings, flights).send_all(board).await;
        }
    };
    let cover = settings.rules.ack.cover();
    let sealed = CancellationToken::new();
    let sealing = async {
        let _sealed = sealed.clone().drop_guard();
        if let Some(notary) = &settings.notary {
            Sealer::new(&settings.store, notary, cover).seal_all(board, &stop.hard).await;
        }
    };
    let exporting = async {
        if let Some(notary) = &settings.notary {
            exporting::export_all(&settings, notary, board, &sealed, &stop.hard).await;
        }
    };
    let keep = keeper.keep(&stop.hard);
    let (result, (), (), (), (), (), ()) =
        tokio::join!(serve, keep, upkeep.keep_up(board), report, canaries, sealing, exporting);
    let counts = board.tally().counts();
    info!(
        events = counts.events,
        conflicts = counts.conflicts,
        duplicates = counts.duplicates,
        replays = counts.replays,
        rejections = counts.rejections,
        unparsable = counts.unparsable,
        "stopped"
    );
    result
}

/// How long who adds to what is recorded leaves the first connections to who records.
const FIRST: Duration = Duration::from_secs(10);

/// Waits until the schema is there and events are recorded; or not much longer, where none can be. Connections may be few.
async fn after_the_writer(board: &Board) {
    board.coverage().writable().await;
    tokio::select! {
        () = board.coverage().recording() => {}
        () = tokio::time::sleep(FIRST) => {}
    }
}

fn this_run(settings: &Settings) -> Run {
    let topology = &settings.broker.topology;
    Run {
        id: Uuid::now_v7(),
        instance: settings.instance.clone(),
        exchange: topology.exchange.clone(),
        queue: topology.queue.clone(),
        started_at: now(),
    }
}

fn why(result: &Result<Finished, Failure>) -> String {
    match result {
        Ok(Finished::Clean) => "told to stop".to_owned(),
        Ok(Finished::CutShort) => "told to stop, and cut short".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// Turns a soft stop into a hard one when it takes too long.
async fn end_of_grace(stop: Stop, grace: Duration) -> std::convert::Infallible {
    stop.soft.cancelled().await;
    tokio::select! {
        () = tokio::time::sleep(grace) => {
            warn!(grace = %humantime::format_duration(grace), "the grace period is over: what is not acknowledged stays with the broker");
            stop.hard.cancel();
        }
        () = stop.hard.cancelled() => {}
    }
    std::future::pending().await
}

async fn serve(settings: &Settings, stop: &Stop, board: &Board) -> Result<Finished, Failure> {
    if !bring_schema_up_to_date(settings, stop, board).await? {
        return Ok(Finished::Clean);
    }
    board.coverage().can_be_written();
    let finished = Sessions::new(settings, stop, board).run().await?;
    Ok(if finished { Finished::Clean } else { Finished::CutShort })
}

/// Waits for the database, and applies or demands what its schema lacks. False where told to stop meanwhile.
async fn bring_schema_up_to_date(
    settings: &Settings,
    stop: &Stop,
    board: &Board,
) -> Result<bool, Failure> {
    let mut backoff = settings.rules.backoff.clone();
    loop {
        let checked = tokio::select! {
            biased;
            () = stop.soft.cancelled() => return Ok(false),
            checked = check_schema(settings) => checked,
        };
        match checked {
            Ok(()) => return Ok(true),
            // Only what time mends is worth waiting for; a wrong password would be tried for ever, unseen.
            Err(Failure::Schema(MigrationError::Fault(fault)))
                if fault.kind == store::Kind::Unavailable =>
            {
                board.postgres_away(&fault);
                if !pause(&mut backoff, stop, &fault, "PostgreSQL cannot be used").await {
                    return Ok(false);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn check_schema(settings: &Settings) -> Result<(), Failure> {
    if settings.migrate {
        for step in store::migrate(&settings.store).await? {
            info!(version = step.version, description = step.description, "migrated the schema");
        }
        return Ok(());
    }
    match store::pending(&settings.store).await?.len() {
        0 => Ok(()),
        missing => Err(Failure::Unmigrated(missing)),
    }
}

/// Says what failed, and waits before the next attempt. False where told to stop meanwhile.
async fn pause(backoff: &mut Backoff, stop: &Stop, cause: &dyn Display, what: &str) -> bool {
    let delay = backoff.next_delay();
    let retry_in = humantime::format_duration(delay);
    warn!(%cause, attempt = backoff.attempts(), %retry_in, "{what}");
    tokio::select! {
        biased;
        () = stop.soft.cancelled() => false,
        () = tokio::time::sleep(delay) => true,
    }
}
