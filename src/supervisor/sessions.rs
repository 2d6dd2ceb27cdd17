//! One session with the broker after the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{Instrument as _, error_span, info, warn};

use super::{
    Failure, Settings,
    beside::{self, AlarmsSaid},
    board::Board,
    coverage::Watched,
    pause,
    unparsable::{Look, Unparsable},
    unsealed,
};
use crate::{
    backoff::Backoff,
    broker::{self, QueueType, Session},
    pipeline::{self, Ended, Tally, Window},
    signals::Stop,
    store::{self, Batch, Writer},
};

/// Longest wait after a session that could be opened and then died. Where one message is at fault, twenty such waits,
/// the usual delivery limit, have to pass before it leaves the queue.
const FLAP_MAX: Duration = Duration::from_secs(5);

/// Longest wait after sessions in a row in which nothing could be stored: twenty of them are more than two weeks.
const HOLDS_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// After how many sessions in a row that ended without a settled delivery a message is suspected.
const SUSPICIOUS: u32 = 3;

/// How long to be polite to a broker that may be gone.
const GOODBYE: Duration = Duration::from_secs(3);

/// What lasts from session to session.
pub(super) struct Sessions<'a> {
    settings: &'a Settings,
    stop: &'a Stop,
    board: &'a Board,
    window: Window,
    /// What could not be stored last, and went back to the queue.
    unstored: Option<Batch>,
    /// Deliveries of the last session that may come again.
    in_hand: usize,
    /// How many sessions were opened, or tried to be, since the start.
    number: u64,
    /// Waits between sessions that die.
    flaps: Backoff,
    /// Waits between sessions that hold their deliveries for too long.
    holds: Backoff,
    unparsable: Unparsable,
    alarms_said: AlarmsSaid,
}

