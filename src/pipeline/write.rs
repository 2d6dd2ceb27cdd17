//! Write: commits batches and issues receipts, in order.
//!
//! While a batch is committed the next one is gathered. Where a backlog fills it before that commit is answered, it is sent
//! on a second connection: PostgreSQL works on it while the first waits for the disk, or for a standby. It is tried once ahead
//! of its turn; everything else, its receipt first of all, waits for those before it.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Ack, Pulse, Rules, Tally,
    batch::Gatherer,
    hand::{Hand, Weight},
    order::{Order, Place},
    pulse::Stage,
    receipt::Receipt,
    settle::{Settled, settle},
    timings::Timings,
};
use crate::{
    event::Delivery,
    store::{Append, Batch, Commit, Entry, Fault},
};

/// How the stage ended.
pub(super) enum Ended {
    /// There are no more deliveries, or nobody wants receipts any more.
    Done,
    /// The session ended while this batch could not be stored.
    Abandoned(Batch),
    /// This batch could not be stored for as long as deliveries may be held.
    Held(Batch),
}

/// The stage, and what it works with.
pub(super) struct Write<'a> {
    pub receipts: mpsc::Sender<Receipt>,
    pub rules: &'a Rules,
    pub hand: &'a Hand,
    pub tally: &'a Tally,
    pub timings: Timings,
    pub pulse: &'a Pulse,
    /// Nothing can be acknowledged any more.
    pub lost: CancellationToken,
    /// Nothing is to be acknowledged any more, although the session lasts.
    pub given_up: CancellationToken,
}

/// How a batch went through; where there is nothing to be said the stage goes on.
type Through = Result<Option<Ended>, Fault>;

/// What became of a batch by the time it is its turn.
enum Done {
    /// It is through, with all its receipts.
    Settled(Through),
    /// It was committed ahead of its turn and lacks its receipt.
    Committed(Batch, Commit),
    /// It was not; by a fault, unless it had to wait.
    NotYet(Batch, Place, Option<Fault>),
}

/// What comes next for the stage.
enum Next<W> {
    /// A batch to send, or none where no more deliveries will come.
    Gathered(W, Option<Batch>),
    /// It is the turn of the first of the batches under way.
    Turn(W, Done),
    /// Nothing is wanted any more.
    GivenUp(W),
}

