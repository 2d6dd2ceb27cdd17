//! `cargo xtask test`: every test of the workspace, on private servers.

mod tally;

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::num::NonZero;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use testbed::{Package, ensure_installed};

use crate::cargo;
use tally::Tally;

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Arguments for `cargo test`, such as a test's name; `NAME -- --nocapture` shows what it prints
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What says how many tests run at a time.
const THREADS: &str = "RUST_TEST_THREADS";

/// Tests at a time for each processor: many of them wait, for servers that start, connections that time out and heartbeats that
/// do not come, and leave a processor idle.
const EACH: usize = 2;

impl Options {
    /// Installs what the tests need where it is missing, runs the tests, and ends as they did.
    pub fn run(self) -> Result<ExitCode> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(
            ensure_installed(&[
                Package::RabbitMq,
                Package::Postgres,
                Package::Prometheus,
                Package::Systemd,
                Package::OpenSsl,
            ]),
        )?;
        let mut command = cargo::command();
        if std::env::var_os(THREADS).is_none() {
            let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
            command.env(THREADS, (EACH * processors).to_string());
        }
        let mut child = command
            // One failure is not to hide what the other binaries would have said.
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("run cargo test")?;
        let mut tally = Tally::default();
        if let Some(output) = child.stdout.take() {
            forward(output, &mut tally)?;
        }
        let status = child.wait().context("wait for cargo test")?;
        if tally.summaries() > 1 {
            println!("\n{tally}");
        }
        Ok(cargo::exit_code(status))
    }
}

/// Passes the output on as it comes, and reads along.
fn forward(mut from: impl Read, tally: &mut Tally) -> Result<()> {
    let mut to = std::io::stdout();
    let mut chunk = [0; 8192];
    loop {
        let length = from.read(&mut chunk).context("read what cargo test prints")?;
        if length == 0 {
            return Ok(());
        }
        tally.read(&chunk[..length]);
        to.write_all(&chunk[..length]).and_then(|()| to.flush()).context("write to stdout")?;
    }
}
