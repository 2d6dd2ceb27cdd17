//! Dead letters: read without being taken, and what is done with them.
//!
//! A message leaves the dead-letter queue only when what is done with it is on record, and, where it is sent again, when
//! the broker has confirmed that it is in another queue. Whatever ends in between leaves it in both: sent twice, perhaps,
//! and never lost. No more is read than waited when it began, so that what dies again is not sent round and round.

mod choice;
mod known;
mod letter;
mod outcome;
mod outgoing;
mod settle;
mod state;
mod unroutable;
mod walk;
mod work;

use std::{io, time::Duration};

use uuid::Uuid;

use crate::{
    broker,
    event::Envelope,
    store::{self, DeadLetterRun},
};

pub use choice::Choice;
pub use letter::{Cause, Letter};
pub use outcome::{Ended, Failure, Outcome, Tally};
pub use walk::{Item, Unreadable, Walk};
pub use work::{Action, Job, run};

/// Where dead letters are, and what they are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The broker, its topology among it.
    pub broker: broker::Settings,
    /// Why they were rejected, and what is done with them.
    pub store: store::Settings,
    /// What an event's envelope is.
    pub envelope: Envelope,
    /// How long either may be away.
    pub patience: Duration,
}

impl Places {
    /// The daemon's own queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.broker.topology.queue
    }

    /// The dead-letter queue.
    #[must_use]
    pub fn dead_letter_queue(&self) -> &str {
        &self.broker.topology.dead_letter_queue
    }
}

/// Where a dead letter is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To the daemon's own queue alone, where it died.
    Audit,
    /// To the exchange that it was published to, under its routing key.
    Original,
}

/// Somebody who looks on.
pub trait Watcher {
    /// It has come that far. Called now and then.
    fn settled(&self, tally: &Tally);

    /// Something happened that whoever looks on may want to know, in words.
    fn say(&self, words: &str);
}

/// Somebody who keeps what is about to be discarded.
pub trait Keeper {
    /// Keeps these; when this returns, they are safe.
    ///
    /// # Errors
    /// They are not, and then nothing is discarded.
    fn keep(&mut self, letters: &[Letter]) -> io::Result<()>;
}

/// One run's record.
#[must_use]
pub fn new_run(
    places: &Places,
    action: store::DeadLetterAction,
    (os_user, host): (String, String),
    (target, reason): (Option<String>, Option<String>),
) -> DeadLetterRun {
    let queue = format!("{} at {}", places.dead_letter_queue(), places.broker.address);
    DeadLetterRun { id: Uuid::new_v4(), action, os_user, host, queue, target, reason }
}
