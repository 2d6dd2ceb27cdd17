//! `cargo xtask tamper`: the tests in which somebody changes a recorded history, on a large one.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use testbed::{Package, ensure_installed};

use crate::cargo;

/// How many events the history has, for the tests; they say how many without it.
const EVENTS: &str = "VERIFY_EVENTS";

/// Options of `cargo xtask tamper`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Events of the history
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(400..=1_000_000))]
    events: u32,
    /// Arguments for the tests: part of a name instead of `verify::`, which they all have, and options such as --nocapture
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Options {
    /// Runs them, and ends as they did.
    pub fn run(self) -> Result<ExitCode> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(ensure_installed(&[Package::RabbitMq, Package::Postgres]))?;
        let is_name = |argument: &OsString| !argument.as_encoded_bytes().starts_with(b"-");
        let all = (!self.arguments.iter().any(is_name)).then_some("verify::");
        let status = cargo::command()
            .args(["test", "--package", "bloodbank-audit", "--test", "it", "--"])
            .args(all)
            .args(self.arguments)
            .env(EVENTS, self.events.to_string())
            .stdin(Stdio::null())
            .status()
            .context("run cargo test")?;
        Ok(cargo::exit_code(status))
    }
}
