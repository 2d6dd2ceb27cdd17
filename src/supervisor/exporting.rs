//! Checkpoints on their way out, beside the sessions: the newest is handed to each place that is to keep it, until it does.
//!
//! Each place has its own pace: one that does not answer holds up no other, and neither sealing nor recording.

mod seat;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{Settings, after_the_writer, board::Board, past::Past};
use crate::{
    export::{Place, ROUTING_KEY},
    pipeline::{Cover, Wanted},
    store::{self, ExportLog, Fault, Kind, LedgerState, Published, Reach},
};
use seat::{Offer, Receipt, Seat};

/// How often to look how the ledger stands, at least.
const LOOK: Duration = Duration::from_secs(5);

/// How long the last checkpoint may take to go out, when all else has ended.
const LAST: Duration = Duration::from_secs(4);

/// How soon to look again then, where that failed.
const AGAIN: Duration = Duration::from_millis(200);

/// What the daemon does with the ledger beside adding to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notary {
    /// How long to wait after one seal before the next.
    pub seal_every: Duration,
    /// How often at most the newest checkpoint goes out.
    pub checkpoint_every: Duration,
    /// How old a seal may be of which no checkpoint is outside.
    pub export_within: Duration,
    /// Where checkpoints are kept.
    pub places: Vec<Place>,
}

/// Looks for the newest checkpoint, and puts down which were taken.
pub(super) struct Desk<'a> {
    store: &'a store::Settings,
    instance: &'a str,
    notary: &'a Notary,
    past: Past,
    /// Where acknowledgements wait for what is outside, and what was told there last: of which lanes, and how far all places had
    /// come.
    cover: Option<&'a Cover>,
    told: Option<(Vec<Uuid>, Reach)>,
    log: Option<ExportLog>,
    /// On this connection the database was seen to have what is known of the past.
    compared: bool,
    /// As far as each place has taken them, or needs none; nothing before it is known.
    reached: Option<Vec<Reach>>,
    /// What is not put down yet.
    receipts: VecDeque<Receipt>,
    /// When the newest was offered last.
    offered_at: Option<Instant>,
    /// What was said last to be in the way.
    said: Option<String>,
    /// It was said that checkpoints are overdue.
    overdue: bool,
}

/// Hands checkpoints out for the daemon's life: from when the schema is there until nothing is sealed any more, and then the last
/// one once more, unless that has to be at once.
pub(super) async fn export_all(
    settings: &Settings,
    notary: &Notary,
    board: &Board,
    sealed: &CancellationToken,
    hard: &CancellationToken,
) {
    tokio::select! {
        biased;
        () = after_the_writer(board) => {}
        () = sealed.cancelled() => return,
    }
    let closing = CancellationToken::new();
    let (receipts, arriving) = mpsc::channel(notary.places.len().max(1));
    let (offers, seats): (Vec<_>, Vec<_>) = notary
        .places
        .iter()
        .enumerate()
        .map(|(place, to)| {
            let (offer, offers) = watch::channel(None);
            let backoff = settings.rules.backoff.clone();
            let receipts = receipts.clone();
            let seat = Seat { place, to, offers, receipts, backoff, said: None };
            (offer, seat.serve(&settings.broker, board, &closing))
        })
        .unzip();
    drop(receipts);
    let desk = Desk {
        store: &settings.store,
        instance: &settings.instance,
        notary,
        past: Past::new(notary, &settings.store),
        cover: settings.rules.ack.cover(),
        told: None,
        log: None,
        compared: false,
        reached: None,
        receipts: VecDeque::new(),
        offered_at: None,
        said: None,
        overdue: false,
    };
    let seats = async {
        join_all(seats).await;
        std::future::pending().await
    };
    tokio::select! {
        () = desk.run(offers, arriving, board, sealed, &closing) => {}
        () = seats => {}
        () = hard.cancelled() => {}
    }
}

