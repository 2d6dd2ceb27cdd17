//! `cargo xtask up`: the whole thing at work, on private servers, with the balance in the end.

mod balance;
mod hints;
mod ledger;
mod observer;
mod report;
mod run;
mod traffic;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use testbed::{Package, ensure_installed};
use tokio_util::sync::CancellationToken;

use crate::interruptible::{INTERRUPTED, interruptible};
use crate::screen::Screen;
use crate::stage::Stage;
use run::Run;

/// Options of `cargo xtask up`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Sample events a second, 1 to 50000
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=50_000)
    )]
    rate: u32,
    /// Stop after this long, such as 20s or 5m; else at Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Publish nothing: servers and daemon, for publishers of your own
    #[arg(long, conflicts_with = "rate")]
    no_traffic: bool,
    /// Leave the servers' data and the logs behind
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// Runs until a signal or the time given; a second signal ends it at once.
    ///
    /// The exit status is 0 only if every published event is in the table, nothing else is, and the daemon
    /// stopped cleanly.
    pub fn run(self) -> Result<ExitCode> {
        let screen = Screen::new();
        interruptible(&screen, async |stop| self.up(&screen, stop).await)
    }

    async fn up(&self, screen: &Screen, stop: &CancellationToken) -> Result<ExitCode> {
        screen.line(screen.bold("bloodbank-audit, on private servers"));
        screen.line("");
        // Not cut short: at a terminal Ctrl-C reaches apt itself.
        ensure_installed(&[Package::RabbitMq, Package::Postgres]).await?;
        let (stage, evidence) = tokio::select! {
            biased;
            () = stop.cancelled() => {
                screen.line("  stopped before everything was up");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            started = Stage::start(screen, self.keep) => started?,
        };
        let rate = (!self.no_traffic).then_some(self.rate);
        hints::print(screen, &stage, &evidence, rate.is_some());
        let run = Run::start(screen, &stage, rate).await?;
        let report = run.until(stop, self.duration).await?;
        report.print(screen);
        if self.keep {
            screen.during(|| "  stopping the servers".to_owned(), stage.stop_servers()).await?;
        }
        Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
