//! One run: traffic, faults and observer at work, then quiet, then the balance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use bloodbank_audit::event;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Plan;
use super::injector::Injector;
use super::ledger::Ledger;
use super::memory::Memory;
use super::mix::Mix;
use super::publisher::Publishing;
use super::recovery::{Recoveries, observe};
use super::scene::Scene;
use crate::figures::clock;
use crate::live::{Figures, Live};
use crate::screen::{REFRESH, Screen};
use crate::worker::{Worker, failure};

/// How often to print a line where no line can be rewritten.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Everything at work.
pub struct Run<'run> {
    pub(super) screen: &'run Screen,
    pub(super) scene: &'run Scene,
    pub(super) mix: Arc<Mix>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) recoveries: Arc<Recoveries>,
    pub(super) memory: Memory,
    pub(super) publisher: Worker,
    pub(super) observer: Worker,
    /// What went wrong, in words, before the balance.
    pub(super) problems: Vec<String>,
    plan: &'run Plan,
    started: Instant,
}

impl<'run> Run<'run> {
    /// Starts the publisher and the observer.
    ///
    /// # Errors
    /// When the events cannot be made.
    pub fn start(screen: &'run Screen, scene: &'run Scene, plan: &'run Plan) -> Result<Self> {
        let mix = Arc::new(Mix::new(plan.seed, event::now())?);
        let (ledger, recoveries) = (Arc::new(Ledger::default()), Arc::new(Recoveries::default()));
        let publishing = Publishing {
            rate: plan.rate,
            exchange: scene.stage.names.exchange.clone(),
            mix: Arc::clone(&mix),
            ledger: Arc::clone(&ledger),
        };
        let address = scene.stage.address();
        let publisher = Worker::start(|stop| async move {
            publishing.run(address, stop).await;
            Ok(())
        });
        let observing = (scene.stage.database_url(), Arc::clone(&ledger), Arc::clone(&recoveries));
        let (url, seen, told) = observing;
        let observer = Worker::start(|stop| observe(url, seen, told, stop));
        Ok(Self {
            screen,
            scene,
            mix,
            ledger,
            recoveries,
            memory: Memory::default(),
            publisher,
            observer,
            problems: Vec::new(),
            plan,
            started: Instant::now(),
        })
    }

    /// Breaks things until the time is up, a signal comes or something fails; then quiets down and draws the balance.
    ///
    /// # Errors
    /// When there is no balance to draw.
    pub async fn until(mut self, stop: &CancellationToken) -> Result<super::report::Report> {
        let mut live = Live::new(self.started);
        if let Err(error) = self.watch(&mut live, stop).await {
            self.print_news();
            let problem = format!("{error:#}");
            self.screen.line(self.screen.alarm(&format!("  {problem}")));
            // Said already; what follows the first line is a log.
            self.problems.extend(problem.lines().next().map(str::to_owned));
            self.screen.during(|| "  mending everything".to_owned(), self.scene.heal()).await?;
        }
        self.quiesce().await
    }

    async fn watch(&mut self, live: &mut Live, stop: &CancellationToken) -> Result<()> {
        let (scene, plan) = (self.scene, self.plan);
        let enough = stop.child_token();
        let injector = Injector {
            scene,
            recoveries: Arc::clone(&self.recoveries),
            ledger: Arc::clone(&self.ledger),
        };
        let faults = injector.run(&plan.schedule, &enough);
        let time_is_up = sleep(plan.duration);
        tokio::pin!(faults, time_is_up);
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut ended, mut printed) = (false, Instant::now());
        loop {
            tokio::select! {
                biased;
                status = scene.stage.daemon.ended_by_itself() => {
                    return Err(self.death(status.to_string()));
                }
                outcome = &mut faults, if !ended => {
                    outcome?;
                    ended = true;
                }
                () = &mut time_is_up, if !enough.is_cancelled() => enough.cancel(),
                outcome = self.publisher.outcome() => {
                    return Err(failure(outcome).context("the publisher"));
                }
                outcome = self.observer.outcome() => {
                    return Err(failure(outcome).context("watching the history"));
                }
                _ = refresh.tick() => {
                    self.show(live, &mut printed);
                    if self.screen.is_closed() {
                        enough.cancel();
                    }
                }
            }
            // A fault that has begun is ended first.
            if ended && enough.is_cancelled() {
                self.show(live, &mut printed);
                return Ok(());
            }
        }
    }

    fn death(&self, status: String) -> Error {
        let log = self.scene.stage.daemon.log_tail();
        Error::msg(format!("the daemon has ended by itself: {status}; its log ends:\n{log}"))
    }

    fn show(&self, live: &mut Live, printed: &mut Instant) {
        self.memory.look(self.scene.stage.daemon.pid());
        self.print_news();
        let now = Instant::now();
        let width = self.screen.width();
        let broken = self.recoveries.broken();
        let broken =
            broken.map(|planned| format!("  {}", planned.fault.kind())).unwrap_or_default();
        let line = live.line(self.figures(), now, width) + &broken;
        if self.screen.is_terminal() {
            self.screen.live(&line);
        } else if now - *printed >= PLAIN_EVERY {
            *printed = now;
            self.screen.line(line);
        }
    }

    fn figures(&self) -> Figures {
        let totals = self.recoveries.totals();
        Figures {
            published: Some(self.ledger.totals().0),
            stored: totals.stored,
            rejections: totals.rejections,
            latency: None,
        }
    }

    /// Prints what has become of faults since the last time.
    pub(super) fn print_news(&self) {
        for news in self.recoveries.news() {
            let at = clock(self.started.elapsed());
            self.screen.line(format!("  {} {news}", self.screen.dim(&format!("{at:>6}"))));
        }
    }
}
