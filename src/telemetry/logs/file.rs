//! Rolling log files that can be opened anew.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tracing_appender::non_blocking::NonBlocking;
use tracing_appender::rolling::{RollingFileAppender, Rotation as Every};
use tracing_subscriber::fmt::MakeWriter;

use super::LogError;
use crate::config::{Log, Rotation};

/// What the files' names begin and end with; the date stands between.
const PREFIX: &str = "bloodbank-audit";
const SUFFIX: &str = "log";

/// The present file of a directory of log files.
#[derive(Debug)]
pub(super) struct LogFile {
    directory: PathBuf,
    rotation: Rotation,
    keep: usize,
    present: Mutex<Present>,
    /// Rings after each line.
    written: Condvar,
    queued: AtomicU64,
}

#[derive(Debug)]
struct Present {
    appender: RollingFileAppender,
    /// Hours since 1970 when old files were last looked for: no rotation is more frequent.
    pruned: i64,
    /// The last write failed, and stderr was told.
    failing: bool,
    /// Lines taken from the queue.
    lines: u64,
}

impl LogFile {
    /// Makes the directory where it is missing, and opens the present file in it.
    pub(super) fn open(directory: &Path, config: &Log) -> Result<Self, LogError> {
        let file = Self {
            directory: directory.to_owned(),
            rotation: config.rotation,
            keep: config.keep_files,
            present: Mutex::new(Present {
                appender: appender(directory, config.rotation)?,
                pruned: hour(),
                failing: false,
                lines: 0,
            }),
            written: Condvar::new(),
            queued: AtomicU64::new(0),
        };
        file.prune();
        Ok(file)
    }

    /// Opens the present file under its name again; where that fails, the old one stays in use.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let appender = appender(&self.directory, self.rotation)?;
        self.present().appender = appender;
        Ok(())
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        // A panic within a write leaves the appender as good as before.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every line queued so far is written, or the patience is at its end.
    pub(super) fn drain(&self, patience: Duration) {
        let queued = self.queued.load(Ordering::SeqCst);
        let present = self.present();
        // On a poisoned lock there is nobody left to wait for.
        let _ =
            self.written.wait_timeout_while(present, patience, |present| present.lines < queued);
    }

    fn write_line(&self, line: &[u8]) {
        let mut present = self.present();
        match present.appender.write_all(line) {
            Ok(()) => present.failing = false,
            Err(error) if !present.failing => {
                present.failing = true;
                let directory = self.directory.display();
                let _ = writeln!(
                    io::stderr(),
                    "cannot write the log files in {directory}: {error}; until that is mended, or log.directory is \
                     another place, lines are on stderr alone"
                );
            }
            Err(_) => {}
        }
        present.lines += 1;
        self.written.notify_all();
        let hour = hour();
        if present.pruned != hour {
            present.pruned = hour;
            drop(present);
            self.prune();
        }
    }

    /// Removes the oldest files beyond those to keep. The appender's own pruning goes by creation time and
    /// takes every file with the prefix, those of another daemon and, on a restart, today's included.
    fn prune(&self) {
        if self.rotation == Rotation::Never {
            return;
        }
        let names = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut files: Vec<_> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        files.retain(|name| is_dated(name));
        // The dates sort as text.
        files.sort_unstable();
        for name in files.iter().rev().skip(self.keep) {
            // What cannot be removed now is tried again in an hour.
            let _ = std::fs::remove_file(self.directory.join(name));
        }
    }
}

fn is_dated(name: &str) -> bool {
    let date = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let date = date.and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.strip_suffix('.'));
    date.is_some_and(|date| {
        date.len() >= 10 && date.chars().all(|c| c.is_ascii_digit() || c == '-')
    })
}

fn appender(directory: &Path, rotation: Rotation) -> Result<RollingFileAppender, LogError> {
    let refused = |error| LogError::Directory { path: directory.to_owned(), error };
    std::fs::create_dir_all(directory).map_err(refused)?;
    let every = match rotation {
        Rotation::Daily => Every::DAILY,
        Rotation::Hourly => Every::HOURLY,
        Rotation::Never => Every::NEVER,
    };
    RollingFileAppender::builder()
        .rotation(every)
        .filename_prefix(PREFIX)
        .filename_suffix(SUFFIX)
        .build(directory)
        .map_err(|error| refused(io::Error::other(innermost(&error))))
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

fn hour() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp().div_euclid(3_600)
}

/// The file as the queue's thread writes it: one call is one line, and a failure stays here.
pub(super) struct Shared(pub(super) Arc<LogFile>);

impl Write for Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file as the log's callers write it: into the queue, counted.
#[derive(Clone)]
pub(super) struct Queued {
    pub(super) queue: NonBlocking,
    pub(super) file: Arc<LogFile>,
}

impl Write for Queued {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.file.queued.fetch_add(1, Ordering::SeqCst);
        self.queue.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queued {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
