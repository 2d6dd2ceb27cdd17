//! The log: to stderr, and to rolling files where a directory is set.
//!
//! Spans say which connection a line is about; each line shows the one that it is in.
//!
//! Both are written by threads of their own behind a bounded queue. Where the queue is full, the caller waits:
//! no line is dropped. The one exception is stderr beside files: then the files are the complete log, and a
//! terminal that was stopped with Ctrl-S must not stop the daemon.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::Subscriber;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{DefaultFields, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use self::file::LogFile;
use super::panics;
use crate::config::{Log, LogFormat};

mod file;
mod names;
mod notice;

/// Lines that wait for their writer before the callers do.
const QUEUED_LINES: usize = 16_384;

/// How long the last lines may take on their way to the files.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The log, until it is dropped: then what is queued for the files is written, for at most ten seconds, and
/// what is queued for stderr for at most one.
///
/// Keep it until the very end of `main`.
#[must_use]
pub struct Logs {
    handle: LogHandle,
    _guards: Vec<WorkerGuard>,
}

/// Changes the log; to be cloned to wherever SIGHUP arrives.
#[derive(Debug, Clone)]
pub struct LogHandle {
    file: Option<Arc<LogFile>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The directory cannot be made, or no file in it opened.
    #[error("log.directory: cannot write log files in {}: {error}; create it, or give it to this user", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The filter, which the configuration has checked already.
    #[error("log.level, log.filter: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// The log is gone.
    #[error("log.level and log.filter stay as they were: {0}")]
    Gone(#[from] reload::Error),
    /// A log has been installed in this process before.
    #[error("the log is installed already")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

impl Logs {
    /// Makes this the log of the process, panics included.
    ///
    /// # Errors
    ///
    /// The directory cannot be written; nothing is installed then.
    pub fn install(config: &Log) -> Result<Self, LogError> {
        let colour = std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let (subscriber, logs) = Self::build(config, std::io::stderr(), colour)?;
        subscriber.try_init()?;
        panics::install();
        Ok(logs)
    }

    fn build<W>(
        config: &Log,
        stderr: W,
        colour: bool,
    ) -> Result<(impl Subscriber + Send + Sync, Self), LogError>
    where
        W: std::io::Write + Send + 'static,
    {
        let (filter, of_filter) = reload::Layer::new(filter(config)?);
        let (stderr, stderr_guard) = queue("log-stderr", stderr, config.directory.is_some());
        let file = match &config.directory {
            Some(directory) => Some(Arc::new(LogFile::open(directory, config, stderr.clone())?)),
            None => None,
        };
        let mut guards = vec![stderr_guard];
        let mut layers = vec![layer(config.format, stderr, colour)];
        if let Some(file) = &file {
            let (queue, file_guard) = queue("log-file", file::Shared(Arc::clone(file)), false);
            guards.push(file_guard);
            let queued = file::Queued { queue, file: Arc::clone(file) };
            layers.push(layer(config.format, queued, false));
        }
        let subscriber = Registry::default().with(filter).with(layers);
        Ok((subscriber, Self { handle: LogHandle { file, filter: of_filter }, _guards: guards }))
    }

    /// What changes this log.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        // The guards, which are dropped next, give a slow disk a single second.
        if let Some(file) = &self.handle.file {
            file.drain(LAST_LINES);
        }
    }
}

impl LogHandle {
    /// Opens the log file anew, under its name: what logrotate asks for with SIGHUP after it moved the file
    /// away. Without files there is nothing to do. Lines that are queued go to the new file; none is lost.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; then the old one is written on.
    pub fn reopen(&self) -> Result<(), LogError> {
        self.file.as_ref().map_or(Ok(()), |file| file.reopen())
    }

    /// Lets pass from now on what this configuration lets pass.
    ///
    /// # Errors
    ///
    /// The log is gone.
    pub fn filter(&self, config: &Log) -> Result<(), LogError> {
        Ok(self.filter.reload(filter(config)?)?)
    }
}

/// What is logged; everything else costs next to nothing.
fn filter(config: &Log) -> Result<EnvFilter, LogError> {
    let directives = [std::slice::from_ref(&config.level), &config.filter].concat();
    Ok(EnvFilter::builder().parse(directives.join(","))?)
}

fn queue<W>(thread: &str, writer: W, lossy: bool) -> (NonBlocking, WorkerGuard)
where
    W: std::io::Write + Send + 'static,
{
    NonBlockingBuilder::default()
        .thread_name(thread)
        .buffered_lines_limit(QUEUED_LINES)
        .lossy(lossy)
        .finish(writer)
}

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

fn layer<S, W>(format: LogFormat, writer: W, colour: bool) -> BoxedLayer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // It would report a failed write with eprintln!, which panics where stderr is what failed.
        .log_internal_errors(false);
    match format {
        LogFormat::Human if colour => layer.with_ansi(true).boxed(),
        LogFormat::Human => layer.with_ansi(false).fmt_fields(PlainFields::default()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

/// The default format of a span's fields under another type. The formatted fields are kept with the span by
/// the type of their formatter, so with the same one the files would show the terminal's colours.
#[derive(Debug, Default)]
struct PlainFields(DefaultFields);

impl<'writer> FormatFields<'writer> for PlainFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        writer: Writer<'writer>,
        fields: R,
    ) -> std::fmt::Result {
        self.0.format_fields(writer, fields)
    }
}

#[cfg(test)]
mod tests;
