//! The subcommands, a file each: thin, they call the library. Here is what they share on their way in and out.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Config, ConfigError, Environment, Flags, Loaded};
use crate::exit;
use crate::telemetry::logs::{LogError, LogHandle, Logs};

pub mod access;
pub mod check;
pub mod completions;
pub mod config;
mod consent;
pub mod coverage;
pub mod dead_letters;
pub mod events;
pub mod health;
pub mod json;
pub mod keys;
mod lasted;
pub mod ledger;
pub mod man;
pub mod migrate;
pub mod moment;
mod new_file;
pub mod overview;
pub mod partitions;
mod print;
mod progress_bar;
pub mod prove;
pub mod reading;
pub mod redact;
mod reload;
pub mod replay;
pub mod run;
pub mod settings;
pub mod show;
pub mod stats;
pub mod terminal;
pub mod trace;
pub mod verify;

pub use lasted::lasted;

/// How long threads that block (name resolution, for one) may hold up the exit.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Worker threads. One event takes some ten microseconds of them, most of the rest is waiting for the two servers. One
/// thread takes less, as no work is handed over (docs/performance.md), but then the client runs ahead of whoever counts
/// what it brings, and a burst of large messages takes more memory.
const WORKERS: usize = 2;

/// Stack of each worker thread, in bytes; memory is only taken for what is used of it. The AMQP client decodes header
/// tables recursively, and 128 KiB of them, a frame, can hold 18,000 levels: with the usual 2 MiB, one such message
/// would end the process each time that it is delivered.
const WORKER_STACK: usize = 256 * 1024 * 1024;

/// Configuration, then the log, then the runtime, then the command; its failure is logged here, once. The log
/// is flushed before this returns.
pub fn with_runtime<F, R>(flags: &Flags, environment: &Environment, command: F) -> ExitCode
where
    F: FnOnce(Loaded, LogHandle) -> R,
    R: Future<Output = anyhow::Result<ExitCode>>,
{
    let (loaded, logs) = match prepare(flags, environment) {
        Ok(prepared) => prepared,
        Err(error) => return complain(&error),
    };
    let handle = logs.handle();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime = runtime()?;
        let outcome = runtime.block_on(command(loaded, handle));
        runtime.shutdown_timeout(LAST_THREADS);
        outcome
    }));
    match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            tracing::error!("{error:#}");
            ExitCode::from(code(&error))
        }
        // The panic hook has logged it.
        Err(_) => ExitCode::from(exit::DIED),
    }
}

/// Threads that the AMQP client can work on.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .thread_stack_size(WORKER_STACK)
        .build()
}

fn prepare(flags: &Flags, environment: &Environment) -> anyhow::Result<(Loaded, Logs)> {
    let loaded = Config::load(flags, environment)?;
    let logs = Logs::install(&loaded.config.log)?;
    Ok((loaded, logs))
}

/// Says a failure on stderr, where there is no log yet. A closed stderr leaves nobody to tell.
fn complain(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "bloodbank-audit: {error:#}");
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() || error.is::<LogError>() { exit::CONFIG } else { exit::FAILURE }
}
