//! Notes how far a replay has come, while it runs.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Failure, Places, Watcher, ledger::Ledger, patience::Patience};
use crate::store::{Fault, Kind, Progress, ReplayLog, ReplayState};

/// How often it is noted at most, but where much has come together.
const OFTEN: Duration = Duration::from_millis(200);
/// How often it is noted at least.
const SELDOM: Duration = Duration::from_millis(900);

/// Notes it until `over`, and each time makes room for more events.
///
/// # Errors
/// Another process has taken the replay up, or it cannot be noted.
pub async fn keep(
    log: &mut ReplayLog,
    places: &Places,
    ledger: &Ledger,
    over: &CancellationToken,
    watcher: &impl Watcher,
) -> Result<(), Failure> {
    let mut noted = (Instant::now(), ledger.progress());
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return Ok(()),
            () = ledger.much() => {}
            () = tokio::time::sleep(OFTEN) => {}
        }
        let (progress, rooms) = ledger.take();
        watcher.settled(&progress);
        if progress == noted.1 && noted.0.elapsed() < SELDOM {
            continue;
        }
        let note = Note { progress: &progress, state: ReplayState::Running, cause: None };
        if !note.write(log, places, places.patience, over, watcher).await? {
            return Ok(());
        }
        drop(rooms);
        noted = (Instant::now(), progress);
    }
}

/// What is to be noted.
pub struct Note<'a> {
    pub progress: &'a Progress,
    pub state: ReplayState,
    pub cause: Option<&'a str>,
}

impl Note<'_> {
    /// Writes it, over outages of PostgreSQL for that long; false where it was given up at `over`.
    ///
    /// # Errors
    /// As [`keep`].
    pub async fn write(
        &self,
        log: &mut ReplayLog,
        places: &Places,
        patience: Duration,
        over: &CancellationToken,
        watcher: &impl Watcher,
    ) -> Result<bool, Failure> {
        let mut patience = Patience::new(patience);
        let mut outcome = log.note(self.progress, self.state, self.cause).await;
        loop {
            let fault: Fault = match outcome {
                Ok(true) => {
                    if patience.renew() {
                        watcher.say("PostgreSQL is back");
                    }
                    return Ok(true);
                }
                Ok(false) => return Err(Failure::TakenOver),
                Err(fault) => fault,
            };
            let Some(delay) = patience.next().filter(|_| fault.kind == Kind::Unavailable) else {
                return Err(Failure::Store(fault));
            };
            if patience.is_first() {
                watcher.say(&format!(
                    "PostgreSQL is away, and how far this has come cannot be noted: {fault}; waiting for it"
                ));
            }
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(false),
                () = tokio::time::sleep(delay) => {}
            }
            outcome = match log.reconnect(&places.store).await {
                Ok(true) => log.note(self.progress, self.state, self.cause).await,
                Ok(false) => Ok(false),
                Err(fault) => Err(fault),
            };
        }
    }
}
