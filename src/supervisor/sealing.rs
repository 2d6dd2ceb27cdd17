//! Sealing, beside the sessions: what was committed is appended to the ledger's tree.
//!
//! Recording does not depend on it: what is committed while nobody seals is sealed later, by whichever daemon comes first.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{Notary, after_the_writer, board::Board, past::Past};
use crate::{
    pipeline::Cover,
    store::{self, BatchName, Fault, Kind, Lost, SealLog, Sealing, Seen},
};

/// How long the last seal may take, when all else has ended.
const LAST: Duration = Duration::from_secs(3);

/// How soon to try again then, and where somebody waits, where another daemon was at it, something waits for a transaction to
/// end, or it failed.
const AGAIN: Duration = Duration::from_millis(50);

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    Over,
    /// Another daemon was at it, or it failed.
    Again,
    /// Somebody has to decide.
    Halted,
}

/// Seals for the daemon's life.
pub(super) struct Sealer<'a> {
    store: &'a store::Settings,
    every: Duration,
    /// Where acknowledgements wait for what is sealed.
    cover: Option<&'a Cover>,
    past: Past,
    log: Option<SealLog>,
    /// The tree as it was seen on the connection before.
    seen: Option<Seen>,
    /// On this connection the database was seen to have what is known of the past.
    compared: bool,
    /// What was said last to be in the way.
    said: Option<String>,
    /// It was said that there is a key, and none here.
    missed_key: bool,
}

/// Why nothing is sealed.
enum Stopped {
    Fault(Fault),
    /// The database went back in time: somebody has to decide.
    Lost(Lost),
    /// Its tree is another one than this key has signed before: the same.
    Parted(Lost),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Stopped {
        Stopped::Fault(fault)
    }
}

/// How long it goes on at once for the same batch: longer each time, since what is in the way may stay.
#[derive(Default)]
struct Patience {
    hurry: Option<BatchName>,
    pause: Duration,
}

impl Patience {
    /// How long to wait after a round for that one; `None` where it was for none.
    fn after(&mut self, hurry: Option<BatchName>) -> Option<Duration> {
        let again = hurry.is_some() && self.hurry == hurry;
        self.pause = if again { self.pause.saturating_mul(2) } else { AGAIN };
        self.hurry = hurry;
        hurry.map(|_| self.pause)
    }
}

