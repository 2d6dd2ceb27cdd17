//! One session with the broker after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    Failure, Settings, beside,
    coverage::{Coverage, Watched},
    pause,
    unparsable::{Look, Unparsable},
    window::Window,
};
use crate::{
    backoff::Backoff,
    broker::{self, QueueType, Session},
    pipeline::{self, Ended, Rules, Tally},
    signals::Stop,
    store::{self, State, Writer},
};

/// Longest wait after a session that could be opened and then died. Where one message is at fault, twenty such waits,
/// the usual delivery limit, have to pass before it leaves the queue.
const FLAP_MAX: Duration = Duration::from_secs(5);

/// After how many sessions in a row that ended without a settled delivery a message is suspected.
const SUSPICIOUS: u32 = 3;

/// How long to be polite to a broker that may be gone.
const GOODBYE: Duration = Duration::from_secs(3);

/// What lasts from session to session.
pub(super) struct Sessions<'a> {
    settings: &'a Settings,
    stop: &'a Stop,
    tally: &'a Arc<Tally>,
    coverage: &'a Coverage,
    window: Window,
    /// Waits between sessions that die.
    flaps: Backoff,
    unparsable: Unparsable,
}

impl<'a> Sessions<'a> {
    pub fn new(
        settings: &'a Settings,
        stop: &'a Stop,
        tally: &'a Arc<Tally>,
        coverage: &'a Coverage,
    ) -> Sessions<'a> {
        let window = Window::full(settings.broker.prefetch);
        let flaps = settings.rules.backoff.clone().at_most(FLAP_MAX);
        let unparsable = Unparsable::default();
        Sessions { settings, stop, tally, coverage, window, flaps, unparsable }
    }

    /// Runs until told to stop. True where it could finish what was in hand.
    pub async fn run(mut self) -> Result<bool, Failure> {
        let mut writer = Writer::new(self.settings.store.clone());
        // Nothing is asked of the broker before it could be stored.
        while self.storable(&mut writer).await? {
            let (opened, before) = (Instant::now(), Settled::of(self.tally));
            let ended = match self.open().await? {
                Opened::Session(session) => {
                    self.count_unparsable(session.dead_letters());
                    let ended;
                    (writer, ended) = self.play(session, writer).await;
                    ended
                }
                Opened::Lost { reason, dead_letters } => {
                    self.count_unparsable(dead_letters);
                    Ended::SessionLost(reason)
                }
                Opened::Stopped => break,
            };
            if Settled::of(self.tally).all > before.all {
                self.unparsable.settled();
            }
            match ended {
                Ended::Drained | Ended::SessionLost(_) if self.stop.soft.is_cancelled() => break,
                Ended::Drained => {
                    self.flaps.reset();
                    self.window.widen();
                }
                Ended::SessionLost(reason) => {
                    self.lost(&reason, opened.elapsed(), &before).await;
                }
                Ended::Aborted => return Ok(false),
                Ended::Stopped(stopped) => return Err(stopped.into()),
                Ended::Died(name) => return Err(Failure::Died(name)),
            }
        }
        writer.close().await;
        Ok(true)
    }

    /// Waits until events can be stored. False where told to stop meanwhile.
    async fn storable(&self, writer: &mut Writer) -> Result<bool, Failure> {
        let mut backoff = self.settings.rules.backoff.clone();
        loop {
            let ready = tokio::select! {
                biased;
                () = self.stop.soft.cancelled() => return Ok(false),
                ready = writer.begin_session() => ready,
            };
            match ready {
                Ok(()) => return Ok(true),
                Err(fault) if fault.kind == store::Kind::Unavailable => {
                    self.coverage.note(State::Paused, &fault);
                    if !pause(&mut backoff, self.stop, &fault, "PostgreSQL cannot be used").await {
                        return Ok(false);
                    }
                }
                Err(fault) => return Err(Failure::Unready(fault)),
            }
        }
    }

    /// Opens a session, for as long as it takes.
    async fn open(&self) -> Result<Opened, Failure> {
        let prefetch = self.window.prefetch();
        let broker = broker::Settings { prefetch, ..self.settings.broker.clone() };
        let mut backoff = self.settings.rules.backoff.clone();
        loop {
            let opened = tokio::select! {
                biased;
                () = self.stop.soft.cancelled() => return Ok(Opened::Stopped),
                opened = Session::open(&broker) => opened,
            };
            match opened {
                Ok(session) => {
                    let queue = &broker.topology.queue;
                    self.coverage.note(State::Recording, "a session with the broker was opened");
                    info!(broker = %broker.address, queue, prefetch, "consuming");
                    return Ok(Opened::Session(session));
                }
                Err(fault) => match fault.kind {
                    broker::Kind::Clash => return Err(Failure::Broker(fault)),
                    broker::Kind::LostConsuming { dead_letters } => {
                        return Ok(Opened::Lost { reason: fault.message, dead_letters });
                    }
                    broker::Kind::Unreachable | broker::Kind::Refused => {
                        self.coverage.note(State::Disconnected, &fault);
                        if !pause(&mut backoff, self.stop, &fault, "the broker cannot be used")
                            .await
                        {
                            return Ok(Opened::Stopped);
                        }
                    }
                },
            }
        }
    }

    /// Runs a pipeline for as long as the session lasts.
    async fn play(&self, session: Session, writer: Writer) -> (Writer, Ended) {
        let (deliveries, acker, connection) = session.ends();
        let rules = Rules { take: self.window.take(), ..self.settings.rules.clone() };
        let (soft, hard) = (self.stop.soft.clone(), self.stop.hard.clone());
        let tally = Arc::clone(self.tally);
        let writer = Watched { writer, coverage: self.coverage.clone() };
        let work = pipeline::run(deliveries, acker, writer, rules, tally, soft, hard);
        let (kept, ended) = beside::watching(&connection, self.stop.hard.clone(), work).await;
        // On a good connection the broker has yet to take the last acknowledgements; a lost one has none to give.
        let patience = match ended {
            Ended::Drained => Duration::MAX,
            _ => GOODBYE,
        };
        let ended = tokio::select! {
            biased;
            () = self.stop.hard.cancelled() => Ended::Aborted,
            _ = tokio::time::timeout(patience, connection.close()) => ended,
        };
        let kept = kept.map(|watched| watched.writer);
        (kept.unwrap_or_else(|| Writer::new(self.settings.store.clone())), ended)
    }

    /// After a session that ended by itself: waits, and takes fewer deliveries at a time.
    async fn lost(&mut self, reason: &str, lasted: Duration, before: &Settled) {
        self.coverage.note(State::Disconnected, reason);
        let after = Settled::of(self.tally);
        // A session that dies at once, time and again, must not be opened again at once for ever; what was stored
        // already and only counted again is no success.
        if after.recorded > before.recorded || lasted > self.flaps.max() {
            self.flaps.reset();
        }
        let alone = self.window.prefetch() == 1 && after.all == before.all;
        pause(&mut self.flaps, self.stop, &reason, "the session with the broker ended").await;
        if alone {
            self.unparsable.died_alone();
        }
        if alone && self.flaps.attempts() == SUSPICIOUS {
            self.say_what_may_be_wrong();
        }
        self.window.narrow(after.all - before.all);
    }

    fn count_unparsable(&mut self, dead_letters: u32) {
        let topology = &self.settings.broker.topology;
        match self.unparsable.look(dead_letters, self.tally.rejections()) {
            Look::Left(messages) => {
                self.tally.count_unparsable(messages);
                warn!(
                    messages,
                    unparsable = self.tally.unparsable(),
                    queue = topology.queue,
                    dead_letter_queue = topology.dead_letter_queue,
                    "a message that the AMQP client cannot parse has left the queue: the broker dead-lettered it"
                );
            }
            Look::Passed(sessions) if sessions >= SUSPICIOUS => {
                info!(
                    sessions,
                    "deliveries are settled again, and no dead letter tells what ended the sessions before"
                );
            }
            Look::Passed(_) | Look::Nothing => {}
        }
    }

    fn say_what_may_be_wrong(&self) {
        let topology = &self.settings.broker.topology;
        let queue = &topology.queue;
        match topology.queue_type {
            QueueType::Quorum => warn!(
                queue,
                delivery_limit = topology.delivery_limit,
                "the first message of the queue may be one that the AMQP client cannot parse: \
                 beyond its delivery limit the queue dead-letters it"
            ),
            QueueType::Classic => warn!(
                queue,
                "the first message of the queue may be one that the AMQP client cannot parse: \
                 a classic queue has no delivery limit, so it has to be taken out by hand"
            ),
        }
    }
}

enum Opened {
    Session(Session),
    /// It was lost as soon as it was asked for deliveries.
    Lost {
        reason: String,
        dead_letters: u32,
    },
    Stopped,
}

/// How many deliveries were settled since the start of the process.
struct Settled {
    /// Acknowledged or rejected.
    all: u64,
    /// Of these, recorded for the first time.
    recorded: u64,
}

impl Settled {
    fn of(tally: &Tally) -> Settled {
        let recorded = tally.events() + tally.rejections();
        Settled { all: recorded + tally.duplicates(), recorded }
    }
}