impl Desk<'_> {
    async fn run(
        mut self,
        offers: Vec<watch::Sender<Option<Offer>>>,
        mut arriving: mpsc::Receiver<Receipt>,
        board: &Board,
        sealed: &CancellationToken,
        closing: &CancellationToken,
    ) {
        tokio::select! {
            biased;
            () = sealed.cancelled() => {}
            () = self.serve(&offers, &mut arriving, board) => {}
        }
        // What was cut off has left its connection in the middle of something.
        (self.log, self.compared) = (None, false);
        self.offered_at = None;
        let last = async {
            while !self.look(&offers, board).await {
                sleep(AGAIN).await;
            }
            closing.cancel();
            // Who waits for another learns that there is none.
            drop(offers);
            while let Some(receipt) = arriving.recv().await {
                self.accept(receipt);
                self.put_down().await;
            }
        };
        if timeout(LAST, last).await.is_err() {
            info!("the last checkpoint is not everywhere: the next start hands it out");
        }
        if let Some(log) = self.log.take() {
            log.close().await;
        }
    }

    async fn serve(
        &mut self,
        offers: &[watch::Sender<Option<Offer>>],
        arriving: &mut mpsc::Receiver<Receipt>,
        board: &Board,
    ) {
        let mut ticks = interval(self.notary.checkpoint_every.min(LOOK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wants = self.cover.map(Cover::wants);
        loop {
            tokio::select! {
                Some(receipt) = arriving.recv() => self.accept(receipt),
                _ = ticks.tick() => {
                    self.look(offers, board).await;
                }
                () = perhaps_sealed(self.cover) => {
                    self.offered_at = None;
                    self.look(offers, board).await;
                }
                () = changed(&mut wants) => {}
            }
            self.put_down().await;
            self.tell().await;
        }
    }

    /// Tells whoever waits how far all places have come.
    async fn tell(&mut self) {
        let (Some(cover), Some(log)) = (self.cover, &mut self.log) else { return };
        let wanted = cover.wanted();
        let lanes: Vec<_> = wanted.lanes.keys().copied().collect();
        // Of a database that went back in time, none of what it has now is known to be outside.
        let everywhere = match &self.reached {
            Some(reached) if self.compared => reached.iter().copied().min().unwrap_or_default(),
            _ => Reach::default(),
        };
        let telling = Some((lanes, everywhere));
        if wanted.lanes.is_empty() || self.told == telling {
            return;
        }
        let lanes = telling.as_ref().map_or(&[][..], |(lanes, _)| lanes);
        match log.lanes(lanes, everywhere).await {
            Ok(states) => {
                cover.learn(&wanted, states);
                self.told = telling;
            }
            Err(fault) => self.fails(&fault),
        }
    }

    fn accept(&mut self, receipt: Receipt) {
        if let Some(reached) = self.reached.as_mut().and_then(|all| all.get_mut(receipt.place)) {
            *reached = receipt.checkpoint.reach.max(*reached);
        }
        self.receipts.push_back(receipt);
    }

    /// Looks how the ledger stands, says so, and offers the newest checkpoint where it is due. False where it cannot be seen.
    async fn look(&mut self, offers: &[watch::Sender<Option<Offer>>], board: &Board) -> bool {
        match self.ask(offers).await {
            Ok(state) => {
                if self.said.take().is_some() {
                    info!("checkpoints can be handed out again");
                }
                self.say_whether_overdue(&state);
                board.ledger(&state);
                true
            }
            Err(fault) => {
                self.fails(&fault);
                false
            }
        }
    }

    async fn ask(&mut self, offers: &[watch::Sender<Option<Offer>>]) -> Result<LedgerState, Fault> {
        let Desk { store, instance, notary, past, log, compared, reached, offered_at, .. } = self;
        let log = match log {
            Some(log) => log,
            none => none.insert(ExportLog::open(store).await?),
        };
        if !*compared && log.lost(&past.last().await).await?.is_some() {
            // The sealer says it. What went out goes on to be what counts.
            return log.state(Reach::default()).await;
        }
        *compared = true;
        let reached = match reached {
            Some(reached) => reached,
            none => {
                let mut all = Vec::new();
                for place in &notary.places {
                    all.push(log.taken(place.name(), instance).await?);
                }
                none.insert(all)
            }
        };
        let passed = |reached: &[Reach]| reached.iter().copied().max().unwrap_or_default();
        let state = log.state(passed(reached)).await?;
        let Some(newest) = &state.newest else { return Ok(state) };
        if offered_at.is_some_and(|at| at.elapsed() < notary.checkpoint_every) {
            return Ok(state);
        }
        let newest = Arc::new(newest.clone());
        let mut passed_one = false;
        for ((place, offer), reached) in notary.places.iter().zip(offers).zip(reached.iter_mut()) {
            // A database that has gone back has less than was taken.
            if newest.reach < *reached {
                *reached = Reach::default();
            }
            if newest.reach <= *reached {
                continue;
            }
            if let Place::Exchange(exchange) = place {
                // What it brought back to us is no reason to publish the next one, and so on for ever.
                let published = Published { exchange, routing_key: ROUTING_KEY };
                if !log.grew_besides(published, *reached, newest.reach).await? {
                    *reached = newest.reach;
                    passed_one = true;
                    continue;
                }
            }
            *offered_at = Some(Instant::now());
            offer.send_replace(Some(Arc::clone(&newest)));
        }
        if passed_one { log.state(passed(reached)).await } else { Ok(state) }
    }

    /// Puts receipts down, as many as can be now.
    async fn put_down(&mut self) {
        while let Some(Receipt { sink, checkpoint, words, .. }) = self.receipts.front() {
            let noted = async {
                let log = match &mut self.log {
                    Some(log) => log,
                    none => none.insert(ExportLog::open(self.store).await?),
                };
                log.note(checkpoint.reach, sink, self.instance, words).await
            };
            match noted.await {
                Ok(()) => drop(self.receipts.pop_front()),
                Err(fault) => return self.fails(&fault),
            }
        }
    }

    fn say_whether_overdue(&mut self, state: &LedgerState) {
        let limit = self.notary.export_within;
        let overdue =
            !self.notary.places.is_empty() && state.unexported_for.is_some_and(|old| old > limit);
        if overdue && !self.overdue {
            let acks = match self.cover {
                Some(_) => "; until it is, nothing more is acknowledged (ingest.ack = \"sealed\")",
                None => "",
            };
            warn!(
                limit = %humantime::format_duration(limit),
                "what is sealed is in no checkpoint outside: nobody could tell if it were changed together with the ledger{acks}"
            );
        } else if self.overdue && !overdue {
            info!("all that is sealed is in a checkpoint outside again");
        }
        self.overdue = overdue;
    }

    fn fails(&mut self, fault: &Fault) {
        (self.log, self.compared, self.told) = (None, false, None);
        // The writer says it.
        if fault.kind == Kind::Unavailable && fault.sqlstate.is_none() {
            debug!(cause = %fault, "checkpoints cannot be handed out now");
            return;
        }
        let said = fault.to_string();
        if self.said.as_ref() != Some(&said) {
            warn!(cause = %fault, "checkpoints cannot be handed out, or it cannot be put down that they were");
            self.said = Some(said);
        }
    }
}

/// Waits until there may be a seal that somebody is in a hurry for.
async fn perhaps_sealed(cover: Option<&Cover>) {
    match cover {
        Some(cover) => cover.perhaps_sealed().await,
        None => std::future::pending().await,
    }
}

/// Waits until something else is waited for.
async fn changed(wants: &mut Option<watch::Receiver<Wanted>>) {
    let over = match wants {
        Some(wants) => wants.changed().await.is_err(),
        None => true,
    };
    if over {
        std::future::pending().await
    }
}
