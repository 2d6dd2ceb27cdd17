//! Brings the faults of a schedule about, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use testbed::{Direction, Mode, eventually};
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, Side};
use super::ledger::Ledger;
use super::recovery::Recoveries;
use super::scene::{Scene, disarm};
use super::schedule::{Planned, Schedule};
use crate::stage::Stage;

/// How long to wait until the bytes pass that a connection is to be cut at.
const TRIP_LIMIT: Duration = Duration::from_secs(5);
/// How long the next fault may be held back until events are stored again.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the daemon ends with when it could not finish in time; it may where a fault keeps it from that.
const UNFINISHED: i32 = 75;

/// The faults of one run.
pub struct Injector<'scene> {
    /// What to break.
    pub scene: &'scene Scene,
    /// Where faults are noted.
    pub recoveries: Arc<Recoveries>,
    /// Where the recovery's events are noted.
    pub ledger: Arc<Ledger>,
}

impl Injector<'_> {
    /// Goes through the schedule; told to stop it ends the present fault and returns.
    ///
    /// # Errors
    /// When something that was broken cannot be mended, or the daemon does not stop cleanly when asked to.
    pub async fn run(&self, schedule: &Schedule, stop: &CancellationToken) -> Result<()> {
        let mut started = Instant::now();
        for planned in &schedule.0 {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep_until((started + planned.at).into()) => {}
            }
            self.recoveries.begin(*planned, &self.ledger);
            let happened = self.inject(planned, stop).await;
            match happened.with_context(|| planned.to_string())? {
                None => {
                    self.recoveries.end(&self.ledger);
                    if planned.patient {
                        self.await_recovery(stop).await;
                    }
                }
                Some(why) => self.recoveries.skip(why),
            }
            // What took longer than planned puts off all that follows, so that pauses stay as they were drawn.
            let late = (started + planned.at + planned.fault.nominal()).elapsed();
            started += late;
        }
        Ok(())
    }

    /// Breaks it and mends it. Where it could not be broken, says why.
    async fn inject(
        &self,
        planned: &Planned,
        stop: &CancellationToken,
    ) -> Result<Option<&'static str>> {
        let scene = self.scene;
        let Stage { rabbitmq, postgres, .. } = &scene.stage;
        match planned.fault {
            Fault::DaemonKilled => self.kill_daemon()?,
            Fault::DaemonStopped => self.restart_daemon().await?,
            Fault::Killed { side: Side::Broker, away } => {
                rabbitmq.kill();
                self.pause(away, stop).await;
                rabbitmq.start_again().await?;
            }
            Fault::Killed { side: Side::Database, away } => {
                postgres.kill();
                self.pause(away, stop).await;
                postgres.start_again().await?;
            }
            Fault::Restarted(Side::Broker) => rabbitmq.restart().await?,
            Fault::Restarted(Side::Database) => postgres.restart().await?,
            Fault::BothKilled => {
                rabbitmq.kill();
                postgres.kill();
                tokio::try_join!(rabbitmq.start_again(), postgres.start_again())?;
            }
            Fault::BothRestarted => {
                tokio::try_join!(rabbitmq.restart(), postgres.restart())?;
            }
            Fault::Stalled { side, .. } => self.link(side, Mode::Stall, planned, stop).await?,
            Fault::StalledTowards { side, direction, .. } => {
                self.link(side, Mode::StallTowards(direction), planned, stop).await?;
            }
            Fault::HalfOpen { side, .. } => self.link(side, Mode::HalfOpen, planned, stop).await?,
            Fault::Cut(side) => scene.proxy(side).cut().await,
            Fault::CutInside { side, direction, bytes } => {
                return Ok(self.cut_at(side, direction, bytes).await);
            }
            Fault::AnswerLost => {
                return Ok(self.cut_at(Side::Database, Direction::ToClient, 0).await);
            }
            Fault::MemoryAlarm { .. } => {
                scene.set_alarm(true).await?;
                self.hold(planned, stop).await?;
                scene.set_alarm(false).await?;
            }
            Fault::DiskFull { .. } => {
                let Some(disk) = &scene.disk else { return Ok(Some("there is no disk to fill")) };
                disk.fill()?;
                self.hold(planned, stop).await?;
                disk.free()?;
            }
        }
        Ok(None)
    }

    async fn link(
        &self,
        side: Side,
        mode: Mode,
        planned: &Planned,
        stop: &CancellationToken,
    ) -> Result<()> {
        self.scene.proxy(side).set(mode).await;
        self.hold(planned, stop).await?;
        self.scene.proxy(side).set(Mode::Forward).await;
        Ok(())
    }

    /// Keeps a fault up for its time, with a kill of the daemon in the middle where one is planned.
    async fn hold(&self, planned: &Planned, stop: &CancellationToken) -> Result<()> {
        let half = planned.fault.held().unwrap_or_default() / 2;
        self.pause(half, stop).await;
        if planned.with_kill {
            self.kill_daemon()?;
        }
        self.pause(half, stop).await;
        Ok(())
    }

    /// Waits until events are stored again, or for as long as patience lasts.
    async fn await_recovery(&self, stop: &CancellationToken) {
        let recovered = eventually("events are stored again", PATIENCE, || async {
            if self.recoveries.is_recovered() { Ok(()) } else { Err("not yet") }
        });
        tokio::select! {
            _ = recovered => {}
            () = stop.cancelled() => {}
        }
    }

    async fn pause(&self, time: Duration, stop: &CancellationToken) {
        tokio::select! {
            () = sleep(time) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Cuts a connection once that many more bytes have passed.
    async fn cut_at(&self, side: Side, direction: Direction, bytes: u64) -> Option<&'static str> {
        let proxy = self.scene.proxy(side);
        proxy.cut_after(direction, bytes);
        let cut = eventually("the connection is cut", TRIP_LIMIT, || async {
            if proxy.is_armed() { Err("not yet") } else { Ok(()) }
        });
        let cut = cut.await.is_ok();
        disarm(proxy);
        (!cut).then_some("nothing passed that could be cut")
    }

    fn kill_daemon(&self) -> Result<()> {
        self.scene.stage.daemon.kill()?;
        self.scene.stage.daemon.start(&self.scene.launch)
    }

    async fn restart_daemon(&self) -> Result<()> {
        let daemon = &self.scene.stage.daemon;
        if !daemon.is_running() {
            bail!("the daemon has ended by itself");
        }
        let status = daemon.stop().await?;
        if !status.success() && status.code() != Some(UNFINISHED) {
            bail!(
                "asked to stop, the daemon ended with {status}; its log ends:\n{}",
                daemon.log_tail()
            );
        }
        daemon.start(&self.scene.launch)
    }
}
