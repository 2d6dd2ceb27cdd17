//! What became of dead letters, and how it ended.

use std::io;

use crate::{broker, replay, store};

/// What became of dead letters so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent again and confirmed, or discarded; on record, and no more in the queue.
    pub done: u64,
    /// Of these, sent more than once, as an outage left open what had become of them.
    pub repeated: u64,
    /// Left, as no queue was bound for them.
    pub unroutable: u64,
    /// Left, as the broker did not take them.
    pub nacked: u64,
    /// Left, as they cannot be sent as they are.
    pub refused: u64,
    /// Passed by, as nobody can decode them.
    pub unreadable: u64,
    /// Sent without the header by which the broker sends copies.
    pub without_copies: u64,
    /// The first of those that were left, and why.
    pub why: Vec<(String, String)>,
}

/// Most reasons that are told one by one.
pub const TOLD: usize = 20;

impl Tally {
    /// Those that are left although they were meant.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.unroutable + self.nacked + self.refused
    }
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The broker is away, or refuses.
    #[error("{0}")]
    Broker(broker::Fault),
    /// What is done cannot be put on record.
    #[error("what is done with dead letters cannot be put on record: {0}")]
    Store(store::Fault),
    /// What is to be discarded cannot be kept before.
    #[error("what is to be discarded cannot be saved: {0}")]
    Keep(io::Error),
}

/// How it ended.
pub type Ended = replay::Ended<Failure>;

/// What it came to.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What became of them.
    pub tally: Tally,
}
