//! `cargo xtask bench`: how much, how fast and at what cost, on private servers, beside what else could do the work.
//!
//! Figures are CPU time and ratios within one run first, and rates second: on a shared machine only those are steady.

mod beside;
pub mod bus;
pub mod cpu;
pub mod database;
mod drain;
pub mod envelope;
mod figure;
mod growth;
mod latency;
pub mod machine;
mod meter;
mod observer;
mod past;
mod profile;
mod proof;
mod queries;
mod recorded;
mod release;
mod replay;
mod report;
mod scale;
pub mod scene;
pub mod space;
mod table;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use testbed::{Package, ensure_installed};

use crate::interruptible::{INTERRUPTED, interruptible};
use crate::screen::Screen;
use report::Report;
use scale::Scale;
use scene::Scene;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// A backlog until its last event is visible, beside consuming alone, COPY alone and a consumer in Python
    Drain,
    /// Publish to visible, beside a single INSERT and the broker's own delivery
    Latency,
    /// Draining into a table that holds many rows already
    Growth,
    /// Peak memory of the daemon, from its drains
    Memory,
    /// Bytes of table, indexes and WAL an event, from its drains
    Size,
    /// How long the history takes to answer, with a past of months; only where it is named
    Queries,
    /// Publishing the history to a queue, beside a bare publisher; only where it is named
    Replay,
    /// Checking a recorded history; only where it is named
    Verify,
    /// Proving one event, and checking its proof; only where it is named
    Prove,
}

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to measure; everything but queries, replay, verify and prove where nothing is named
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// How often each measurement is taken; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Events of a backlog, and of the history that is replayed, verified and proven
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    events: u32,
    /// Rows that the table holds before it grows; 50000000 take half an hour and 30 GB
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000000")]
    growth_rows: Vec<u64>,
    /// Millions of rows that the table holds before it grows: `--growth 50`
    #[arg(long, value_name = "MILLIONS,…", value_delimiter = ',', conflicts_with = "growth_rows")]
    growth: Vec<u64>,
    /// Only the queries, as the scenario of that name
    #[arg(long)]
    queries: bool,
    /// Only replay, as the scenario of that name
    #[arg(long)]
    replay: bool,
    /// Only verify, as the scenario of that name
    #[arg(long)]
    verify: bool,
    /// Only prove, as the scenario of that name
    #[arg(long)]
    prove: bool,
    /// Millions of events of the past that is asked, in 60 daily partitions; each takes half a gigabyte
    #[arg(long, value_name = "MILLIONS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    past: u32,
    /// Write every figure of every run there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a profile of the daemon's CPU time while it drains there, taken with perf
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    scene: scene::Options,
}

/// Runs this with optimised builds, unless it is to be quick, and ends before its end where a signal comes.
///
/// # Errors
/// Those of the work, and when it cannot be begun.
pub fn run(
    options: &scene::Options,
    screen: &Screen,
    work: impl Future<Output = Result<ExitCode>>,
) -> Result<ExitCode> {
    if !options.quick && cfg!(debug_assertions) {
        return release::run_again();
    }
    interruptible(screen, async |stop| {
        // Half of a measurement is none.
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(ExitCode::from(INTERRUPTED)),
            outcome = work => outcome,
        }
    })
}

impl Options {
    /// Measures what is asked for, and ends before that where a signal comes.
    pub fn run(mut self) -> Result<ExitCode> {
        let flags = [
            (self.queries, Scenario::Queries),
            (self.replay, Scenario::Replay),
            (self.verify, Scenario::Verify),
            (self.prove, Scenario::Prove),
        ];
        self.scenarios.extend(flags.iter().filter(|(asked, _)| *asked).map(|(_, word)| *word));
        let drains = [Scenario::Drain, Scenario::Memory, Scenario::Size];
        let none_drains = !drains.iter().any(|scenario| self.scenarios.contains(scenario));
        if self.profile.is_some() && !self.scenarios.is_empty() && none_drains {
            bail!("--profile is taken of a drain: ask for drain too");
        }
        let screen = Screen::new();
        run(&self.scene, &screen, self.measure(&screen))
    }

    async fn measure(&self, screen: &Screen) -> Result<ExitCode> {
        screen.line(screen.bold("bloodbank-audit, measured"));
        let scale = Scale::of(self);
        ensure_installed(&[Package::RabbitMq, Package::Postgres]).await?;
        let scene = Scene::set(screen, &self.scene).await?;
        let mut report = Report::new(&scene, &scale).await?;
        report.print_head(screen);
        let names = |scenario| self.scenarios.contains(&scenario);
        let asks_for = |scenario| self.scenarios.is_empty() || names(scenario);
        let mut past = None;
        if names(Scenario::Queries) || self.scene.quick {
            let made = past::generate(screen, &scene, scale.past, scale.past_days).await?;
            report.queries = queries::measure(screen, &made, &scale).await?;
            past = Some(made);
        }
        let only_daemon = !asks_for(Scenario::Drain);
        if !only_daemon || asks_for(Scenario::Memory) || asks_for(Scenario::Size) {
            let profile = self.profile.as_deref();
            report.drain =
                Some(drain::measure(screen, &scene, &scale, only_daemon, profile).await?);
        }
        if asks_for(Scenario::Latency) {
            report.latency = Some(latency::measure(screen, &scene, &scale).await?);
        }
        if asks_for(Scenario::Growth) {
            report.growth = Some(growth::measure(screen, &scene, &scale, past).await?);
        }
        if names(Scenario::Replay) || self.scene.quick {
            report.replay = Some(replay::measure(screen, &scene, &scale).await?);
        }
        let quick = self.scene.quick;
        let asked = proof::Asked {
            verify: names(Scenario::Verify) || quick,
            prove: names(Scenario::Prove) || quick,
        };
        if asked.verify || asked.prove {
            report.proofs = Some(proof::measure(screen, &scene, &scale, asked).await?);
        }
        report.print(screen);
        if let Some(file) = &self.json {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
