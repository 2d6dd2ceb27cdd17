//! One run: traffic and observer at work, the end in order, the balance.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use testbed::Deadline;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::balance::Comparison;
use super::ledger::{Ledger, Published, Records};
use super::observer::{Seen, observe};
use super::report::{Report, SampleBalance};
use super::traffic::Traffic;
use crate::figures::{count, events};
use crate::history::{History, Totals};
use crate::live::{Figures, Live};
use crate::samples::Samples;
use crate::screen::{REFRESH, Screen};
use crate::stage::Stage;
use crate::stage::queue;
use crate::worker::{Worker, failure};

/// How often to print a line where no line can be rewritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// How long to wait for the broker's last confirms, and for the daemon to store what was confirmed.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long the broker may take to put back what a dead daemon held, and reading it may take.
const REQUEUE_LIMIT: Duration = Duration::from_secs(3);
const QUEUE_LIMIT: Duration = Duration::from_secs(20);
/// How often to look whether all is stored.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Lost events to name.
const MOST_NAMES: usize = 10;

/// Traffic and observer, at work.
pub struct Run<'stage> {
    screen: &'stage Screen,
    stage: &'stage Stage,
    history: History,
    samples: Arc<Samples>,
    ledger: Arc<Ledger>,
    seen: Arc<Seen>,
    traffic: Option<Worker>,
    observer: Worker,
}

/// Why a run ends.
enum Ending {
    /// As it should: a signal, the time, or nobody reads what it prints.
    Asked,
    DaemonEnded(ExitStatus),
    Failed(Error),
}

impl<'stage> Run<'stage> {
    /// Starts the observer and, where there is a rate, the traffic.
    ///
    /// # Errors
    /// When the database does not let us read.
    pub async fn start(
        screen: &'stage Screen,
        stage: &'stage Stage,
        rate: Option<u32>,
    ) -> Result<Self> {
        let url = stage.database_url();
        let samples = Arc::new(Samples::new(rand::random())?);
        let (ledger, seen) = (Arc::new(Ledger::new()), Arc::new(Seen::default()));
        let observer = {
            let (history, ledger, seen) =
                (History::open(&url).await?, Arc::clone(&ledger), Arc::clone(&seen));
            Worker::start(|stop| observe(history, ledger, seen, stop))
        };
        let traffic = rate.map(|rate| {
            let traffic = Traffic {
                rate,
                exchange: stage.names.exchange.clone(),
                samples: Arc::clone(&samples),
                ledger: Arc::clone(&ledger),
            };
            let address = stage.address();
            Worker::start(|stop| traffic.run(address, stop))
        });
        let history = History::open(&url).await?;
        Ok(Self { screen, stage, history, samples, ledger, seen, traffic, observer })
    }

    /// Shows how it goes until it is to end, ends it in order, and draws the balance.
    ///
    /// # Errors
    /// When the balance cannot be drawn. What went wrong before is in the report or has been said.
    pub async fn until(
        mut self,
        stop: &CancellationToken,
        duration: Option<Duration>,
    ) -> Result<Report> {
        let mut live = Live::new(Instant::now());
        let ending = self.watch(&mut live, stop, duration).await;
        self.screen.line(self.figures_line(&mut live));
        let mut failed = None;
        match ending {
            Ending::Asked => self.drain().await,
            Ending::DaemonEnded(status) => self.mourn(status).await,
            Ending::Failed(error) => {
                self.screen.line(self.screen.alarm(&format!("  {error:#}")));
                self.await_confirms().await;
                failed = Some(error);
            }
        }
        let stopping = self.stage.daemon.stop();
        let status = self.screen.during(|| "  stopping the daemon".to_owned(), stopping).await?;
        if let Err(error) = self.observer.end().await {
            self.screen.line(self.screen.alarm(&format!("  {error:#}")));
        }
        let report = self.balance(status).await;
        match (report, failed) {
            (Ok(report), None) => Ok(report),
            (Ok(report), Some(error)) => {
                report.print(self.screen);
                Err(error)
            }
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(error.context("draw the balance")),
        }
    }

