//! Checkpoints on their way out, beside the sessions: the newest is handed to each place that is to keep it, until it does.
//!
//! Each place has its own pace: one that does not answer holds up no other, and neither sealing nor recording.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Settings, after_the_writer, board::Board, past::Past};
use crate::{
    backoff::Backoff,
    export::{Place, ROUTING_KEY, Sink},
    ledger::Note,
    store::{self, ExportLog, Fault, Kind, LedgerState, Published, Reach, SignedCheckpoint},
};

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

type Offer = Arc<SignedCheckpoint>;

/// That a place took a checkpoint.
struct Receipt {
    /// Which place.
    place: usize,
    sink: &'static str,
    checkpoint: Offer,
    words: String,
}

/// Looks for the newest checkpoint, and puts down which were taken.
pub(super) struct Desk<'a> {
    store: &'a store::Settings,
    instance: &'a str,
    notary: &'a Notary,
    past: Past,
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
        loop {
            tokio::select! {
                Some(receipt) = arriving.recv() => self.accept(receipt),
                _ = ticks.tick() => {
                    self.look(offers, board).await;
                }
            }
            self.put_down().await;
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
            warn!(
                limit = %humantime::format_duration(limit),
                "what is sealed is in no checkpoint outside: nobody could tell if it were changed together with the ledger"
            );
        } else if self.overdue && !overdue {
            info!("all that is sealed is in a checkpoint outside again");
        }
        self.overdue = overdue;
    }

    fn fails(&mut self, fault: &Fault) {
        (self.log, self.compared) = (None, false);
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

/// Hands checkpoints to one place.
struct Seat<'a> {
    place: usize,
    to: &'a Place,
    offers: watch::Receiver<Option<Offer>>,
    receipts: mpsc::Sender<Receipt>,
    backoff: Backoff,
    /// Why it said last that it does not take them.
    said: Option<String>,
}

impl Seat<'_> {
    /// Runs until there will be no other, and the last one was taken.
    async fn serve(
        mut self,
        broker: &crate::broker::Settings,
        board: &Board,
        closing: &CancellationToken,
    ) {
        let mut sink = None;
        let mut taken: Option<Offer> = None;
        let mut hurried = false;
        loop {
            let offer = self
                .offers
                .borrow_and_update()
                .clone()
                .filter(|offer| Some(offer) != taken.as_ref());
            let Some(offer) = offer else {
                if self.offers.changed().await.is_err() {
                    break;
                }
                continue;
            };
            match self.hand_over(&mut sink, broker, &offer).await {
                Ok(words) => {
                    self.backoff.reset();
                    board.exported(self.place, Ok(offer.reach));
                    if self.said.take().is_some() {
                        info!(sink = self.to.name(), "checkpoints are taken again");
                    }
                    taken = Some(Arc::clone(&offer));
                    let (place, sink) = (self.place, self.to.name());
                    let receipt = Receipt { place, sink, checkpoint: offer, words };
                    if self.receipts.send(receipt).await.is_err() {
                        break;
                    }
                }
                Err(why) => {
                    let delay = self.backoff.next_delay();
                    if self.said.as_ref() != Some(&why) {
                        let retry_in = humantime::format_duration(delay);
                        warn!(sink = self.to.name(), cause = why, %retry_in, "a checkpoint is not taken: it is offered again until one is");
                    }
                    board.exported(self.place, Err(&why));
                    self.said = Some(why);
                    tokio::select! {
                        () = sleep(delay) => {}
                        // At once, the first time.
                        () = closing.cancelled(), if !hurried => hurried = true,
                    }
                }
            }
        }
        if let Some(sink) = sink {
            sink.close().await;
        }
    }

    async fn hand_over(
        &self,
        sink: &mut Option<Sink>,
        broker: &crate::broker::Settings,
        offer: &Offer,
    ) -> Result<String, String> {
        let sink = match sink {
            Some(sink) => sink,
            none => none.insert(Sink::new(self.to, broker).map_err(|fault| fault.to_string())?),
        };
        let note = Note::parse(offer.note.as_bytes())
            .map_err(|error| format!("what audit.checkpoints holds is no signed note: {error}"))?;
        sink.take(&note).await
    }
}
