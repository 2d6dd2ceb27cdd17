//! What runs beside a pipeline: the watch over the topology and the ear for alarms, and what they say.

use metrics::counter;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{board::Board, coverage::Coverage};
use crate::{
    broker::{Alarm, Alarms, Change, SessionHandle, Watch},
    event::{now, rfc3339},
    measures::UNBOUND,
};

/// What was said of alarms, from session to session.
#[derive(Debug, Default)]
pub(super) struct AlarmsSaid {
    /// Since when there has been one.
    since: Option<OffsetDateTime>,
    /// Why none would be noticed.
    unheard: Option<String>,
}

/// Runs `work`, and what is to run beside it for as long.
pub(super) async fn watching<T>(
    session: &SessionHandle,
    board: &Board,
    said: &mut AlarmsSaid,
    work: impl Future<Output = T>,
) -> T {
    let done = CancellationToken::new();
    let work = async {
        let _done = done.clone().drop_guard();
        work.await
    };
    let coverage = board.coverage();
    let topology = report(session.watch(board.depths()), coverage, &done);
    let alarms = report_alarms(session.alarms(), coverage, said, &done);
    tokio::join!(work, topology, alarms).0
}

async fn report_alarms(
    mut alarms: Alarms<'_>,
    coverage: &Coverage,
    said: &mut AlarmsSaid,
    done: &CancellationToken,
) {
    while let Some(alarm) = alarms.change(done).await {
        match alarm {
            Alarm::Raised { cause } => {
                coverage.note_alarm(format!("an alarm of the broker holds up publishers: {cause}"));
                if said.since.is_none() {
                    said.since = Some(now());
                    warn!(
                        cause,
                        "an alarm of the broker holds up publishers: it takes no new events until this is over, and \
                         what is queued goes on to be recorded"
                    );
                }
            }
            Alarm::Over => {
                coverage.note_no_alarm();
                if let Some(since) = said.since.take() {
                    info!(since = rfc3339(since), "the broker's alarm is over: publishers go on");
                }
            }
            Alarm::Unheard { why } => {
                if said.unheard.as_ref() != Some(&why) {
                    info!(cause = why, "an alarm of the broker would not be noticed");
                    said.unheard = Some(why);
                }
            }
        }
    }
    alarms.close().await;
}

async fn report(mut watch: Watch<'_>, coverage: &Coverage, done: &CancellationToken) {
    while let Some(change) = watch.change(done).await {
        match &change {
            Change::Missing { what, since } => {
                counter!(UNBOUND).increment(1);
                coverage.note_unbound(format!("{what} is missing on the broker"), *since);
            }
            Change::Restored { .. } => coverage.note_bound(),
            Change::Refused { .. } => {}
        }
        match change {
            Change::Missing { what, since } => warn!(
                since = rfc3339(since),
                "{what} is missing on the broker: events published meanwhile were not routed to the queue"
            ),
            Change::Refused { what, since } => {
                warn!(
                    cause = what,
                    since = rfc3339(since),
                    "the broker refuses what a new session would need; this one goes on"
                );
            }
            Change::Restored { since, until, bound: true } => info!(
                since = rfc3339(since),
                until = rfc3339(until),
                "what is needed on the broker is there again, and the queue is bound to the exchange"
            ),
            Change::Restored { since, until, bound: false } => warn!(
                since = rfc3339(since),
                until = rfc3339(until),
                "what is needed on the broker is there again; AMQP does not tell whether the queue is bound: see to it"
            ),
        }
    }
}