impl<'a> Sessions<'a> {
    pub fn new(settings: &'a Settings, stop: &'a Stop, board: &'a Board) -> Sessions<'a> {
        let window = Window::new(settings.rules.bounds);
        let flaps = settings.rules.backoff.clone().at_most(FLAP_MAX);
        let holds = Backoff::new(settings.rules.hold, HOLDS_MAX);
        let unparsable = Unparsable::default();
        Sessions {
            settings,
            stop,
            board,
            window,
            unstored: None,
            in_hand: 0,
            number: 0,
            flaps,
            holds,
            unparsable,
            alarms_said: AlarmsSaid::default(),
        }
    }

    /// Runs until told to stop. True where it could finish what was in hand.
    pub async fn run(mut self) -> Result<bool, Failure> {
        let mut writer = Writer::new(self.settings.store.clone());
        let mut finished = true;
        // Nothing is asked of the broker before it could be stored.
        while self.storable(&mut writer).await? {
            self.number += 1;
            // An error's level, so that it is there for whatever line is let through.
            let span = error_span!("session", number = self.number, broker = %self.settings.broker.address);
            let next;
            (writer, next) = self.session(writer).instrument(span).await?;
            match next {
                Next::Session => {}
                Next::Stop { finished: all } => {
                    finished = all;
                    break;
                }
                Next::StopAtOnce => return Ok(false),
            }
        }
        writer.close().await;
        Ok(finished)
    }

    /// One session, from the first attempt to open it to what has to be waited for after its end.
    async fn session(&mut self, mut writer: Writer) -> Result<(Writer, Next), Failure> {
        let (opened, before) = (Instant::now(), Settled::of(self.board.tally()));
        let ended = match self.open().await? {
            Opened::Session(session) => {
                self.count_unparsable(session.depths().dead_letters);
                let ended;
                (writer, ended) = self.play(session, writer).await;
                ended
            }
            Opened::Lost { reason, dead_letters } => {
                self.count_unparsable(dead_letters);
                self.in_hand = 0;
                Ended::SessionLost(reason)
            }
            Opened::Stopped => return Ok((writer, Next::Stop { finished: true })),
        };
        if Settled::of(self.board.tally()).all > before.all {
            self.unparsable.settled();
        }
        let next = match ended {
            Ended::Drained => Next::Stop { finished: true },
            Ended::Overfull if self.stop.soft.is_cancelled() => Next::Stop { finished: true },
            Ended::SessionLost(cause) if self.stop.soft.is_cancelled() => {
                warn!(
                    cause,
                    may_come_again = self.in_hand,
                    "the session with the broker ended during the stop: what is not acknowledged stays with the broker"
                );
                Next::Stop { finished: self.in_hand == 0 }
            }
            // What was in hand is not stored; the grace period would only have ended a little later.
            Ended::Held | Ended::Unsealed | Ended::Gone if self.stop.soft.is_cancelled() => {
                Next::Stop { finished: false }
            }
            Ended::Overfull => {
                info!(
                    "larger messages came than of late: those that ingest.memory has no room for go back to the \
                     queue, and fewer are taken at a time"
                );
                self.window.begin_anew();
                Next::Session
            }
            Ended::Held => {
                let held = humantime::format_duration(self.settings.rules.hold);
                warn!(
                    %held,
                    "PostgreSQL could not store for too long: what is in hand goes back to the queue before the broker \
                     takes it back, and nothing is asked for until it can be stored"
                );
                self.window.begin_anew();
                self.held(&before).await;
                Next::Session
            }
            Ended::Unsealed => {
                self.window.begin_anew();
                unsealed::wait(self.settings, self.stop, self.board).await;
                Next::Session
            }
            Ended::Gone => {
                unsealed::say_gone();
                self.window.begin_anew();
                Next::Session
            }
            Ended::SessionLost(reason) => {
                self.lost(&reason, opened.elapsed(), &before).await;
                Next::Session
            }
            Ended::Aborted => Next::StopAtOnce,
            Ended::Stopped(fault) => return Err(Failure::Store(fault)),
            Ended::Died(name) => return Err(Failure::Died(name)),
        };
        Ok((writer, next))
    }

    /// Waits until events can be stored. False where told to stop meanwhile.
    async fn storable(&mut self, writer: &mut Writer) -> Result<bool, Failure> {
        let mut backoff = self.settings.rules.backoff.clone();
        loop {
            let ready = tokio::select! {
                biased;
                () = self.stop.soft.cancelled() => return Ok(false),
                ready = writer.begin_session(self.unstored.as_ref()) => ready,
            };
            match ready {
                Ok(()) => {
                    self.board.storable();
                    self.unstored = None;
                    return Ok(true);
                }
                // What is too much at a time is divided, as it will be when it comes again.
                Err(fault) if fault.may_be_size() && self.halve_unstored() => {}
                Err(fault) if fault.kind == store::Kind::Unavailable => {
                    self.board.postgres_away(&fault);
                    if !pause(&mut backoff, self.stop, &fault, "PostgreSQL cannot be used").await {
                        return Ok(false);
                    }
                }
                Err(fault) => return Err(Failure::Store(fault)),
            }
        }
    }

    /// False where there is nothing to halve.
    fn halve_unstored(&mut self) -> bool {
        let Some(batch) = self.unstored.as_mut().filter(|batch| batch.entries().len() > 1) else {
            return false;
        };
        batch.truncate(batch.entries().len() / 2);
        true
    }

    /// Opens a session, for as long as it takes.
    async fn open(&self) -> Result<Opened, Failure> {
        let prefetch = self.window.width();
        let broker = &self.settings.broker;
        let mut backoff = self.settings.rules.backoff.clone();
        loop {
            let opened = tokio::select! {
                biased;
                () = self.stop.soft.cancelled() => return Ok(Opened::Stopped),
                opened = Session::open(broker, prefetch) => opened,
            };
            match opened {
                Ok(session) => {
                    let queue = &broker.topology.queue;
                    self.board.consumes(session.depths(), session.expiry());
                    info!(queue, prefetch, "consuming");
                    return Ok(Opened::Session(session));
                }
                Err(fault) => match fault.kind {
                    broker::Kind::Clash => return Err(Failure::Broker(fault)),
                    broker::Kind::LostConsuming { dead_letters } => {
                        return Ok(Opened::Lost { reason: fault.message, dead_letters });
                    }
                    broker::Kind::Unreachable | broker::Kind::Refused => {
                        self.board.broker_away(&fault);
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
    async fn play(&mut self, session: Session, writer: Writer) -> (Writer, Ended) {
        let (deliveries, acker, connection) = session.ends();
        let (soft, hard) = (self.stop.soft.clone(), self.stop.hard.clone());
        let rules = self.settings.rules.clone();
        let (tally, pulse) = (Arc::clone(self.board.tally()), Arc::clone(self.board.pulse()));
        let window = self.window.clone();
        let writer = Watched { writer, board: self.board.clone() };
        if let Some(cover) = rules.ack.cover() {
            cover.want_nothing();
        }
        let work =
            pipeline::run(deliveries, acker, writer, window, rules, tally, pulse, soft, hard);
        let outcome = beside::watching(&connection, self.board, &mut self.alarms_said, work).await;
        self.window = outcome.window.unwrap_or_else(|| self.window.clone());
        self.unstored = outcome.unstored;
        self.in_hand = outcome.in_hand;
        let ended = outcome.ended;
        // On a good connection the broker has yet to take the last acknowledgements; a lost one has none to give.
        let patience = match ended {
            Ended::Drained | Ended::Overfull => Duration::MAX,
            _ => GOODBYE,
        };
        let ended = tokio::select! {
            biased;
            () = self.stop.hard.cancelled() => Ended::Aborted,
            closed = tokio::time::timeout(patience, connection.close()) => match ended {
                Ended::Drained if closed != Ok(true) => Ended::SessionLost(Ended::UNTOLD.to_owned()),
                ended => ended,
            },
        };
        let writer = outcome.writer.map(|watched| watched.writer);
        (writer.unwrap_or_else(|| Writer::new(self.settings.store.clone())), ended)
    }

    /// After a session that held its deliveries for too long. Where this happens time and again and nothing is stored
    /// between, the rehearsal does not see what is wrong, and each session costs a delivery of what it took: so the waits
    /// grow, to twice the time a session took and on, and a message is not counted out of its queue within days.
    async fn held(&mut self, before: &Settled) {
        if Settled::of(self.board.tally()).recorded > before.recorded {
            self.holds.reset();
        }
        if self.holds.attempts() > 0 {
            let cause = "what was taken could not be stored, although a rehearsal could";
            pause(&mut self.holds, self.stop, &cause, "PostgreSQL cannot be used").await;
        } else {
            self.holds.next_delay();
        }
    }

    /// After a session that ended by itself: waits, and takes fewer deliveries at a time.
    async fn lost(&mut self, reason: &str, lasted: Duration, before: &Settled) {
        self.board.broker_lost(reason);
        let after = Settled::of(self.board.tally());
        // A session that dies at once, time and again, must not be opened again at once for ever; what was stored
        // already and only counted again is no success.
        if after.recorded > before.recorded || lasted > self.flaps.max() {
            self.flaps.reset();
        }
        let alone = self.window.width() == 1 && after.all == before.all;
        pause(&mut self.flaps, self.stop, &reason, "the session with the broker ended").await;
        if alone {
            self.unparsable.died_alone();
        }
        if alone && self.flaps.attempts() == SUSPICIOUS {
            self.say_what_may_be_wrong();
        }
        self.window.narrow(self.in_hand);
    }

    fn count_unparsable(&mut self, dead_letters: u32) {
        let topology = &self.settings.broker.topology;
        match self.unparsable.look(dead_letters, self.board.tally().counts().rejections) {
            Look::Left(messages) => {
                self.board.tally().count_unparsable(messages);
                warn!(
                    messages,
                    unparsable = self.board.tally().counts().unparsable,
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

/// What comes after a session.
enum Next {
    /// Another one.
    Session,
    /// Nothing: told to stop. Whether what was in hand could be finished.
    Stop { finished: bool },
    /// Nothing, and nobody waits for anything any more.
    StopAtOnce,
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
        let counts = tally.counts();
        let recorded = counts.events + counts.rejections;
        Settled { all: recorded + counts.duplicates + counts.replays, recorded }
    }
}
