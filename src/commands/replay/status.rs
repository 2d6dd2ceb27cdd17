//! What a replay came to, as an exit status.

use std::io;

use super::say;
use crate::exit;

/// What a replay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All is where it should be.
    Done,
    /// Nothing matched.
    Nothing,
    /// Some events are in no queue.
    Undelivered,
    /// Either side is away, or refuses.
    Unavailable,
    /// The report cannot be written.
    Unreported,
    /// It was stopped.
    Stopped,
}

impl Status {
    /// The status where the summary was written so. What it came to is told by the status also where nobody reads the
    /// summary; that it cannot be written is the status only where all else is well.
    ///
    /// # Errors
    /// It cannot be written, and there is nothing else to tell.
    pub fn told(self, written: io::Result<()>) -> io::Result<Status> {
        match written {
            Err(error) if self == Status::Done && error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error)
            }
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                say(&format!("the summary cannot be written: {error}"));
                Ok(self)
            }
            _ => Ok(self),
        }
    }
}

impl From<Status> for u8 {
    fn from(status: Status) -> u8 {
        match status {
            Status::Done => exit::CLEAN,
            Status::Nothing => exit::NOTHING,
            Status::Undelivered => exit::UNDELIVERED,
            Status::Unavailable => exit::UNAVAILABLE,
            Status::Unreported => exit::OUTPUT,
            Status::Stopped => exit::UNFINISHED,
        }
    }
}
