//! The board: where the parts of the daemon put down how they fare, and from which anyone can read it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Settings,
    canary::Missing,
    coverage::Coverage,
    ledger::LedgerStatus,
    sides::{Side, Sides},
    status::{CanaryStatus, Certificates, History, Span, Status, Stuck},
    this_run,
};
use crate::{
    broker::{self, Depths, Expiry, Trust},
    event::now,
    pipeline::{Pulse, Tally},
    store::{self, Fault, Kind, LedgerState, Partition, Presence, Reach, Run, State},
};

/// The label of what does not answer.
const UNREACHABLE: &str = "unreachable";

/// How the daemon fares. Clones share it; putting down and reading waits for nobody.
#[derive(Debug, Clone)]
pub struct Board(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    run: Run,
    tally: Arc<Tally>,
    pulse: Arc<Pulse>,
    coverage: Coverage,
    sides: Sides,
    depths: watch::Sender<Option<Depths>>,
    history: Mutex<History>,
    canary: Mutex<Option<CanaryStatus>>,
    ledger: Mutex<Option<LedgerStatus>>,
    /// Until when certificates are valid: the broker's as it was shown last, our own as they were read last.
    certificates: Mutex<Certificates>,
    /// Where our own certificates are.
    trust: Trust,
    store: store::Settings,
    memory: usize,
    keep: watch::Receiver<Option<Duration>>,
    /// A stage that is at one thing for longer does not get on.
    patience: Duration,
}

impl Board {
    /// For a run that begins now.
    pub fn new(settings: &Settings) -> Board {
        let attempt = settings.store.attempt();
        let run = this_run(settings);
        let coverage = Coverage::default();
        coverage.begin(&run);
        Board(Arc::new(Shared {
            run,
            tally: Arc::default(),
            pulse: Arc::default(),
            coverage,
            sides: Sides::default(),
            depths: watch::Sender::default(),
            history: Mutex::default(),
            canary: Mutex::new(
                settings.canary.as_ref().map(|flights| CanaryStatus::new(flights.every)),
            ),
            ledger: Mutex::new(settings.notary.as_ref().map(LedgerStatus::new)),
            certificates: Mutex::default(),
            trust: settings.broker.address.trust.clone(),
            store: settings.store.clone(),
            memory: settings.rules.bounds.bytes,
            keep: settings.keep.clone(),
            patience: 2 * attempt,
        }))
    }

