//! `cargo xtask memory`: the daemon's peak memory with backlogs of all sizes, against what is promised.

mod case;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bloodbank_audit::config::{Config, Environment, Flags};
use clap::ValueEnum as _;
use testbed::{Package, ensure_installed};

use crate::bench::{self, machine::Machine, scene, scene::Scene, space};
use crate::figures;
use crate::screen::Screen;
use case::{Backlog, Case, Outcome, Postgres, Scale};

/// Options of `cargo xtask memory`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What waits in the queue; one after the other where nothing is named
    #[arg(value_enum)]
    backlogs: Vec<Backlog>,
    /// What PostgreSQL does; one after the other where nothing is named
    #[arg(long, value_enum, value_name = "HOW,…", value_delimiter = ',')]
    database: Vec<Postgres>,
    /// Large bodies; 1000 of 8 MiB take 25 GB of the disk [default: 1000, with --quick 12]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    large: Option<u32>,
    /// Small bodies, of 600 bytes [default: 1000000, with --quick 3000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    small: Option<u32>,
    /// Bytes of a large body
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    body: u32,
    /// Write every figure there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    scene: scene::Options,
}

impl Options {
    /// Goes through the cases, and ends before that where a signal comes.
    ///
    /// The exit status is 0 only if each peak stays under twice `ingest.memory` and everything is stored once.
    pub fn run(self) -> Result<ExitCode> {
        let screen = Screen::new();
        bench::run(&self.scene, &screen, self.all(&screen))
    }

    async fn all(&self, screen: &Screen) -> Result<ExitCode> {
        screen.line(screen.bold("bloodbank-audit, its memory"));
        let bound = 2 * self.budget()?;
        ensure_installed(&[Package::RabbitMq, Package::Postgres]).await?;
        let scene = Scene::set(screen, &self.scene).await?;
        let cases = self.cases();
        let most = cases.iter().map(Case::bytes).max().unwrap_or_default();
        // In the queue and in the table, and the logs of both.
        space::ensure(&scene, most * 5 / 2 + (4 << 30), "this").await.context("ask for less")?;

        screen.line(format!("  to stay under {} MiB, twice ingest.memory", mebibytes(bound)));
        screen.line("");
        screen.line(screen.dim(&row(["backlog", "PostgreSQL", "events", "took", "peak MiB"])));
        let mut outcomes: Vec<Outcome> = Vec::new();
        for case in &cases {
            let outcome = screen.during(|| format!("  {case}"), case.run(&scene)).await;
            let outcome = outcome.with_context(|| case.to_string())?;
            screen.line(self::outcome(screen, &outcome, bound));
            outcomes.push(outcome);
        }
        if let Some(file) = &self.json {
            let machine = Machine::look(&scene).await?;
            let all = serde_json::json!({ "machine": machine, "bound": bound, "cases": outcomes });
            std::fs::write(file, format!("{all:#}\n"))
                .with_context(|| format!("write {}", file.display()))?;
        }
        let good = outcomes.iter().all(|outcome| outcome.is_exact() && outcome.is_under(bound));
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Bytes of `ingest.memory`, as the daemon is told.
    fn budget(&self) -> Result<u64> {
        let flags = self.scene.settings.iter().fold(Flags::default(), |flags, (key, value)| {
            flags.with_assignment(&format!("{key}={value}"))
        });
        Ok(Config::load(&flags, &Environment::empty())?.config.ingest.memory.as_u64())
    }

    fn cases(&self) -> Vec<Case> {
        let quick = self.scene.quick;
        let (large, small) = if quick { (12, 3_000) } else { (1_000, 1_000_000) };
        let scale = Scale {
            large: self.large.unwrap_or(large),
            small: self.small.unwrap_or(small),
            body: self.body,
            away: Duration::from_secs(if quick { 1 } else { 20 }),
        };
        let asked = |backlog| self.backlogs.is_empty() || self.backlogs.contains(backlog);
        let backlogs = Backlog::value_variants().iter().filter(|backlog| asked(backlog));
        let states = |backlog: &Backlog| {
            let asked = |postgres| self.database.is_empty() || self.database.contains(postgres);
            let states = Postgres::value_variants().iter().filter(move |postgres| asked(postgres));
            let backlog = *backlog;
            states.map(move |&postgres| Case { backlog, postgres, scale })
        };
        backlogs.flat_map(states).collect()
    }
}

fn outcome(screen: &Screen, outcome: &Outcome, bound: u64) -> String {
    let cells = [
        outcome.backlog.name(),
        outcome.postgres.name(),
        &figures::count(outcome.events),
        &figures::clock(outcome.took),
        &mebibytes(outcome.peak).to_string(),
    ];
    let mut line = row(cells);
    if !outcome.is_under(bound) {
        line.push_str(&screen.alarm("  too much"));
    }
    if !outcome.is_exact() {
        let Outcome { missing, foreign, left, .. } = outcome;
        let wrong = format!(
            "  {missing} missing, {foreign} altered, twice or foreign, {left} still on the broker"
        );
        line.push_str(&screen.alarm(&wrong));
    }
    line
}

fn row([backlog, postgres, events, took, peak]: [&str; 5]) -> String {
    format!("  {backlog:<8}{postgres:<12}{events:>10}{took:>10}{peak:>10}")
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
