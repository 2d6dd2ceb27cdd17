//! Verdict: what to do about a fault of the database. The one place that decides.

use crate::store::Kind;

/// What to do with a batch that was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Append it again after a wait: time mends it.
    Retry,
    /// Find the entry at fault by splitting, and reject that one.
    Isolate,
    /// End the process: somebody has to mend it, and the broker keeps what is not acknowledged.
    Stop,
}

/// Exhaustive on purpose: a new kind of fault has to be given its policy here.
pub(super) fn verdict(kind: Kind) -> Verdict {
    match kind {
        Kind::Unavailable => Verdict::Retry,
        Kind::Refused => Verdict::Isolate,
        Kind::Misconfigured => Verdict::Stop,
    }
}
