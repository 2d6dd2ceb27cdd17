//! What a replay came to, as an exit status.

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
