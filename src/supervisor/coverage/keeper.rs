//! The keeper: writes what was noted, and that this run is alive.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{super::board::Board, Coverage};
use crate::{
    backoff::Backoff,
    event::now,
    store::{self, Change, CoverageLog, Fault, Kind, Run},
};

/// How often this run gives a sign of life. After a minute without one it is shown as dead.
const BEAT: Duration = Duration::from_secs(5);

/// How long the end of a run may take to be written down.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The same after a hard stop.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Writes the coverage of one run.
pub(in crate::supervisor) struct Keeper<'a> {
    store: &'a store::Settings,
    board: &'a Board,
    coverage: &'a Coverage,
    run: Run,
    backoff: Backoff,
    log: Option<CoverageLog>,
    /// Taken from the notes, and perhaps written already.
    unwritten: Vec<Change>,
    /// Other runs without an end may be dead.
    others: bool,
}

impl<'a> Keeper<'a> {
    pub fn new(store: &'a store::Settings, board: &'a Board, backoff: &Backoff) -> Keeper<'a> {
        let backoff = backoff.clone().at_most(BEAT);
        let (coverage, run) = (board.coverage(), board.run().clone());
        Keeper {
            store,
            board,
            coverage,
            run,
            backoff,
            log: None,
            unwritten: Vec::new(),
            others: true,
        }
    }

    /// Runs until the end is noted and written down, or cannot be within a short time.
    pub async fn keep(mut self, hard: &CancellationToken) {
        let shared = &self.coverage.0;
        let too_late = async {
            shared.ended.cancelled().await;
            tokio::select! {
                () = tokio::time::sleep(LAST_WORDS) => {}
                () = async { hard.cancelled().await; tokio::time::sleep(LAST_WORD).await } => {}
            }
        };
        let ticks = async {
            loop {
                tokio::time::sleep(BEAT).await;
                self.coverage.tick();
            }
        };
        tokio::select! {
            () = self.keep_on() => {}
            () = ticks => {}
            () = too_late => debug!("the end of this run could not be written down"),
        }
    }

    async fn keep_on(&mut self) {
        let shared = &self.coverage.0;
        tokio::select! {
            biased;
            () = shared.ready.cancelled() => {}
            // Nobody knows what tables are there.
            () = shared.ended.cancelled() => return,
        }
        loop {
            let last = shared.ended.is_cancelled();
            match self.write().await {
                Ok(()) if last => break,
                Ok(()) => {
                    self.board.heard();
                    self.backoff.reset();
                    tokio::select! {
                        () = shared.noted.notified() => {}
                        () = shared.ended.cancelled(), if !last => {}
                        () = tokio::time::sleep(BEAT) => {}
                    }
                }
                Err(fault) => {
                    self.log = None;
                    self.board.unheard(&fault);
                    let delay = self.backoff.next_delay();
                    self.say(&fault);
                    if last && fault.kind != Kind::Unavailable {
                        return;
                    }
                    tokio::select! {
                        () = shared.ended.cancelled(), if !last => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
        }
        if let Some(log) = self.log.take() {
            log.close().await;
        }
    }

    async fn write(&mut self) -> Result<(), Fault> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => {
                self.others = true;
                CoverageLog::open(self.store, &self.run).await?
            }
        };
        loop {
            if self.unwritten.is_empty() {
                self.unwritten = self.coverage.notes().take();
            }
            let latest = self.unwritten.last().map_or(self.run.started_at, |change| change.at);
            log.write(now().max(latest), &self.unwritten).await?;
            self.unwritten.clear();
            if self.coverage.notes().is_empty() {
                break;
            }
        }
        if self.others {
            self.others = log.find_the_dead().await? > 0;
        }
        self.log = Some(log);
        Ok(())
    }

    /// Once an episode. That PostgreSQL is away is the writer's to say.
    fn say(&self, cause: &Fault) {
        match cause.kind {
            _ if self.backoff.attempts() > 1 => {}
            Kind::Unavailable => debug!(%cause, "coverage cannot be written now"),
            Kind::Refused | Kind::Misconfigured => warn!(%cause, "coverage cannot be written"),
        }
    }
}
