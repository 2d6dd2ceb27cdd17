//! The sample publisher: paced, with publisher confirms, many in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bloodbank_audit::broker::{Address, Confirmation, Publisher};
use bloodbank_audit::event;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use crate::samples::Samples;

/// Most publishes that wait for their confirm; then the publisher waits too.
const IN_FLIGHT: usize = 2_000;
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What falls behind by more than this, because the machine or the broker is slower than the rate, is not made up for.
const MOST_BEHIND: Duration = Duration::from_millis(500);

/// A stream of sample events at a steady rate.
pub struct Traffic {
    /// Events a second.
    pub rate: u32,
    /// Where they go.
    pub exchange: String,
    /// What they are.
    pub samples: Arc<Samples>,
    /// Where they are noted.
    pub ledger: Arc<Ledger>,
}

impl Traffic {
    /// Publishes until told to stop, then waits until the broker has answered everything.
    ///
    /// # Errors
    /// The connection was refused, or ended before that.
    pub async fn run(self, address: Address, stop: CancellationToken) -> Result<()> {
        let publisher = Publisher::open(&address, "bloodbank-audit samples", CONNECT_LIMIT)
            .await
            .context("connect the sample publisher")?;
        let (sent, answers) = mpsc::channel(IN_FLIGHT);
        let (published, answered) =
            tokio::join!(self.publish(&publisher, sent, stop), self.confirm(answers));
        publisher.close().await;
        published.and(answered)
    }

    async fn publish(
        &self,
        publisher: &Publisher,
        sent: mpsc::Sender<(u32, Confirmation)>,
        stop: CancellationToken,
    ) -> Result<()> {
        let interval = Duration::from_secs(1) / self.rate;
        let mut due = Instant::now();
        for number in 0..u32::MAX {
            let slot = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                slot = self.slot(due, &sent) => slot?,
            };
            let now = Instant::now();
            due = (due + interval).max(now.checked_sub(MOST_BEHIND).unwrap_or(now));
            let message = self.samples.message(number, event::now());
            let digest = Sha256::digest(&message.body).into();
            self.ledger.publish(number, digest, Instant::now());
            let confirmation = publisher
                .publish(&self.exchange, &message.routing_key, &message.properties, message.body)
                .await
                .context("publish a sample event")?;
            slot.send((number, confirmation));
        }
        bail!("{} sample events are the most of one run", u32::MAX)
    }

    /// Waits until the next event is due and there is room for one more in flight.
    async fn slot<'sent>(
        &self,
        due: Instant,
        sent: &'sent mpsc::Sender<(u32, Confirmation)>,
    ) -> Result<mpsc::Permit<'sent, (u32, Confirmation)>> {
        // Timers tick in milliseconds: at a high rate several are due at each.
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        sent.reserve().await.context("the broker's answers are no longer read")
    }

    async fn confirm(&self, mut answers: mpsc::Receiver<(u32, Confirmation)>) -> Result<()> {
        let mut outcome = Ok(());
        while let Some((number, confirmation)) = answers.recv().await {
            match confirmation.taken().await {
                Ok(taken) => self.ledger.answer(number, taken),
                // The rest has most likely no answer either; the publisher notices by itself.
                Err(fault) => outcome = Err(fault).context("await the broker's confirm"),
            }
        }
        outcome
    }
}
