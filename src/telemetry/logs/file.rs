//! Rolling log files that can be opened anew, and that outlast a disk without room.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tracing_appender::non_blocking::NonBlocking;
use tracing_appender::rolling::RollingFileAppender;
use tracing_subscriber::fmt::MakeWriter;

use super::LogError;
use super::names::Names;
use super::notice::Notice;
use crate::config::{Log, LogFormat, Rotation};

/// The present file of a directory of log files.
#[derive(Debug)]
pub(super) struct LogFile {
    names: Names,
    /// Bytes after which a file takes no further line.
    max_size: Option<u64>,
    keep: usize,
    format: LogFormat,
    /// Where it is said that the files cannot be written.
    stderr: NonBlocking,
    present: Mutex<Present>,
    /// Rings after each line.
    written: Condvar,
    queued: AtomicU64,
}

#[derive(Debug)]
struct Present {
    appender: RollingFileAppender,
    /// The file, and the bytes in it, where these are bounded.
    path: PathBuf,
    bytes: u64,
    /// Hours since 1970 when old files were last looked for: no rotation by the clock is more frequent.
    pruned: i64,
    /// Lines that the file did not take since it took one last.
    missing: u64,
    /// The file ends in the middle of a line.
    torn: bool,
    /// It was said that the file was taken away, and no other could be opened.
    gone: bool,
    /// Lines taken from the queue.
    lines: u64,
}

impl LogFile {
    /// Makes the directory where it is missing, and opens the present file in it. What is wrong later goes to `stderr`.
    pub(super) fn open(
        directory: &Path,
        config: &Log,
        stderr: NonBlocking,
    ) -> Result<Self, LogError> {
        let names = Names { directory: directory.to_owned(), rotation: config.rotation };
        let present = Present {
            appender: names.open()?,
            path: PathBuf::new(),
            bytes: 0,
            pruned: hour(),
            missing: 0,
            torn: false,
            gone: false,
            lines: 0,
        };
        let file = Self {
            names,
            max_size: config.max_size.map(|size| size.as_u64()),
            keep: config.keep_files,
            format: config.format,
            stderr,
            present: Mutex::new(present),
            written: Condvar::new(),
            queued: AtomicU64::new(0),
        };
        file.prune();
        Ok(file)
    }

    /// Opens the present file under its name again; where that fails, the old one stays in use.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let appender = self.names.open()?;
        self.present().begin(appender);
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
        let path = self.names.present(OffsetDateTime::now_utc());
        self.begin_another_where_gone(&mut present, &path);
        self.begin_another_where_full(&mut present, &path, line.len());
        if let Err(error) = self.catch_up(&mut present).and_then(|()| present.put(line)) {
            present.missing += 1;
            if present.missing == 1 {
                self.say(&Notice::error(format!(
                    "cannot write the log files in {}: {error}; until that is mended, or log.directory is another place, \
                     lines are on stderr alone",
                    self.names.directory.display()
                )));
            }
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

    /// Where lines are missing, says so in their place; what cannot be said now either is tried with the next line.
    fn catch_up(&self, present: &mut Present) -> io::Result<()> {
        let missing = present.missing;
        if missing == 0 {
            return Ok(());
        }
        if present.torn {
            present.put(b"\n")?;
        }
        let here =
            "lines are missing here: there was no room for them, or the files could not be written";
        present.put(Notice::missing(here.to_owned(), missing).line(self.format).as_bytes())?;
        present.missing = 0;
        let directory = self.names.directory.display();
        self.say(&Notice::missing(
            format!(
                "the log files in {directory} are written again, and say where lines are missing"
            ),
            missing,
        ));
        Ok(())
    }

    fn say(&self, notice: &Notice) {
        // It is queued, and dropped where nobody reads stderr.
        let _ = self.stderr.clone().write_all(notice.line(self.format).as_bytes());
    }

    /// Opens the file anew, its directory too, where somebody has taken it away: what is open would be written to, and never be
    /// read. Where that fails it is written on all the same, since it may only have been moved.
    fn begin_another_where_gone(&self, present: &mut Present, path: &Path) {
        if path.exists() {
            present.gone = false;
            return;
        }
        match self.names.open() {
            Ok(appender) => {
                present.begin(appender);
                (present.torn, present.gone) = (false, false);
            }
            Err(error) if !present.gone => {
                present.gone = true;
                self.say(&Notice::error(format!(
                    "{} is gone, and cannot be opened anew: {error}; until that is mended lines may be on stderr alone",
                    path.display()
                )));
            }
            Err(_) => {}
        }
    }

    /// Sets the present file aside where the line would make it too large.
    fn begin_another_where_full(&self, present: &mut Present, path: &Path, line: usize) {
        let Some(max_size) = self.max_size else { return };
        if present.path != path {
            present.bytes = std::fs::metadata(path).map_or(0, |file| file.len());
            path.clone_into(&mut present.path);
        }
        if present.bytes == 0 || present.bytes + line as u64 <= max_size {
            return;
        }
        // Where it cannot be set aside it is written on, and this tried again when as much has been written once more.
        present.bytes = 0;
        let set_aside = self.names.set_aside(&present.path);
        match set_aside.map_err(|error| error.to_string()).and_then(|()| {
            self.names.open().map_err(|error| error.to_string())
        }) {
            Ok(appender) => {
                present.appender = appender;
                present.torn = false;
                self.prune();
            }
            Err(error) => self.say(&Notice::error(format!(
                "no other log file can be begun in {}: {error}; the present one grows beyond log.max_size",
                self.names.directory.display()
            ))),
        }
    }

    fn prune(&self) {
        if self.names.rotation != Rotation::Never || self.max_size.is_some() {
            self.names.prune(self.keep, &self.names.present(OffsetDateTime::now_utc()));
        }
    }
}

impl Present {
    /// Goes on with a file that was opened anew.
    fn begin(&mut self, appender: RollingFileAppender) {
        self.appender = appender;
        // To be measured anew.
        self.path = PathBuf::new();
    }

    /// Writes text that ends a line.
    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        let mut rest = text;
        while !rest.is_empty() {
            match self.appender.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = &rest[written..];
                    self.bytes += written as u64;
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
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