    pub(super) fn run(&self) -> &Run {
        &self.0.run
    }

    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.0.tally
    }

    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.0.pulse
    }

    pub(super) fn coverage(&self) -> &Coverage {
        &self.0.coverage
    }

    pub(super) fn depths(&self) -> &watch::Sender<Option<Depths>> {
        &self.0.depths
    }

    /// Events can be stored, as far as a rehearsal tells.
    pub(super) fn storable(&self) {
        self.0.sides.there(Side::Postgres);
    }

    /// PostgreSQL cannot store.
    pub(super) fn postgres_away(&self, fault: &Fault) {
        self.0.coverage.note(State::Paused, fault);
        let kind = fault.sqlstate.as_deref().unwrap_or(UNREACHABLE);
        self.0.sides.away(Side::Postgres, kind, &fault.to_string());
    }

    /// The run's coverage was written. On an idle bus nothing else tries the database.
    pub(super) fn heard(&self) {
        // What the writer cannot do is not made up for by this.
        let paused =
            matches!(&*self.0.coverage.present().borrow(), Some(now) if now.state == State::Paused);
        if !paused {
            self.0.sides.there(Side::Postgres);
        }
    }

    /// It could not be written, and the database was not there to say why.
    pub(super) fn unheard(&self, fault: &Fault) {
        if fault.kind == Kind::Unavailable && fault.sqlstate.is_none() {
            self.0.sides.away(Side::Postgres, UNREACHABLE, &fault.to_string());
        }
    }

    /// A batch was committed.
    pub(super) fn stored(&self) {
        self.0.coverage.note(State::Recording, "PostgreSQL stores events again");
        self.0.sides.there(Side::Postgres);
    }

    /// A session with the broker was opened.
    pub(super) fn consumes(&self, depths: Depths, expiry: Expiry) {
        self.certificates().broker = expiry.broker;
        self.0.coverage.note(State::Recording, "a session with the broker was opened");
        self.0.sides.there(Side::Broker);
        self.0.depths.send_replace(Some(depths));
    }

    /// No session with the broker could be opened.
    pub(super) fn broker_away(&self, fault: &broker::Fault) {
        self.0.coverage.note(State::Disconnected, fault);
        let kind = match fault.kind {
            broker::Kind::Unreachable => UNREACHABLE,
            broker::Kind::Refused | broker::Kind::Clash => "refused",
            broker::Kind::LostConsuming { .. } => "lost",
        };
        self.0.sides.away(Side::Broker, kind, &fault.to_string());
    }

    /// The session with the broker ended.
    pub(super) fn broker_lost(&self, reason: &str) {
        self.0.coverage.note(State::Disconnected, reason);
        self.0.sides.away(Side::Broker, "lost", reason);
    }

    /// These are the partitions.
    pub(super) fn partitions(&self, partitions: &[Partition]) {
        let with = |presence| partitions.iter().filter(|one| one.presence == presence).count();
        let attached = || partitions.iter().filter(|one| one.presence == Presence::Attached);
        let span = attached()
            .map(|one| one.from)
            .min()
            .zip(attached().map(|one| one.to).max())
            .map(|(from, to)| Span { from, to });
        let mut history = self.history();
        *history = History {
            attached: with(Presence::Attached),
            detached: with(Presence::Detached),
            missing: with(Presence::Missing),
            table_bytes: partitions.iter().map(|one| one.table_bytes).sum(),
            index_bytes: partitions.iter().map(|one| one.index_bytes).sum(),
            span,
            ..*history
        };
    }

    /// A canary came back, or did not.
    pub(super) fn canary(&self, outcome: &Result<Duration, Missing>) {
        let mut canary = self.0.canary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(canary) = &mut *canary {
            canary.take(outcome);
        }
    }

    /// So the ledger stands.
    pub(super) fn ledger(&self, state: &LedgerState) {
        if let Some(ledger) = &mut *self.lock_ledger() {
            ledger.look(state);
        }
    }

    /// Sealing goes on, or has halted until somebody decides, for that reason.
    pub(super) fn sealing(&self, halted: Option<&str>) {
        if let Some(ledger) = &mut *self.lock_ledger() {
            ledger.halted = halted.map(str::to_owned);
        }
    }

    /// A place took a checkpoint, or did not.
    pub(super) fn exported(&self, place: usize, outcome: Result<Reach, &str>) {
        if let Some(ledger) = &mut *self.lock_ledger() {
            ledger.exported(place, outcome);
        }
    }

    fn lock_ledger(&self) -> MutexGuard<'_, Option<LedgerStatus>> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions were looked after, and nothing was in the way.
    pub(super) fn looked_after(&self) {
        self.history().looked_after_at = Some(now());
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until when our own certificates are valid: two small files, which may be replaced at any time. It waits for the disk.
    pub fn look_at_certificates(&self) {
        let (broker, postgres) = (self.0.trust.expiry(), self.0.store.own_certificate());
        let mut certificates = self.certificates();
        certificates.broker_client = broker;
        certificates.postgres_client = postgres.map(|own| own.not_after);
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        self.0.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the daemon fares now; its own certificates as they were looked at last.
    pub fn status(&self) -> Status {
        let Shared { run, tally, pulse, coverage, sides, depths, memory, keep, .. } = &*self.0;
        let present = coverage.present().borrow().clone();
        let (state, since, cause) = match present {
            Some(present) => (present.state, present.since, present.cause),
            None => (State::Starting, run.started_at, "the program was started".to_owned()),
        };
        let stuck = pulse.stuck(self.0.patience);
        let postgres = sides.of(Side::Postgres);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            instance: run.instance.clone(),
            run: run.id,
            exchange: run.exchange.clone(),
            queue_name: run.queue.clone(),
            started_at: run.started_at,
            ready: state == State::Recording && postgres.usable && stuck.is_none(),
            state,
            since,
            cause,
            stuck: stuck
                .map(|(stage, still)| Stuck { stage: stage.name(), seconds: still.as_secs() }),
            broker: sides.of(Side::Broker),
            postgres,
            counts: tally.counts(),
            committed_at: tally.committed_at(),
            in_hand: tally.in_hand(),
            in_hand_limit_bytes: *memory,
            queue: depths.borrow().map(Into::into),
            history: self.history().clone(),
            canary: self.0.canary.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ledger: self.lock_ledger().clone(),
            certificates: *self.certificates(),
            retention_seconds: keep.borrow().map(|keep| keep.as_secs()),
        }
    }
}