impl Write<'_> {
    /// Runs until there are no more deliveries, or none that could still be acknowledged. The error is a fault that somebody
    /// has to mend.
    pub async fn run<W: Append>(
        &self,
        writer: W,
        arrived: mpsc::Receiver<Delivery>,
    ) -> (W, Result<Ended, Fault>) {
        let mut gatherer = Gatherer::new(arrived, self.rules);
        let mut order = Order::default();
        let mut under_way = FuturesOrdered::new();
        // The one used last is on top: as long as one batch is under way at a time, there is one connection.
        let mut idle = vec![writer.beside(), writer];
        loop {
            let next = match idle.pop() {
                Some(writer) => {
                    if under_way.is_empty() && order.gives_up_second() {
                        idle = vec![writer.beside()];
                    }
                    let wanted = order.wanted(under_way.len());
                    tokio::select! {
                        biased;
                        Some((freed, done)) = under_way.next() => {
                            idle.push(writer);
                            Next::Turn(freed, done)
                        }
                        () = self.given_up.cancelled() => Next::GivenUp(writer),
                        batch = gatherer.next(wanted) => Next::Gathered(writer, batch),
                    }
                }
                None => match gatherer.beside(under_way.next()).await {
                    Some((freed, done)) => Next::Turn(freed, done),
                    None => continue,
                },
            };
            match next {
                Next::GivenUp(writer) => {
                    order.end();
                    while under_way.next().await.is_some() {}
                    return (writer, Ok(Ended::Done));
                }
                Next::Gathered(writer, None) => return (writer, Ok(Ended::Done)),
                Next::Gathered(writer, Some(batch)) => {
                    let place = order.place(&batch, under_way.len());
                    under_way.push_back(self.carry(writer, batch, place));
                }
                Next::Turn(mut writer, done) => {
                    let mut turns = vec![done];
                    if let Some(Done::NotYet(_, _, fault)) = turns.first() {
                        order.not_yet(fault.as_ref());
                        // Rather on the connection that has worked than on the one that may be at fault.
                        let other = match under_way.next().await {
                            Some((other, done)) => {
                                if let Done::NotYet(_, _, fault) = &done {
                                    order.not_yet(fault.as_ref());
                                }
                                turns.push(done);
                                Some(other)
                            }
                            None => idle.pop(),
                        };
                        if let Some(other) = other {
                            idle.push(std::mem::replace(&mut writer, other));
                        }
                    }
                    let through = match self.take_turns(&mut writer, turns, &mut gatherer).await {
                        Ok(None) => {
                            idle.push(writer);
                            continue;
                        }
                        Ok(Some(ended)) => Ok(ended),
                        Err(fault) => Err(fault),
                    };
                    order.end();
                    // What is under way may be committed, and is to be counted then.
                    while under_way.next().await.is_some() {}
                    return (writer, through);
                }
            }
        }
    }

    async fn carry<W: Append>(&self, mut writer: W, batch: Batch, place: Place) -> (W, Done) {
        let done = match place.ahead_of {
            None => Done::Settled(self.settle(&mut writer, batch, &place.numbered).await),
            Some(_) => self.commit_ahead(&mut writer, batch, place).await,
        };
        (writer, done)
    }

    /// Tries a batch once before its turn, where that makes no difference to what is stored.
    async fn commit_ahead(&self, writer: &mut impl Append, mut batch: Batch, place: Place) -> Done {
        let attempted = place.attempt(writer, &mut batch).await;
        self.pulse.beat(Stage::Write);
        match attempted {
            Ok(Some((commit, took))) => {
                self.note(&batch, &commit, took);
                Done::Committed(batch, commit)
            }
            Ok(None) => Done::NotYet(batch, place, None),
            Err(fault) => Done::NotYet(batch, place, Some(fault)),
        }
    }

    /// Does what is left of batches whose turn it is, in order.
    async fn take_turns(
        &self,
        writer: &mut impl Append,
        turns: Vec<Done>,
        gatherer: &mut Gatherer<'_>,
    ) -> Through {
        for done in turns {
            let through = match done {
                Done::Settled(through) => through,
                Done::Committed(batch, commit) => Ok(self.hand_over(&batch, &commit).await),
                Done::NotYet(batch, place, _) => {
                    let settled = self.settle(writer, batch, &place.numbered);
                    gatherer.beside(settled).await
                }
            };
            if !matches!(through, Ok(None)) {
                return through;
            }
        }
        Ok(None)
    }

    /// Brings a batch, whose turn it is, to its receipts.
    async fn settle(
        &self,
        writer: &mut impl Append,
        batch: Batch,
        numbered: &CancellationToken,
    ) -> Through {
        let mut waiting = VecDeque::from([batch]);
        while let Some(batch) = waiting.pop_front() {
            if self.lost.is_cancelled() {
                return Ok(Some(Ended::Done));
            }
            match settle(writer, batch, numbered, self.rules, self.pulse, &self.lost).await? {
                Settled::Committed { batch, commit, took } => {
                    self.note(&batch, &commit, took);
                    if let Some(ended) = self.hand_over(&batch, &commit).await {
                        return Ok(Some(ended));
                    }
                }
                Settled::Split(parts) => {
                    for part in parts.into_iter().rev() {
                        waiting.push_front(part);
                    }
                }
                Settled::Unstored(ended) => return Ok(Some(ended)),
            }
        }
        Ok(None)
    }

    /// Takes down what was committed.
    fn note(&self, batch: &Batch, commit: &Commit, took: Duration) {
        self.tally.count(batch, commit);
        self.timings.committed(batch, took);
    }

    /// Issues the receipt of a batch whose turn it is, and lets go of what it holds, unless that goes on to be held. Where nobody
    /// wants it the broker can no longer be told; it will deliver again what it was not told of.
    async fn hand_over(&self, batch: &Batch, commit: &Commit) -> Option<Ended> {
        let weight = Weight::of(batch.entries().iter().map(Entry::delivery));
        match self.rules.ack {
            Ack::Committed => self.hand.settle(weight),
            Ack::Sealed(_) => self.hand.hold(weight),
        }
        if self.hand.is_committed() {
            self.pulse.rest(Stage::Write);
            // What was taken meanwhile found the stage busy.
            if !self.hand.is_committed() {
                self.pulse.has_work(Stage::Write);
            }
        }
        let issued = self.receipts.send(Receipt::of(commit, batch, weight)).await;
        issued.is_err().then_some(Ended::Done)
    }
}
