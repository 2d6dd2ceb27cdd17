//! `cargo xtask lint`: format, clippy and documentation, with warnings denied.

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cargo;

/// Options of `cargo xtask lint`.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// One check, and what has to be installed for it beside the compiler.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    component: Option<Component>,
}

struct Component {
    cargo_word: &'static str,
    rustup: &'static str,
    debian: &'static str,
}

const STEPS: [Step; 3] = [
    Step {
        name: "format",
        arguments: &["fmt", "--all", "--check"],
        component: Some(Component { cargo_word: "fmt", rustup: "rustfmt", debian: "rustfmt" }),
    },
    Step {
        name: "clippy",
        arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        component: Some(Component {
            cargo_word: "clippy",
            rustup: "clippy",
            debian: "rust-clippy",
        }),
    },
    Step {
        name: "documentation",
        // Private items too: most of what explains this code is private, and its links must hold.
        arguments: &["doc", "--workspace", "--no-deps", "--document-private-items"],
        component: None,
    },
];

impl Options {
    /// Runs every check, also after one that failed, and says in the end which did.
    pub fn run(self) -> Result<ExitCode> {
        let mut results = Vec::new();
        for step in &STEPS {
            eprintln!("\n{}: cargo {}", step.name, step.arguments.join(" "));
            let started = Instant::now();
            let passed = step.run()?;
            results.push((step.name, passed, started.elapsed()));
        }
        eprintln!();
        for (name, passed, took) in &results {
            let took = Duration::from_millis(u64::try_from(took.as_millis())?).as_secs_f64();
            eprintln!("{name:<15}{:<8}{took:>6.1} s", if *passed { "ok" } else { "FAILED" });
        }
        let passed = results.iter().all(|(_, passed, _)| *passed);
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Step {
    fn run(&self) -> Result<bool> {
        if let Some(component) = &self.component
            && !component.is_installed()
        {
            eprintln!(
                "{} is missing: `rustup component add {}`, or install your distribution's package (Debian: {})",
                component.rustup, component.rustup, component.debian
            );
            return Ok(false);
        }
        let status = cargo::command()
            .args(self.arguments)
            .env("RUSTDOCFLAGS", "-D warnings")
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("run cargo {}", self.arguments.join(" ")))?;
        Ok(status.success())
    }
}

impl Component {
    fn is_installed(&self) -> bool {
        let asked = cargo::command()
            .args([self.cargo_word, "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    }
}
