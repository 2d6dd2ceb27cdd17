//! `cargo xtask soak`: random traffic under random faults, then the balance. A seed replays a schedule.

mod balance;
mod disk;
mod evidence;
mod fault;
mod injector;
mod kept;
mod ledger;
mod memory;
mod mix;
mod publisher;
mod quiesce;
mod recovery;
mod report;
mod run;
mod scene;
mod schedule;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use testbed::{Package, ensure_installed};
use tokio_util::sync::CancellationToken;

use crate::interruptible::{INTERRUPTED, interruptible};
use crate::screen::Screen;
use run::Run;
use scene::Scene;
use schedule::Schedule;

/// The disk that can be full lies in memory: a run that publishes more than this goes without.
const MOST_ON_DISK: u64 = 1_000_000;

/// Options of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long to break things, such as 90s or 10m; the balance comes after it
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Faults and events of that seed; without it, of a random one, which is printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Events a second, 1 to 10000
    #[arg(
        long,
        value_name = "N",
        default_value_t = 300,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    rate: u32,
    /// Print the schedule and do nothing
    #[arg(long)]
    schedule: bool,
    /// Leave the servers' data and the logs behind
    #[arg(long)]
    keep: bool,
}

/// What a run is made from.
struct Plan {
    seed: u64,
    duration: Duration,
    rate: u32,
    schedule: Schedule,
}

impl Plan {
    /// The command that does the same again.
    fn command(&self) -> String {
        let duration = humantime::format_duration(self.duration).to_string().replace(' ', "");
        format!("cargo xtask soak --seed {} --for {duration} --rate {}", self.seed, self.rate)
    }
}

impl Options {
    /// Runs until the time is up or a signal comes; a second one ends it at once.
    ///
    /// The exit status is 0 only if the balance is right and the daemon never ended but when told to.
    pub fn run(self) -> Result<ExitCode> {
        let seed = self.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
        let schedule = Schedule::of(seed, self.duration);
        let plan = Plan { seed, duration: self.duration, rate: self.rate, schedule };
        let screen = Screen::new();
        if self.schedule {
            screen.line(plan.schedule.to_string().trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        // Before any thread is there, since each would keep the mounts it was started with.
        let with_disk = self.own_mounts(&screen);
        let outcome =
            interruptible(&screen, async |stop| self.soak(&screen, &plan, with_disk, stop).await);
        if outcome.is_err() {
            screen.line(format!("  again: {}", plan.command()));
        }
        outcome
    }

    fn own_mounts(&self, screen: &Screen) -> bool {
        let published = self.duration.as_secs().saturating_mul(self.rate.into());
        let why = if self.keep {
            "what is kept would be without its data".to_owned()
        } else if published > MOST_ON_DISK {
            format!("a run of {published} events is too long for a disk in memory")
        } else {
            match disk::own_mounts() {
                Ok(()) => return true,
                Err(error) => format!("{error:#}"),
            }
        };
        screen.line(format!("  No disk will be full: {why}."));
        false
    }

    async fn soak(
        &self,
        screen: &Screen,
        plan: &Plan,
        with_disk: bool,
        stop: &CancellationToken,
    ) -> Result<ExitCode> {
        screen.line(screen.bold(&format!("bloodbank-audit, soaked: seed {}", plan.seed)));
        let duration = humantime::format_duration(plan.duration);
        let (faults, digest) = (plan.schedule.0.len(), plan.schedule.digest());
        screen.line(format!(
            "  {faults} faults in {duration}, schedule {digest}, {} events/s",
            plan.rate
        ));
        screen.line("");
        // Not cut short: at a terminal Ctrl-C reaches apt itself.
        ensure_installed(&[Package::RabbitMq, Package::Postgres]).await?;
        let scene = tokio::select! {
            biased;
            () = stop.cancelled() => {
                screen.line("  stopped before everything was up");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            scene = Scene::set(screen, self.keep, with_disk) => scene?,
        };
        let outcome = Run::start(screen, &scene, plan)?.until(stop).await;
        let clean = match &outcome {
            Ok(report) => {
                report.print(screen);
                report.is_clean()
            }
            Err(_) => false,
        };
        if !clean {
            kept::keep(screen, &scene.stage, plan);
        }
        outcome?;
        if !clean {
            screen.line(format!("  again: {}", plan.command()));
        }
        Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
