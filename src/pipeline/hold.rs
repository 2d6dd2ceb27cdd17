//! Hold: keeps receipts until their batches are in a checkpoint outside of the database, where operators want that
//! (`ingest.ack = "sealed"`); then passes them on, in order, to be acknowledged.
//!
//! What is held is in hand: it counts against the budget, and the broker hands out no more than the window beside it. So there is
//! room here for all of it, and the write stage never waits for a checkpoint.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Cover, cover::Standing, hand::Hand, receipt::Receipt};
use crate::{event::now, store::BatchName};

/// How the stage ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Every receipt is passed on.
    Done,
    /// Nobody can be told any more.
    Untold,
    /// The first of them was held for as long as deliveries may be.
    Overdue,
    /// The database has lost what it had committed.
    Gone,
}

/// The stage, and what it works with.
pub(super) struct Hold {
    pub cover: Arc<Cover>,
    pub hand: Arc<Hand>,
    /// How long a delivery may be held.
    pub limit: Duration,
    /// Receipts, once they may be acknowledged.
    pub covered: mpsc::Sender<Receipt>,
    /// Nothing can be acknowledged any more.
    pub lost: CancellationToken,
}

/// A receipt, and until when it may be held.
struct Held {
    receipt: Receipt,
    until: Instant,
}

impl Hold {
    /// Runs until there are no more receipts and all are passed on, or that cannot be any more.
    pub async fn run(self, mut issued: mpsc::Receiver<Receipt>) -> Ended {
        let mut known = self.cover.known();
        let mut held: VecDeque<Held> = VecDeque::new();
        let mut deliveries = 0;
        let mut more = true;
        loop {
            while let Some(first) = held.front() {
                match first.receipt.batch().map(|batch| self.cover.standing(batch)) {
                    Some(Standing::Inside) => break,
                    Some(Standing::Gone) => return Ended::Gone,
                    Some(Standing::Outside) | None => {}
                }
                let Some(Held { receipt, .. }) = held.pop_front() else { break };
                deliveries -= receipt.weight().deliveries;
                if !self.pass_on(receipt).await {
                    return Ended::Untold;
                }
            }
            if held.is_empty() && !more {
                self.cover.hurry(None);
                return Ended::Done;
            }
            // The broker hands out nothing more, or is not asked to: waiting would gather nothing.
            let alone = !more || deliveries >= self.hand.width();
            self.cover.hurry(if alone { last(&held) } else { None });
            tokio::select! {
                biased;
                () = self.lost.cancelled() => return Ended::Untold,
                Ok(()) = known.changed() => {}
                receipt = issued.recv(), if more => match receipt {
                    Some(receipt) => {
                        deliveries += receipt.weight().deliveries;
                        held.push_back(self.take(receipt));
                    }
                    None => more = false,
                },
                () = overdue(held.front()) => return Ended::Overdue,
            }
        }
    }

    fn take(&self, receipt: Receipt) -> Held {
        if let Some(batch) = receipt.batch() {
            self.cover.want(batch);
        }
        // Where the clock was set back it is held a little longer, which is the broker's to end.
        let age = receipt.received_at().map_or(Duration::ZERO, |received_at| {
            (now() - received_at).try_into().unwrap_or_default()
        });
        Held { receipt, until: Instant::now() + self.limit.saturating_sub(age) }
    }

    /// False where nobody takes it.
    async fn pass_on(&self, receipt: Receipt) -> bool {
        if let Some(batch) = receipt.batch() {
            self.cover.has(batch);
        }
        self.hand.let_go(receipt.weight());
        self.covered.send(receipt).await.is_ok()
    }
}

fn last(held: &VecDeque<Held>) -> Option<BatchName> {
    held.iter().rev().find_map(|held| held.receipt.batch())
}

async fn overdue(first: Option<&Held>) {
    match first {
        Some(first) => sleep_until(first.until).await,
        None => std::future::pending().await,
    }
}
