//! The pipeline: delivery → event → batch → commit → ack, one stage a file, joined by bounded channels.
//!
//! A pipeline lives as long as one session with the broker. Only the intake knows of the stop signal; every later
//! stage ends because its input ended, so that what is in hand commits and is acknowledged, in order.

mod acknowledge;
mod batch;
mod intake;
mod receipt;
#[cfg(test)]
mod tests;
mod verdict;
mod write;

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use batch::Limits;
pub use receipt::Tally;
pub use write::Stopped;

use crate::{
    backoff::Backoff,
    broker::{Acker, Source},
    event::Envelope,
    store::Append,
};

/// What a pipeline is told to do with deliveries.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where an event's fields stand in a delivery.
    pub envelope: Arc<Envelope>,
    /// Whether to reject what the envelope does not expect, instead of storing it with a flag.
    pub dead_letter_malformed: bool,
    /// Bytes of a body beyond which it is rejected.
    pub max_body: usize,
    /// Bounds of a batch.
    pub limits: Limits,
    /// Waits between attempts while the database is away.
    pub backoff: Backoff,
    /// Deliveries after which a pipeline ends by itself, as if it were told to stop; without it, none does.
    pub take: Option<u64>,
}

/// How a pipeline ended.
#[derive(Debug)]
pub enum Ended {
    /// The stop signal came, or [`Rules::take`] was reached; everything in hand is committed and acknowledged.
    Drained,
    /// The session with the broker ended, for this reason.
    SessionLost(String),
    /// The database wants mending.
    Stopped(Stopped),
    /// The hard stop came with work unfinished; it stays with the broker.
    Aborted,
    /// A stage died; its name and last words.
    Died(String),
}

/// How one stage ended.
enum Stage<W> {
    Intake(intake::Ended),
    Write(Box<W>, Result<(), Stopped>),
    Acknowledge(Result<(), String>),
}

/// Runs until the session ends or `soft` is cancelled and everything in hand is done; `hard` ends it at once.
///
/// Gives the writer back, for the next session, unless it was in the middle of something.
pub async fn run<S, A, W>(
    source: S,
    acker: A,
    writer: W,
    rules: Rules,
    tally: Arc<Tally>,
    soft: CancellationToken,
    hard: CancellationToken,
) -> (Option<W>, Ended)
where
    S: Source + 'static,
    A: Acker + 'static,
    W: Append + 'static,
{
    // What waits between the stages is part of what the prefetch allows; these bounds only keep a stage from
    // running further ahead than one batch.
    let (events, arrived) = mpsc::channel(rules.limits.events);
    let (receipts, issued) = mpsc::channel(64);
    let lost = source.ended();

    let mut stages = JoinSet::new();
    let intake = intake::run(source, Arc::clone(&rules.envelope), rules.take, events, soft);
    let acknowledge = acknowledge::run(acker, issued);
    let lost_to_writer = lost.clone();
    let write = async move {
        let mut writer = Box::new(writer);
        let end =
            write::run(writer.as_mut(), arrived, receipts, &rules, &tally, lost_to_writer).await;
        Stage::Write(writer, end)
    };
    let names = [
        (stages.spawn(async { Stage::Intake(intake.await) }).id(), "intake"),
        (stages.spawn(async { Stage::Acknowledge(acknowledge.await) }).id(), "acknowledge"),
        (stages.spawn(write).id(), "write"),
    ];

    let mut kept = None;
    let mut intake = None;
    let mut write = Ok(());
    let mut acknowledge = Ok(());
    let mut died = None;
    loop {
        let joined = tokio::select! {
            biased;
            () = hard.cancelled() => {
                stages.shutdown().await;
                return (None, Ended::Aborted);
            }
            joined = stages.join_next() => joined,
        };
        match joined {
            Some(Ok(Stage::Intake(end))) => intake = Some(end),
            Some(Ok(Stage::Write(writer, end))) => (kept, write) = (Some(*writer), end),
            Some(Ok(Stage::Acknowledge(end))) => acknowledge = end,
            // Stages that end because this one died seem to end well; so it outranks them below.
            Some(Err(error)) => {
                let name =
                    names.iter().find(|(id, _)| *id == error.id()).map_or("?", |(_, name)| name);
                died = Some(format!("the {name} stage of the pipeline died: {error}"));
            }
            None => break,
        }
    }
    let ended = match (died, write, acknowledge, intake) {
        (Some(error), ..) => Ended::Died(error),
        (None, Err(stopped), ..) => Ended::Stopped(stopped),
        (None, Ok(()), Err(reason), _) => Ended::SessionLost(reason),
        (None, Ok(()), Ok(()), Some(intake::Ended::Stopped)) => Ended::Drained,
        (None, Ok(()), Ok(()), Some(intake::Ended::Lost(reason))) => Ended::SessionLost(reason),
        (None, Ok(()), Ok(()), Some(intake::Ended::Unread(reason))) if lost.is_cancelled() => {
            Ended::SessionLost(reason)
        }
        (None, Ok(()), Ok(()), Some(intake::Ended::Unread(_)) | None) => {
            Ended::Died("the write stage of the pipeline ended before its input".to_owned())
        }
    };
    (kept, ended)
}
