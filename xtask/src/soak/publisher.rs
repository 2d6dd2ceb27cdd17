//! The publisher: paced, with confirms, and back on a new connection whenever the broker is away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bloodbank_audit::broker::{Address, Confirmation, Publisher};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Pending};
use super::mix::Mix;

/// Most publishes that wait for their confirm; then the publisher waits too.
const IN_FLIGHT: usize = 500;
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long sending one may take; a blocked broker takes nothing for as long as its alarm lasts.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// What falls behind by more than this is not made up for.
const MOST_BEHIND: Duration = Duration::from_millis(500);

/// A stream of events at a steady rate.
pub struct Publishing {
    /// Events a second.
    pub rate: u32,
    /// Where they go.
    pub exchange: String,
    /// What they are.
    pub mix: Arc<Mix>,
    /// Where they are noted.
    pub ledger: Arc<Ledger>,
}

/// What comes next, kept from one connection to the next.
#[derive(Default)]
struct Agenda {
    next: u32,
    /// Those without an answer that are sent again, as publishers do.
    again: VecDeque<u32>,
    due: Option<Instant>,
}

type Sent = (Pending, Confirmation);

impl Publishing {
    /// Publishes until told to stop, then waits for the last confirms of the last connection.
    ///
    /// Half of what was sent and not answered when a connection ended is sent again on the next one; the other half
    /// is left in doubt.
    pub async fn run(self, address: Address, stop: CancellationToken) {
        let mut agenda = Agenda::default();
        while !stop.is_cancelled() {
            match Publisher::open(&address, "bloodbank-audit soak", CONNECT_LIMIT).await {
                Ok(publisher) => {
                    self.session(&publisher, &mut agenda, &stop).await;
                    publisher.close().await;
                }
                Err(_) => tokio::select! {
                    () = sleep(RETRY) => {}
                    () = stop.cancelled() => {}
                },
            }
        }
    }

    /// One connection's life.
    async fn session(&self, publisher: &Publisher, agenda: &mut Agenda, stop: &CancellationToken) {
        let (sent, answers) = mpsc::channel(IN_FLIGHT);
        let ((), unanswered) =
            tokio::join!(self.publish(publisher, agenda, sent, stop), self.confirm(answers));
        agenda.again.extend(unanswered.into_iter().step_by(2));
    }

    /// Publishes until told to stop or the connection fails.
    async fn publish(
        &self,
        publisher: &Publisher,
        agenda: &mut Agenda,
        sent: mpsc::Sender<Sent>,
        stop: &CancellationToken,
    ) {
        let interval = Duration::from_secs(1) / self.rate;
        loop {
            let due = agenda.due.unwrap_or_else(Instant::now);
            let slot = async {
                sleep_until(due.into()).await;
                sent.reserve().await
            };
            let slot = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                slot = slot => slot,
            };
            let Ok(slot) = slot else { return };
            let now = Instant::now();
            agenda.due = Some((due + interval).max(now.checked_sub(MOST_BEHIND).unwrap_or(now)));
            let number = agenda.again.pop_front().unwrap_or_else(|| {
                agenda.next += 1;
                agenda.next - 1
            });
            let event = self.mix.event(number);
            let pending = self.ledger.publish(number, &event);
            let publish = publisher.publish(
                &self.exchange,
                &event.routing_key,
                &event.properties,
                event.body,
            );
            match timeout(SEND_LIMIT, publish).await {
                Ok(Ok(confirmation)) => slot.send((pending, confirmation)),
                // Whatever it was: the next connection tells.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Notes the answers, and returns the numbers of those that have none.
    async fn confirm(&self, mut answers: mpsc::Receiver<Sent>) -> Vec<u32> {
        let mut unanswered = Vec::new();
        while let Some((pending, confirmation)) = answers.recv().await {
            match confirmation.taken().await {
                Ok(true) => self.ledger.confirm(&pending),
                Ok(false) | Err(_) => unanswered.push(pending.number),
            }
        }
        unanswered
    }
}