    async fn watch(
        &mut self,
        live: &mut Live,
        stop: &CancellationToken,
        duration: Option<Duration>,
    ) -> Ending {
        let every = if self.screen.is_terminal() { REFRESH } else { PLAIN_EVERY };
        let mut refresh = interval(every);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        refresh.reset();
        let time_is_up = async {
            match duration {
                Some(duration) => sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(time_is_up);
        loop {
            tokio::select! {
                biased;
                status = self.stage.daemon.ended() => return Ending::DaemonEnded(status),
                () = stop.cancelled() => return Ending::Asked,
                () = &mut time_is_up => return Ending::Asked,
                outcome = Worker::ended(self.traffic.as_mut()) => {
                    return Ending::Failed(outcome.context("the sample publisher"));
                }
                outcome = self.observer.outcome() => {
                    return Ending::Failed(failure(outcome).context("watching the history"));
                }
                _ = refresh.tick() => {
                    let line = self.figures_line(live);
                    if self.screen.is_terminal() { self.screen.live(&line) } else { self.screen.line(line) }
                    if self.screen.is_closed() {
                        return Ending::Asked;
                    }
                }
            }
        }
    }

    fn figures_line(&self, live: &mut Live) -> String {
        let now = Instant::now();
        let totals = self.seen.totals();
        let figures = Figures {
            published: self.traffic.as_ref().map(|_| self.ledger.published().published),
            stored: totals.stored,
            rejections: totals.rejections,
            latency: self.ledger.recent_latency(now),
        };
        live.line(figures, now, self.screen.width())
    }

    /// Ends the traffic and waits, within limits, until all that was confirmed has been dealt with.
    async fn drain(&mut self) {
        self.await_confirms().await;
        if self.traffic.is_none() {
            return;
        }
        let (ledger, seen) = (&self.ledger, &self.seen);
        let status = || {
            let waiting = ledger.published().confirmed.saturating_sub(seen.totals().settled());
            format!("  stopping: {} on the way into the history", events(waiting))
        };
        let emptied = all_settled(&mut self.history, self.stage, ledger);
        if let Err(error) = self.screen.during(status, emptied).await {
            self.screen.line(self.screen.alarm(&format!("  {error:#}")));
        }
    }

    /// Ends the traffic; what is in flight is answered by the broker, or given up on.
    async fn await_confirms(&mut self) {
        let Some(traffic) = &mut self.traffic else { return };
        let ledger = &self.ledger;
        let status = || {
            let Published { published, confirmed, refused } = ledger.published();
            let waiting = published - confirmed - refused;
            format!("  stopping: {} not confirmed yet", events(waiting))
        };
        match self.screen.during(status, timeout(CONFIRM_LIMIT, traffic.end())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.screen.line(self.screen.alarm(&format!("  {error:#}"))),
            Err(_) => self.screen.line(self.screen.alarm("  the broker does not confirm the rest")),
        }
    }

    async fn mourn(&mut self, status: ExitStatus) {
        let screen = self.screen;
        screen.line(
            screen.alarm(&format!("  The daemon has ended by itself: {status}. Its log ends:")),
        );
        screen.line(self.stage.daemon.log_tail().trim_end());
        screen.line("");
        self.await_confirms().await;
    }

    async fn balance(&mut self, status: ExitStatus) -> Result<Report> {
        let totals = self.history.totals().await?;
        let (address, queue) = (self.stage.address(), &self.stage.names.queue);
        if self.traffic.is_none() {
            let waiting = queue::depth(&address, queue).await.ok().map(|depth| depth.ready.into());
            return Ok(Report { totals, status, samples: None, waiting });
        }
        let records = self.ledger.close();
        let samples = self.compare(records, totals).await?;
        Ok(Report { totals, status, samples: Some(samples), waiting: None })
    }

    async fn compare(&mut self, records: Records, totals: Totals) -> Result<SampleBalance> {
        let Records { digests, unconfirmed, published, latency } = records;
        let mut comparison = Comparison::new(&digests);
        let status = || format!("  comparing {} with what was published", events(totals.stored));
        let reading = self.history.each_body(|digest| comparison.store(&digest));
        self.screen.during(status, reading).await?;
        for digest in self.history.rejected_bodies().await? {
            comparison.excuse(&digest);
        }
        let (mut queued, mut dead_lettered) = (0, 0);
        if !comparison.missing(&unconfirmed).is_empty() {
            let status = || "  looking for the rest in the queue".to_owned();
            let names = &self.stage.names;
            let looking = async {
                self.requeued(totals.settled(), published.confirmed).await;
                queued = self.excuse_from(&names.queue, &mut comparison).await;
                dead_lettered = self.excuse_from(&names.dead_letter_queue, &mut comparison).await;
            };
            self.screen.during(status, looking).await;
        }
        let missing = comparison.missing(&unconfirmed);
        Ok(SampleBalance {
            published,
            stored: comparison.stored,
            queued,
            dead_lettered,
            repeated: comparison.repeated,
            foreign: comparison.foreign,
            lost: missing.len() as u64,
            lost_names: missing.iter().take(MOST_NAMES).map(|&n| self.samples.name(n)).collect(),
            latency,
        })
    }

    /// Waits until the broker has put back what the daemon held when it died.
    async fn requeued(&self, settled: u64, confirmed: u64) {
        let (address, queue) = (self.stage.address(), &self.stage.names.queue);
        let deadline = Deadline::after(REQUEUE_LIMIT);
        let back = deadline.until("everything is back in the queue", async || {
            let ready = queue::depth(&address, queue).await.map(|depth| u64::from(depth.ready));
            ready.ok().filter(|ready| settled + ready >= confirmed).ok_or("not yet")
        });
        // Where it does not come back, the balance says what is missing.
        let _ = back.await;
    }

    /// Accounts for what one queue holds, and returns how many of them had been missing.
    async fn excuse_from(&self, queue: &str, comparison: &mut Comparison<'_>) -> u64 {
        match queue::bodies(&self.stage.address(), queue, QUEUE_LIMIT).await {
            Ok(digests) => digests.iter().filter(|digest| comparison.excuse(digest)).count() as u64,
            Err(error) => {
                self.screen.line(format!("  {queue} cannot be read: {error:#}"));
                0
            }
        }
    }
}

/// Waits until the daemon has dealt with all that was confirmed, and its queue is empty.
async fn all_settled(history: &mut History, stage: &Stage, ledger: &Ledger) -> Result<()> {
    let (address, queue) = (stage.address(), &stage.names.queue);
    let deadline = Deadline::after(DRAIN_LIMIT);
    let settled = async {
        loop {
            let settled = history.totals().await?.settled();
            let ready = queue::depth(&address, queue).await?.ready;
            let confirmed = ledger.published().confirmed;
            if settled >= confirmed && ready == 0 {
                return Ok(());
            }
            if deadline.passed() {
                bail!(
                    "not within {DRAIN_LIMIT:?}: {} of {} confirmed are stored, {ready} in the queue",
                    count(settled),
                    events(confirmed)
                );
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        settled = settled => settled,
        status = stage.daemon.ended() => bail!("the daemon ended meanwhile, with {status}"),
    }
}
