//! Settle: what becomes of one batch, whatever PostgreSQL says to it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Pulse, Rules,
    pulse::Stage,
    verdict::{Verdict, verdict},
    write::Ended,
};
use crate::{
    backoff::Backoff,
    event::{Reason, Rejection, now},
    store::{Append, Batch, Commit, Entry, Fault},
};

/// What became of a batch.
pub(super) enum Settled {
    Committed {
        batch: Batch,
        commit: Commit,
        /// How long the attempt took that succeeded.
        took: Duration,
    },
    /// It cannot be committed as it is; these make it up, in order, each to be tried by itself.
    Split(Vec<Batch>),
    /// It is no longer wanted.
    Unstored(Ended),
}

/// Tries until the batch is committed, has to be split, or is no longer wanted.
/// `numbered` is cancelled as soon as its events have their numbers.
pub(super) async fn settle(
    writer: &mut impl Append,
    mut batch: Batch,
    numbered: &CancellationToken,
    rules: &Rules,
    pulse: &Pulse,
    lost: &CancellationToken,
) -> Result<Settled, Fault> {
    let mut backoff = rules.backoff.clone();
    loop {
        let begun = Instant::now();
        let attempted = attempt(writer, &mut batch, numbered).await;
        pulse.beat(Stage::Write);
        let fault = match attempted {
            Ok(attempt) => {
                if let Some((attempts, time)) = backoff.reset() {
                    let after = humantime::format_duration(time);
                    info!(%after, attempts, "PostgreSQL is back: events are stored again");
                }
                return Ok(match attempt {
                    Attempt::Committed(commit) => {
                        Settled::Committed { batch, commit, took: begun.elapsed() }
                    }
                    Attempt::Spans { first_part } => {
                        Settled::Split(batch.split_at(first_part).into())
                    }
                });
            }
            Err(fault) => fault,
        };
        writer.failed(&fault);
        match verdict(fault.kind) {
            Verdict::Retry if too_much(&fault, &batch, &backoff) => {
                let middle = batch.entries().len() / 2;
                return Ok(Settled::Split(batch.split_at(middle).into()));
            }
            Verdict::Retry if held_for(&batch) > rules.hold => {
                return Ok(Settled::Unstored(Ended::Held(batch)));
            }
            Verdict::Retry => {
                let delay = backoff.next_delay();
                warn!(
                    cause = %fault,
                    attempt = backoff.attempts(),
                    retry_in = %humantime::format_duration(delay),
                    waiting = batch.entries().len(),
                    "PostgreSQL cannot store: the batch is tried again, nothing is lost"
                );
                pulse.pause(Stage::Write, delay);
                tokio::select! {
                    biased;
                    () = lost.cancelled() => return Ok(Settled::Unstored(Ended::Abandoned(batch))),
                    () = tokio::time::sleep(delay) => pulse.beat(Stage::Write),
                }
            }
            Verdict::Isolate => return isolate(batch, fault).map(Settled::Split),
            Verdict::Stop => return Err(fault),
        }
    }
}

/// Whether it has failed so often by its size that two halves have a better chance.
fn too_much(fault: &Fault, batch: &Batch, backoff: &Backoff) -> bool {
    fault.may_be_size()
        && backoff.attempts() >= 2
        && batch.entries().len() > 1
        && !batch.is_in_doubt()
}

/// How long its first delivery has been in hand, which is the oldest of all.
fn held_for(batch: &Batch) -> Duration {
    let first = batch.entries().first().map(|entry| entry.delivery().received_at);
    // Where the clock was set back it is held a little longer, which is the broker's to end.
    first.map_or(Duration::ZERO, |first| (now() - first).try_into().unwrap_or_default())
}

pub(super) enum Attempt {
    Committed(Commit),
    /// The batch spans partitions; so many entries belong into the first.
    Spans {
        first_part: usize,
    },
}

pub(super) async fn attempt(
    writer: &mut impl Append,
    batch: &mut Batch,
    numbered: &CancellationToken,
) -> Result<Attempt, Fault> {
    writer.number(batch).await?;
    numbered.cancel();
    if let Some(first) = batch.entries().first() {
        let span = writer.span(first.delivery().received_at).await?;
        let fits = |entry: &Entry| span.contains(entry.delivery().received_at);
        if let Some(first_part) = batch.entries().iter().position(|entry| !fits(entry)) {
            return Ok(Attempt::Spans { first_part });
        }
    }
    writer.append(batch).await.map(Attempt::Committed)
}

/// Halves a refused batch; an event alone is turned into a rejection.
fn isolate(batch: Batch, fault: Fault) -> Result<Vec<Batch>, Fault> {
    if batch.entries().len() > 1 {
        let middle = batch.entries().len() / 2;
        return Ok(batch.split_at(middle).into());
    }
    match batch.into_entries().pop() {
        Some(Entry::Event(event)) => {
            warn!(
                cause = %fault,
                routing_key = event.delivery.routing_key,
                message_id = event.delivery.properties.message_id,
                "the database refuses this event: it goes to the dead-letter queue"
            );
            let reason = Reason::Refused {
                sqlstate: fault.sqlstate.unwrap_or_default(),
                message: fault.message,
            };
            Ok(vec![Batch::new(vec![Entry::Rejection(Rejection { event, reason })])])
        }
        // Without its reason recorded it must not leave the queue.
        Some(Entry::Rejection(_)) => Err(fault),
        None => Ok(Vec::new()),
    }
}
