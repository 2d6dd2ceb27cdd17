//! The end of a run: everything whole, nothing published any more, nothing on the way; then the balance.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testbed::eventually;
use tokio::time::timeout;

use super::balance::Balance;
use super::evidence;
use super::ledger::Records;
use super::report::Report;
use super::run::Run;
use crate::figures::events;
use crate::history::History;
use crate::stage::queue;

/// How long after the last fault until events are stored again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(180);
/// How long the broker's last confirms may take.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);
/// How long the daemon may take for all that the queue still holds.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);
/// How long the broker may take to move the last dead letters.
const DEAD_LETTER_LIMIT: Duration = Duration::from_secs(30);

impl Run<'_> {
    /// Waits for the recovery, the confirms and the empty queue, stops the daemon, verifies, and compares.
    ///
    /// # Errors
    /// When the servers cannot be read. What does not come in time is a problem of the report.
    pub async fn quiesce(mut self) -> Result<Report> {
        let recovered = eventually("events are stored again", RECOVERY_LIMIT, || async {
            if self.recoveries.is_recovered() { Ok(()) } else { Err("not yet") }
        });
        let status = || "  waiting until events are stored after the last fault".to_owned();
        let recovered = self.screen.during(status, recovered).await;
        self.print_news();
        self.note(recovered);
        let confirms = timeout(CONFIRM_LIMIT, self.publisher.end());
        let status = || "  stopping: the last confirms".to_owned();
        let confirmed = self.screen.during(status, confirms).await;
        self.note(confirmed.context("the broker does not confirm the rest").flatten());
        let status = || "  stopping: the queue runs empty".to_owned();
        let drained = self.screen.during(status, self.drained()).await;
        self.note(drained);
        self.memory.look(self.scene.stage.daemon.pid());
        let stopping = self.scene.stage.daemon.stop();
        let status = self.screen.during(|| "  stopping the daemon".to_owned(), stopping).await?;
        let observed = self.observer.end().await;
        self.note(observed);
        if !status.success() {
            let log = self.scene.stage.daemon.log_tail();
            self.problems.push(format!("the daemon ended with {status}; its log ends:\n{log}"));
        }
        let verified = self.verify().await;
        let verified = match verified {
            Ok(verified) => verified,
            Err(error) => {
                self.problems.push(format!("{error:#}"));
                String::new()
            }
        };
        self.compare(verified).await
    }

    /// Has `verify` check the history against every checkpoint that went out, and returns what it says.
    async fn verify(&self) -> Result<String> {
        let stage = &self.scene.stage;
        let url = stage.database_url();
        let verifying = self.scene.evidence.verify(&stage.daemon, stage.binary(), &url);
        let status = || "  verifying the history against its checkpoints".to_owned();
        let output = self.screen.during(status, verifying).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("verify ended with {}:\n{said}{errors}", output.status);
        }
        Ok(said)
    }

    /// Returns when the daemon's queue holds nothing, neither ready nor in hand.
    async fn drained(&self) -> Result<()> {
        let stage = &self.scene.stage;
        let words = ["list_queues", "--no-table-headers", "name", "messages"];
        let empty = eventually("the daemon's queue is empty", DRAIN_LIMIT, || async {
            // Cheap, and mostly the answer; rabbitmqctl alone counts what is in hand.
            let depth = queue::depth(&stage.address(), &stage.names.queue).await;
            let ready = depth.map_err(|error| format!("{error:#}"))?.ready;
            if ready > 0 {
                return Err(format!("{ready} wait"));
            }
            let queues = stage.rabbitmq.ctl(&words).await.map_err(|error| format!("{error:#}"))?;
            let line = format!("{}\t0", stage.names.queue);
            if queues.lines().any(|queue| queue == line) { Ok(()) } else { Err(queues) }
        });
        tokio::select! {
            empty = empty => empty,
            status = stage.daemon.ended_by_itself() => {
                bail!("the daemon has ended by itself: {status}; its log ends:\n{}", stage.daemon.log_tail())
            }
        }
    }

    async fn compare(self, verified: String) -> Result<Report> {
        let stage = &self.scene.stage;
        let (published, confirmed) = self.ledger.totals();
        let records = self.ledger.close();
        let kinds = self.recoveries.kinds();
        let gathering = async {
            self.dead_letters_moved(&records).await;
            let url = stage.database_url();
            let (address, queue) = (stage.address(), &stage.names.dead_letter_queue);
            let found =
                evidence::gather(&url, &address, queue, self.recoveries.broker_ends()).await?;
            let totals = History::open(&url).await?.totals().await?;
            anyhow::Ok((found, totals))
        };
        let status = || format!("  comparing {} with what was published", events(published));
        let (found, totals) = self.screen.during(status, gathering).await?;
        Ok(Report {
            published,
            confirmed,
            duplicates: totals.duplicates,
            balance: Balance::draw(&records, &found),
            kinds,
            peak_kib: self.memory.peak_kib(),
            verified,
            problems: self.problems,
            mix: self.mix,
        })
    }

    /// Waits until the broker has moved what was rejected; where it does not, the balance tells.
    async fn dead_letters_moved(&self, records: &Records) {
        let refused = records.entries.values().filter(|entry| entry.refused);
        let expected: u32 = refused.map(|entry| entry.confirmed).sum();
        let (address, name) =
            (self.scene.stage.address(), &self.scene.stage.names.dead_letter_queue);
        let moved = eventually("the dead letters are moved", DEAD_LETTER_LIMIT, || async {
            let depth = queue::depth(&address, name).await.map_err(|error| format!("{error:#}"))?;
            if depth.ready >= expected { Ok(()) } else { Err(format!("{} there", depth.ready)) }
        });
        let _ = moved.await;
    }

    fn note<T>(&mut self, outcome: Result<T>) {
        if let Err(error) = outcome {
            self.problems.push(format!("{error:#}"));
        }
    }
}
