//! The pipeline: delivery → event → batch → commit → ack, one stage a file, joined by bounded channels. Where an ack has to wait
//! for more than the commit, a stage between the two holds it.
//!
//! A pipeline lives as long as one session with the broker. Only the intake knows of the stop signal; every later
//! stage ends because its input ended, so that what is in hand commits and is acknowledged, in order.

mod acknowledge;
mod batch;
mod cover;
mod hand;
mod hold;
mod intake;
mod order;
mod pulse;
mod receipt;
mod settle;
mod tally;
#[cfg(test)]
mod tests;
mod timings;
mod verdict;
mod window;
mod write;

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use batch::Limits;
pub use cover::{Cover, Wanted};
pub use pulse::Pulse;
pub use tally::{Counts, InHand, Tally};
pub use window::{Bounds, Window};

use crate::{
    backoff::Backoff,
    broker::{Acker, Source},
    event::Envelope,
    store::{Append, Batch, Fault},
};
use hand::Hand;
use hold::Hold;
use intake::Intake;
use timings::Timings;
use write::Write;

/// What a pipeline is told to do with deliveries.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The daemon's own queue: dead letters that are sent back go to it alone.
    pub queue: String,
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
    /// Bounds of what is in hand.
    pub bounds: Bounds,
    /// How long a delivery may be held while it cannot be stored, or acknowledged, before all in hand goes back to the queue.
    pub hold: Duration,
    /// When a delivery is acknowledged.
    pub ack: Ack,
}

/// When a delivery is acknowledged.
#[derive(Debug, Clone)]
pub enum Ack {
    /// When it is committed.
    Committed,
    /// When it is in a signed checkpoint outside of the database besides, as whoever hands those out says here.
    Sealed(Arc<Cover>),
}

impl Ack {
    /// What says what may be acknowledged, where a commit is not enough.
    pub fn cover(&self) -> Option<&Cover> {
        match self {
            Ack::Committed => None,
            Ack::Sealed(cover) => Some(cover),
        }
    }
}

/// How a pipeline ended, and what it leaves for the next one.
pub struct Outcome<W> {
    /// Unless it was in the middle of something.
    pub writer: Option<W>,
    /// As wide as it was at the end.
    pub window: Option<Window>,
    /// Deliveries that were in hand, and may come again.
    pub in_hand: usize,
    /// The batch that could not be stored, if the pipeline ended over one. What it holds went back to the queue.
    pub unstored: Option<Batch>,
    /// Why it ended.
    pub ended: Ended,
}

/// How a pipeline ended.
#[derive(Debug)]
pub enum Ended {
    /// The stop signal came; everything in hand is committed and acknowledged.
    Drained,
    /// The session with the broker ended, for this reason.
    SessionLost(String),
    /// More came than [`Bounds::bytes`] allows. What there was room for is committed and acknowledged; the rest has to
    /// go back.
    Overfull,
    /// Nothing could be stored for [`Rules::hold`]: what is in hand has to go back.
    Held,
    /// What was committed was in no checkpoint outside for [`Rules::hold`]: what is in hand has to go back.
    Unsealed,
    /// The database has lost what it had committed: what is in hand has to go back, and to be stored again.
    Gone,
    /// The database wants mending.
    Stopped(Fault),
    /// The hard stop came with work unfinished; it stays with the broker.
    Aborted,
    /// A stage died; its name and last words.
    Died(String),
}

impl Ended {
    /// Why a session counts as lost that nobody knows more of.
    pub(crate) const UNTOLD: &str = "the session ended before everything was acknowledged";
}

/// How one stage ended.
enum Stage<W> {
    Intake(Window, intake::Ended),
    Write(Box<W>, Result<write::Ended, Fault>),
    Hold(hold::Ended),
    Acknowledge(Result<(), String>),
}