impl<'a> Sealer<'a> {
    pub fn new(
        store: &'a store::Settings,
        notary: &Notary,
        cover: Option<&'a Cover>,
    ) -> Sealer<'a> {
        Sealer {
            store,
            every: notary.seal_every,
            cover,
            past: Past::new(notary, store),
            log: None,
            seen: None,
            compared: false,
            said: None,
            missed_key: false,
        }
    }

    /// Runs from when the schema is there until the run ends, and then seals once more, unless that has to be at once.
    pub async fn seal_all(mut self, board: &Board, hard: &CancellationToken) {
        let mut began = false;
        let sealing = async {
            after_the_writer(board).await;
            began = true;
            self.seal_again_and_again(board).await;
        };
        tokio::select! {
            biased;
            () = board.coverage().ended() => {}
            () = sealing => {}
        }
        if !began {
            return;
        }
        // A round that was cut off has left its connection in the middle of something.
        self.forget();
        let last = hard.run_until_cancelled(tokio::time::timeout(LAST, self.last(board))).await;
        if !matches!(last, Some(Ok(()))) {
            debug!("the last batches are not sealed yet; whoever seals next will do it");
        }
        if let Some(log) = self.log.take() {
            log.close().await;
        }
    }

    /// Seals all that is committed by now.
    async fn last(&mut self, board: &Board) {
        let mut up_to = None;
        loop {
            match self.round(board).await {
                Round::Halted => return,
                Round::Over => {
                    let Some(log) = &mut self.log else { return };
                    match log.last_unsealed(up_to).await {
                        Ok(None) => return,
                        Ok(last) => up_to = up_to.or(last),
                        Err(fault) => {
                            self.forget();
                            self.say(&fault);
                        }
                    }
                }
                // Where a round was cut off, the server may not have noticed yet.
                Round::Again => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// At the pace that is configured, and at once for what is in a hurry.
    async fn seal_again_and_again(&mut self, board: &Board) {
        let Some(cover) = self.cover else {
            loop {
                self.round(board).await;
                tokio::time::sleep(self.every).await;
            }
        };
        let mut wants = cover.wants();
        let mut patience = Patience::default();
        loop {
            let hurry = wants.borrow_and_update().hurry;
            self.round(board).await;
            if hurry.is_some() {
                cover.may_be_sealed();
            }
            let pause = patience.after(hurry).unwrap_or(self.every).min(self.every);
            let other = wants.wait_for(|now| now.hurry.is_some() && now.hurry != hurry);
            // The sender lasts.
            let _ = tokio::time::timeout(pause, other).await;
        }
    }

    /// Says once that nothing is sealed until somebody has decided.
    fn halt(&mut self, board: &Board, said: String, what: &str, advice: &str) {
        board.sealing(Some(&said));
        if self.said.as_ref() == Some(&said) {
            return;
        }
        let acks = match self.cover {
            Some(_) => ", and not acknowledged (ingest.ack = \"sealed\")",
            None => "",
        };
        error!(
            "{what}, and sealing has halted: {said}. Events are recorded all the same{acks}. {advice}, and run \
             `bloodbank-audit ledger new-epoch --reason TEXT` to begin a new tree"
        );
        self.said = Some(said);
    }

    async fn round(&mut self, board: &Board) -> Round {
        match self.seal().await {
            Ok(round) => {
                board.sealing(None);
                if self.said.take().is_some() {
                    info!("batches are sealed again");
                }
                round
            }
            Err(Stopped::Lost(lost)) => {
                let file = self.past.file().unwrap_or_else(|| "".as_ref()).display().to_string();
                let said = format!("{file} holds {lost}");
                self.halt(
                    board,
                    said,
                    "the database went back in time",
                    "Find out what was restored or promoted",
                );
                Round::Halted
            }
            Err(Stopped::Parted(lost)) => {
                self.halt(
                    board,
                    format!("this daemon knows {lost}"),
                    "the database has another ledger than what was signed before",
                    "Find out what was restored, promoted or changed (`bloodbank-audit verify`)",
                );
                Round::Halted
            }
            Err(Stopped::Fault(fault)) => {
                self.forget();
                self.say(&fault);
                Round::Again
            }
        }
    }

    /// Seals until nothing is left.
    async fn seal(&mut self) -> Result<Round, Stopped> {
        let log = match &mut self.log {
            Some(log) => log,
            none => {
                self.compared = false;
                let log = none.insert(SealLog::open(self.store).await?);
                log.goes_on_from(self.seen);
                log
            }
        };
        if !self.compared {
            let outside = self.past.last().await;
            if let Some(lost) = log.lost(&outside).await? {
                return Err(Stopped::Lost(lost));
            }
            if let Some(lost) = log.parted(&outside).await? {
                return Err(Stopped::Parted(lost));
            }
            if log.wants_key().await? && !self.missed_key {
                warn!(
                    "a key is on record in the ledger, and this daemon has none: `verify` will name UNSIGNED what it records. Set \
                     ledger.key_file"
                );
                self.missed_key = true;
            }
            log.introduce_key().await?;
            if let Some(seal) = log.unsigned().await? {
                unparted(log.sign(&seal).await?)?;
            }
            self.compared = true;
        }
        loop {
            match log.seal().await? {
                Sealing::Sealed(seal) => {
                    debug!(seal.number, seal.epoch, seal.size, seal.batches, seal.acts, "sealed");
                    // Never one that may be rolled back: it is committed.
                    unparted(log.sign(&seal).await?)?;
                    if !seal.more {
                        return Ok(Round::Over);
                    }
                }
                // Whoever sealed last may have been killed before it signed, or signs with another key.
                Sealing::Nothing => {
                    if let Some(seal) = log.unsigned().await? {
                        unparted(log.sign(&seal).await?)?;
                    }
                    return Ok(Round::Over);
                }
                Sealing::Busy => return Ok(Round::Again),
                Sealing::Lost(lost) => return Err(Stopped::Parted(lost)),
            }
        }
    }

    /// Lets go of the connection, and not of what was seen on it.
    fn forget(&mut self) {
        if let Some(log) = self.log.take() {
            self.seen = log.seen().or(self.seen);
        }
    }

    fn say(&mut self, fault: &Fault) {
        // The writer says it.
        if fault.kind == Kind::Unavailable && fault.sqlstate.is_none() {
            debug!(cause = %fault, "nothing can be sealed now");
            return;
        }
        let said = fault.to_string();
        if self.said.as_ref() != Some(&said) {
            warn!(cause = %fault, "batches are recorded and not sealed");
            self.said = Some(said);
        }
    }
}

fn unparted(lost: Option<Lost>) -> Result<(), Stopped> {
    lost.map_or(Ok(()), |lost| Err(Stopped::Parted(lost)))
}
