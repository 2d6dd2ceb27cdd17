//! What runs beside a pipeline: the watch over the topology, and what it says.

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::coverage::Coverage;
use crate::broker::{Change, SessionHandle, Watch};

/// Runs `work`, and the watch beside it for as long.
pub(super) async fn watching<T>(
    session: &SessionHandle,
    coverage: &Coverage,
    work: impl Future<Output = T>,
) -> T {
    let done = CancellationToken::new();
    let work = async {
        let _done = done.clone().drop_guard();
        work.await
    };
    tokio::join!(work, report(session.watch(), coverage, &done)).0
}

async fn report(mut watch: Watch<'_>, coverage: &Coverage, done: &CancellationToken) {
    while let Some(change) = watch.change(done).await {
        match &change {
            Change::Missing { what, since } => {
                coverage.note_unbound(format!("{what} is missing on the broker"), *since);
            }
            Change::Restored { .. } => coverage.note_bound(),
            Change::Refused { .. } => {}
        }
        match change {
            Change::Missing { what, since } => warn!(
                since = at(since),
                "{what} is missing on the broker: events published meanwhile were not routed to the queue"
            ),
            Change::Refused { what, since } => {
                warn!(
                    cause = what,
                    since = at(since),
                    "the broker refuses what a new session would need; this one goes on"
                );
            }
            Change::Restored { since, until, bound: true } => info!(
                since = at(since),
                until = at(until),
                "what is needed on the broker is there again, and the queue is bound to the exchange"
            ),
            Change::Restored { since, until, bound: false } => warn!(
                since = at(since),
                until = at(until),
                "what is needed on the broker is there again; AMQP does not tell whether the queue is bound: see to it"
            ),
        }
    }
}

fn at(time: OffsetDateTime) -> String {
    time.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