/// Runs until the session ends or `soft` is cancelled and everything in hand is done; `hard` ends it at once.
#[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
pub async fn run<S, A, W>(
    source: S,
    acker: A,
    writer: W,
    window: Window,
    rules: Rules,
    tally: Arc<Tally>,
    pulse: Arc<Pulse>,
    soft: CancellationToken,
    hard: CancellationToken,
) -> Outcome<W>
where
    S: Source + 'static,
    A: Acker + 'static,
    W: Append + 'static,
{
    // What waits between the stages is part of what is in hand. There is room for all of it, so that the intake never
    // waits: twice the prefetch, since a window that opens leaves what was handed out before beside it.
    let (deliveries, arrived) = mpsc::channel(2 * usize::from(rules.bounds.deliveries));
    let (receipts, issued) = mpsc::channel(64);
    let lost = source.ended();
    let hand = Arc::new(Hand::default());
    tally.follow(&hand, window.width());
    let _rest = pulse::Rest(&pulse);

    let mut stages = JoinSet::new();
    let (bounds, taken, left) = (rules.bounds, Arc::clone(&hand), Arc::clone(&hand));
    let intake = Intake {
        source,
        window,
        bounds,
        hand: taken,
        tally: Arc::clone(&tally),
        pulse: Arc::clone(&pulse),
        deliveries,
        stop: soft,
    };
    // Where held receipts are given up, nobody wants others.
    let (given_up, unwanted) = (CancellationToken::new(), lost.child_token());
    let (issued, hold) = match &rules.ack {
        Ack::Committed => (issued, None),
        Ack::Sealed(cover) => {
            let (covered, to_acknowledge) = mpsc::channel(64);
            let (cover, hand) = (Arc::clone(cover), Arc::clone(&hand));
            let hold = Hold { cover, hand, limit: rules.hold, covered, lost: lost.clone() };
            let guards = (given_up.clone().drop_guard(), unwanted.clone().drop_guard());
            let hold = async move {
                let _guards = guards;
                Stage::Hold(hold.run(issued).await)
            };
            (to_acknowledge, Some(hold))
        }
    };
    let acknowledge = acknowledge::run(acker, issued, Arc::clone(&pulse), lost.clone());
    let pulse_of_writer = Arc::clone(&pulse);
    let write = async move {
        let stage = Write {
            receipts,
            rules: &rules,
            hand: &hand,
            tally: &tally,
            timings: Timings::default(),
            pulse: &pulse_of_writer,
            lost: unwanted,
            given_up,
        };
        let (writer, end) = stage.run(writer, arrived).await;
        Stage::Write(Box::new(writer), end)
    };
    let intake = async {
        let (window, end) = intake.run().await;
        Stage::Intake(window, end)
    };
    let acknowledge = async { Stage::Acknowledge(acknowledge.await) };
    let mut names = vec![
        (stages.spawn(intake.in_current_span()).id(), "intake"),
        (stages.spawn(acknowledge.in_current_span()).id(), "acknowledge"),
        (stages.spawn(write.in_current_span()).id(), "write"),
    ];
    if let Some(hold) = hold {
        names.push((stages.spawn(hold.in_current_span()).id(), "hold"));
    }

    let mut outcome =
        Outcome { writer: None, window: None, in_hand: 0, unstored: None, ended: Ended::Aborted };
    let mut intake = None;
    let mut write = Ok(write::Ended::Done);
    let mut acknowledge = Ok(());
    let mut held = hold::Ended::Done;
    let mut died = None;
    loop {
        let joined = tokio::select! {
            biased;
            () = hard.cancelled() => {
                stages.shutdown().await;
                return outcome;
            }
            joined = stages.join_next() => joined,
        };
        match joined {
            Some(Ok(Stage::Intake(window, end))) => {
                (outcome.window, intake) = (Some(window), Some(end));
            }
            Some(Ok(Stage::Write(writer, end))) => (outcome.writer, write) = (Some(*writer), end),
            Some(Ok(Stage::Hold(end))) => held = end,
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
    outcome.in_hand = left.may_come_again();
    let write = match write {
        Ok(write::Ended::Done) => Ok(None),
        Ok(write::Ended::Abandoned(batch)) => {
            outcome.unstored = Some(batch);
            Ok(None)
        }
        Ok(write::Ended::Held(batch)) => {
            outcome.unstored = Some(batch);
            Ok(Some(Ended::Held))
        }
        Err(fault) => Err(fault),
    };
    outcome.ended = match (died, write, acknowledge, intake) {
        (Some(error), ..) => Ended::Died(error),
        (None, Err(fault), ..) => Ended::Stopped(fault),
        (None, Ok(Some(held)), ..) => held,
        (None, Ok(None), Ok(()), _) if held == hold::Ended::Overdue => Ended::Unsealed,
        (None, Ok(None), Ok(()), _) if held == hold::Ended::Gone => Ended::Gone,
        (None, Ok(None), _, Some(intake::Ended::Lost(reason))) => Ended::SessionLost(reason),
        (None, Ok(None), Err(reason), _) => Ended::SessionLost(reason),
        // The intake had its end in good order, and then the session was lost with something in hand.
        (None, Ok(None), Ok(()), Some(intake::Ended::Stopped | intake::Ended::Overfull))
            if lost.is_cancelled() =>
        {
            Ended::SessionLost(Ended::UNTOLD.to_owned())
        }
        (None, Ok(None), Ok(()), Some(intake::Ended::Stopped)) => Ended::Drained,
        (None, Ok(None), Ok(()), Some(intake::Ended::Overfull)) => Ended::Overfull,
        (None, Ok(None), Ok(()), Some(intake::Ended::Unread(reason))) if lost.is_cancelled() => {
            Ended::SessionLost(reason)
        }
        (None, Ok(None), Ok(()), Some(intake::Ended::Unread(_)) | None) => {
            Ended::Died("the write stage of the pipeline ended before its input".to_owned())
        }
    };
    outcome
}
