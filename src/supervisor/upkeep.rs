//! Upkeep of the history, beside the sessions: what is too old goes, what somebody took away by hand is mended, and the
//! next partitions are made.
//!
//! It never holds recording up, and recording does not depend on it: what the writer misses it mends itself.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::board::Board;
use crate::{
    event::{now, rfc3339},
    store::{self, Expired, Fault, Found, Kind, Mended},
};

/// How often to look.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// How soon to look again where something was in the way.
const SOON: Duration = Duration::from_secs(15);

/// How soon to look whether something is sealed.
const WHEN_SEALED: Duration = Duration::from_secs(1);

/// After how long somebody is to look why it is not.
const SEALED_BY_THEN: Duration = Duration::from_secs(5 * 60);

/// How far this machine's clock and the database's may differ without a word. `audit.expire` has the same.
const CLOCKS_AGREE: Duration = Duration::from_secs(60 * 60);

/// Looks after the history for the daemon's life.
pub(super) struct Upkeep<'a> {
    store: &'a store::Settings,
    keep: watch::Receiver<Option<Duration>>,
    /// Older partitions that were said to be detached: they stay so.
    detached: HashSet<String>,
    /// Since when it is waited for the ledger.
    unsealed_since: Option<Instant>,
    /// What was said last to be in the way.
    said: Option<String>,
}

/// How a round ended.
enum Round {
    Done,
    /// It goes on when the ledger has sealed that this partition is dropped.
    Soon(String),
    /// Something was in the way, which is said once; and how soon to look again.
    InTheWay(String, Duration),
}

impl<'a> Upkeep<'a> {
    pub fn new(store: &'a store::Settings, keep: watch::Receiver<Option<Duration>>) -> Upkeep<'a> {
        Upkeep { store, keep, detached: HashSet::new(), unsealed_since: None, said: None }
    }

    /// Runs from when the schema is there until the run ends.
    pub async fn keep_up(mut self, board: &Board) {
        let rounds = async {
            board.coverage().writable().await;
            loop {
                let round = self.round(board).await;
                let rest = self.rest(round);
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = changed(&mut self.keep) => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = board.coverage().ended() => {}
            () = rounds => {}
        }
    }

    /// Says what was in the way, where that is new, and tells how long to wait.
    fn rest(&mut self, round: Result<Round, Fault>) -> Duration {
        if !matches!(round, Ok(Round::Soon(_))) {
            self.unsealed_since = None;
        }
        let (obstacle, soon) = match round {
            Ok(Round::Done) => {
                if self.said.take().is_some() {
                    info!("nothing is in the way any more of looking after partitions");
                }
                return EVERY;
            }
            Ok(Round::Soon(partition)) => {
                let since = *self.unsealed_since.get_or_insert_with(Instant::now);
                if since.elapsed() < SEALED_BY_THEN {
                    return WHEN_SEALED;
                }
                let obstacle = format!(
                    "the partition {partition} is old enough, and waits until the ledger has sealed that it goes: nothing is sealed"
                );
                (obstacle, SOON)
            }
            Ok(Round::InTheWay(obstacle, soon)) => (obstacle, soon),
            // The writer says it.
            Err(fault) if fault.kind == Kind::Unavailable && fault.sqlstate.is_none() => {
                debug!(cause = %fault, "the history cannot be looked after now");
                return SOON;
            }
            Err(fault) => (format!("partitions cannot be looked after: {fault}"), SOON),
        };
        if self.said.as_ref() != Some(&obstacle) {
            warn!("{obstacle}");
            self.said = Some(obstacle);
        }
        soon
    }

    async fn round(&mut self, board: &Board) -> Result<Round, Fault> {
        let mut upkeep = store::Upkeep::open(self.store).await?;
        let round = async {
            let mended = upkeep.mend().await?;
            self.say(mended);
            let database = upkeep.database_time().await?;
            if (now() - database).abs() > CLOCKS_AGREE {
                return Ok(Round::InTheWay(clocks_differ(database), EVERY));
            }
            let keep = *self.keep.borrow();
            match keep {
                Some(keep) => expire(&mut upkeep, keep).await,
                None => Ok(Round::Done),
            }
        };
        let round = round.await;
        upkeep.close().await;
        if matches!(round, Ok(Round::Done)) {
            board.looked_after();
        }
        match store::partitions(self.store, false).await {
            Ok(partitions) => board.partitions(&partitions),
            Err(cause) => debug!(%cause, "the partitions cannot be counted now"),
        }
        round
    }

    fn say(&mut self, mended: Vec<Mended>) {
        let detached = |mended: &&Mended| mended.found == Found::Detached;
        let names = mended.iter().filter(detached).map(|mended| mended.name.clone()).collect();
        let before = std::mem::replace(&mut self.detached, names);
        for mended in mended.iter().filter(|mended| !before.contains(&mended.name)) {
            mended.say();
        }
    }
}

/// Awaits another value; for ever where nobody can set one any more.
async fn changed(keep: &mut watch::Receiver<Option<Duration>>) {
    if keep.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn expire(upkeep: &mut store::Upkeep, keep: Duration) -> Result<Round, Fault> {
    let kept = humantime::format_duration(keep);
    loop {
        let obstacle = match upkeep.expire(keep).await? {
            Expired::Nothing => {
                upkeep.expire_canaries().await?;
                return Ok(Round::Done);
            }
            Expired::Busy => return Ok(Round::Done),
            Expired::Announced { name } => {
                return Ok(Round::Soon(name));
            }
            Expired::Partition { name, from, to, events, bytes } => {
                let (from, to) = (utc(from), utc(to));
                info!(partition = name, from, to, events, bytes, %kept, "dropped a partition that was old enough");
                continue;
            }
            Expired::Rejections(rejections) => {
                info!(rejections, %kept, "deleted rejections that were old enough");
                continue;
            }
            Expired::Replayed(replayed) => {
                info!(replayed, %kept, "deleted records of replays whose events are gone");
                continue;
            }
            Expired::Chosen(replays) => {
                info!(replays, %kept, "emptied the lists of chosen events of replays that were old enough");
                continue;
            }
            Expired::Locked { name } => {
                let obstacle = format!(
                    "the partition {name} is old enough and cannot be dropped now: transactions that read the history \
                     are in the way, and nobody else is to wait for them"
                );
                return Ok(Round::InTheWay(obstacle, SOON));
            }
            Expired::ClocksDiffer(database) => clocks_differ(database),
            Expired::ClockJumped { until } => format!(
                "nothing is dropped before {}: for more than a day nobody looked after partitions, or the database's \
                 clock jumped, and a clock that jumps must not cost history",
                utc(until)
            ),
            Expired::Held { name, to, committed_at } => format!(
                "the partition {name} ends at {} and is kept: events in it were stored as late as {}, so a clock was \
                 behind when they were received",
                utc(to),
                utc(committed_at)
            ),
        };
        return Ok(Round::InTheWay(obstacle, EVERY));
    }
}

/// Said once, so it does not say by how much: that would change.
fn clocks_differ(database: OffsetDateTime) -> String {
    let behind = if now() < database { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is more than an hour {behind} the database's: events are recorded under this machine's time, \
         and nothing is dropped until they agree"
    )
}

fn utc(at: OffsetDateTime) -> String {
    let seconds = at.replace_nanosecond(0).unwrap_or(at);
    rfc3339(seconds)
}
