//! What commands that read have in common: no log, one thread, and exit statuses of their own.

use std::{
    io::{self, IsTerminal as _, Write as _},
    panic::AssertUnwindSafe,
    process::ExitCode,
    time::Duration,
};

use super::{LAST_THREADS, WORKER_STACK, runtime};
use crate::{
    broker,
    config::{Config, ConfigError, Environment, Flags, redact},
    exit, store,
};

/// What to add to the help of a command that reads.
pub const EXIT_STATUS: &str = "\
Exit status:
   0  found, and written; also where the reader of the output had seen enough
   1  nothing matched
   2  wrong use: a flag, a time, a pattern, a condition
  69  the database is away, refuses, did not answer in time, or its schema is missing or of another version
  70  the command died (a panic): a bug
  74  the output cannot be written
  78  the configuration is wrong";

/// Wrong use that only shows when the command line is understood as a whole, or by the database.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// Nothing was found, and there is more to say than that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NothingFound(pub String);

/// Whether anything was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Something matched.
    Something,
    /// Nothing matched.
    Nothing,
}

impl Found {
    /// Something, where it is true.
    #[must_use]
    pub fn when(found: bool) -> Found {
        if found { Found::Something } else { Found::Nothing }
    }
}

/// Says at a terminal why nothing is to be seen there; programs go by the status.
pub fn say_at_a_terminal(what: &str) {
    if io::stderr().is_terminal() {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(io::stderr(), "{what}");
    }
}

/// Longest time that the database may be given.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `--timeout`: a duration from 1ms to a day.
///
/// # Errors
/// It is none.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim()).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(1)..=LONGEST;
    if allowed.contains(&duration) {
        Ok(duration)
    } else {
        Err("write a duration from 1ms to 1d".to_owned())
    }
}

impl From<Found> for u8 {
    fn from(found: Found) -> u8 {
        match found {
            Found::Something => exit::CLEAN,
            Found::Nothing => exit::NOTHING,
        }
    }
}

/// Configuration, then the runtime, then the command; what fails is said on stderr, once.
pub fn with_answer<F, R, T>(flags: &Flags, environment: &Environment, command: F) -> ExitCode
where
    F: FnOnce(Config) -> R,
    R: Future<Output = anyhow::Result<T>>,
    T: Into<u8>,
{
    answer(|| {
        let config = Config::load(flags, environment)?.config;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(command(config));
        runtime.shutdown_timeout(LAST_THREADS);
        outcome
    })
}

/// The same for a command that computes on so many threads.
pub fn with_threads<F, R, T>(
    threads: usize,
    flags: &Flags,
    environment: &Environment,
    command: F,
) -> ExitCode
where
    F: FnOnce(Config) -> R,
    R: Future<Output = anyhow::Result<T>>,
    T: Into<u8>,
{
    answer(|| {
        let config = Config::load(flags, environment)?.config;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?;
        let outcome = runtime.block_on(command(config));
        runtime.shutdown_timeout(LAST_THREADS);
        outcome
    })
}

/// The same for a command that needs neither configuration nor runtime.
pub fn alone<T: Into<u8>>(command: impl FnOnce() -> anyhow::Result<T>) -> ExitCode {
    answer(command)
}

/// The same for a command that talks to a broker, whose client works beside it, and takes header tables apart level by
/// level.
pub fn with_broker<F, R, T>(flags: &Flags, environment: &Environment, command: F) -> ExitCode
where
    F: FnOnce(Config) -> R + Send,
    R: Future<Output = anyhow::Result<T>>,
    T: Into<u8>,
{
    let work = || {
        answer(|| {
            let config = Config::load(flags, environment)?.config;
            let runtime = runtime()?;
            let outcome = runtime.block_on(command(config));
            runtime.shutdown_timeout(LAST_THREADS);
            outcome
        })
    };
    let ended = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(WORKER_STACK);
        thread.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join)
    });
    match ended {
        Ok(Ok(code)) => code,
        // The panic hook has said it.
        Ok(Err(_)) => ExitCode::from(exit::DIED),
        Err(error) => answer(|| -> anyhow::Result<Found> { Err(error.into()) }),
    }
}

fn answer<T: Into<u8>>(command: impl FnOnce() -> anyhow::Result<T>) -> ExitCode {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(command));
    ExitCode::from(match outcome {
        Ok(Ok(answer)) => answer.into(),
        Ok(Err(error)) => {
            let code = code(&error);
            if code != exit::CLEAN {
                // A closed stderr leaves nobody to tell.
                let said = redact(&format!("{error:#}"));
                let _ = writeln!(io::stderr(), "bloodbank-audit: {said}");
            }
            code
        }
        // The panic hook has said it.
        Err(_) => exit::DIED,
    })
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Misuse>() {
        exit::USAGE
    } else if error.is::<NothingFound>() {
        exit::NOTHING
    } else if error.is::<ConfigError>() {
        exit::CONFIG
    } else if let Some(error) = error.downcast_ref::<store::ReadError>() {
        match error {
            store::ReadError::Condition(_) => exit::USAGE,
            store::ReadError::Fault(_) | store::ReadError::Schema(_) => exit::UNAVAILABLE,
        }
    } else if error.is::<store::Fault>()
        || error.is::<store::MigrationError>()
        || error.is::<broker::Fault>()
    {
        exit::UNAVAILABLE
    } else if let Some(error) = error.downcast_ref::<io::Error>() {
        // `| head` has seen enough.
        if error.kind() == io::ErrorKind::BrokenPipe { exit::CLEAN } else { exit::OUTPUT }
    } else {
        exit::DIED
    }
}
