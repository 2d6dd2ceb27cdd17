//! The names of the log files: which is the present one, which were set aside, and which go.
//!
//! The present file of a period is `bloodbank-audit.DATE.log`, without a date where the clock begins none. One that was full
//! is set aside as `bloodbank-audit.DATE.000001.log` and so on. As text they sort from the oldest to the present one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};
use tracing_appender::rolling::{RollingFileAppender, Rotation as Every};

use super::LogError;
use crate::config::Rotation;

/// What the files' names begin and end with; date and number stand between.
const PREFIX: &str = "bloodbank-audit";
const SUFFIX: &str = "log";

/// The dates as the appender writes them.
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const HOUR: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]-[hour]");

/// Digits of the number of a file that was set aside.
const DIGITS: usize = 6;

/// How often another number is tried, where another process takes them too.
const ATTEMPTS: u32 = 100;

/// The files of one directory.
#[derive(Debug)]
pub(super) struct Names {
    pub directory: PathBuf,
    pub rotation: Rotation,
}

impl Names {
    /// Makes the directory where it is missing, and opens the present file in it.
    pub fn open(&self) -> Result<RollingFileAppender, LogError> {
        let refused = |error| LogError::Directory { path: self.directory.clone(), error };
        fs::create_dir_all(&self.directory).map_err(refused)?;
        let every = match self.rotation {
            Rotation::Daily => Every::DAILY,
            Rotation::Hourly => Every::HOURLY,
            Rotation::Never => Every::NEVER,
        };
        RollingFileAppender::builder()
            .rotation(every)
            .filename_prefix(PREFIX)
            .filename_suffix(SUFFIX)
            .build(&self.directory)
            .map_err(|error| refused(io::Error::other(innermost(&error))))
    }

    /// The file that lines of that time go to.
    pub fn present(&self, at: OffsetDateTime) -> PathBuf {
        let date = match self.rotation {
            Rotation::Daily => at.format(DAY),
            Rotation::Hourly => at.format(HOUR),
            Rotation::Never => return self.directory.join(format!("{PREFIX}.{SUFFIX}")),
        };
        // Its format asks for nothing that a time does not have.
        self.directory.join(format!("{PREFIX}.{}.{SUFFIX}", date.unwrap_or_default()))
    }

    /// Gives the present file the next number; it is no failure where there is no such file any more. No other file is
    /// replaced.
    pub fn set_aside(&self, present: &Path) -> io::Result<()> {
        let stem = present.with_extension("");
        let stem = stem.file_name().and_then(|name| name.to_str()).unwrap_or(PREFIX);
        let number = |name: &String| {
            let number = name.strip_prefix(stem)?.strip_prefix('.')?;
            number.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse::<u64>().ok()
        };
        let mut next = self.all().iter().filter_map(number).max().unwrap_or(0);
        for _ in 0..ATTEMPTS {
            next += 1;
            let aside = self.directory.join(format!("{stem}.{next:0DIGITS$}.{SUFFIX}"));
            match rename(present, &aside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                done => return done,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes the oldest files but so many. The appender's own pruning goes by creation time and takes every file with the
    /// prefix, those of another daemon and, on a restart, today's included.
    ///
    /// The present one stays, wherever its name comes among the others: a day's file may be beside those of its hours, and a clock
    /// may have been set back.
    pub fn prune(&self, keep: usize, present: &Path) {
        let others: Vec<_> = self.all();
        let others = others.iter().rev().filter(|name| self.directory.join(name) != present);
        for name in others.skip(keep.saturating_sub(1)) {
            // What cannot be removed now is tried again the next time.
            let _ = fs::remove_file(self.directory.join(name));
        }
    }

    /// The files that are this daemon's, from the oldest on.
    fn all(&self) -> Vec<String> {
        let names = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut files: Vec<_> =
            names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        files.retain(|name| self.is_own(name));
        files.sort_unstable();
        files
    }

    fn is_own(&self, name: &str) -> bool {
        let between = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
        let Some(parts) = between.and_then(|rest| rest.strip_prefix('.')) else { return false };
        let parts: Vec<_> =
            parts.strip_suffix('.').into_iter().flat_map(|p| p.split('.')).collect();
        let is_number =
            |part: &str| part.len() >= DIGITS && part.chars().all(|digit| digit.is_ascii_digit());
        match (self.rotation, &parts[..]) {
            (Rotation::Never, []) => true,
            (Rotation::Never, [number]) => is_number(number),
            (Rotation::Never, _) => false,
            (Rotation::Daily | Rotation::Hourly, [date]) => is_date(date),
            (Rotation::Daily | Rotation::Hourly, [date, number]) => {
                is_date(date) && is_number(number)
            }
            (Rotation::Daily | Rotation::Hourly, _) => false,
        }
    }
}

/// A day or an hour: files stay this daemon's where `log.rotation` was changed between the two.
fn is_date(text: &str) -> bool {
    let hour = || PrimitiveDateTime::parse(&format!("{text}-00"), HOUR_AND_MINUTE).is_ok();
    Date::parse(text, DAY).is_ok() || hour()
}

const HOUR_AND_MINUTE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]-[hour]-[minute]");

/// A rename that replaces nothing, where the file system can be asked for that.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
            fs::rename(from, to)
        }
        done => Ok(done?),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::{Names, Rotation};

    #[test]
    fn the_present_file_stays_wherever_its_name_comes() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names { directory: directory.path().to_owned(), rotation: Rotation::Hourly };
        let present = names.present(datetime!(2026-11-29 09:30 UTC));
        let of_the_day = directory.path().join("bloodbank-audit.2026-11-29.log");
        let older = directory.path().join("bloodbank-audit.2026-11-28.log");
        for file in [&present, &of_the_day, &older] {
            std::fs::write(file, "").unwrap();
        }
        names.prune(2, &present);
        assert!(present.exists() && of_the_day.exists() && !older.exists());
        names.prune(1, &present);
        assert!(present.exists() && !of_the_day.exists());
    }
}
