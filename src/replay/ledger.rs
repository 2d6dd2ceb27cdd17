//! What became of the events so far, and what of that is noted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::select::{Room, WINDOW};
use crate::store::{Arrival, Progress};

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The broker has put it into a queue.
    Confirmed {
        /// Bytes of its body.
        body_bytes: usize,
    },
    /// The broker gave it back, since no queue was bound for it: its words.
    Unroutable(String),
    /// The broker did not take it.
    Nacked,
    /// It could not be published as it is, and why.
    Refused(String),
}

/// Events are settled in the order of their arrival; whoever notes it takes what has come together.
#[derive(Debug)]
pub struct Ledger {
    open: Mutex<Open>,
    changed: Notify,
}

#[derive(Debug)]
struct Open {
    progress: Progress,
    /// Of the events that are settled and not noted.
    rooms: Vec<Room>,
}

impl Ledger {
    /// Goes on from there.
    pub fn new(progress: Progress) -> Ledger {
        Ledger { open: Mutex::new(Open { progress, rooms: Vec::new() }), changed: Notify::new() }
    }

    /// The next event is settled, and so are all before it.
    pub fn settle(&self, arrival: Arrival, settled: &Settled, room: Room) {
        let mut open = self.lock();
        let progress = &mut open.progress;
        progress.reached = arrival;
        match settled {
            Settled::Confirmed { body_bytes } => {
                progress.confirmed += 1;
                progress.body_bytes += i64::try_from(*body_bytes).unwrap_or(i64::MAX);
            }
            Settled::Unroutable(_) => progress.unroutable += 1,
            Settled::Nacked => progress.nacked += 1,
            Settled::Refused(_) => progress.refused += 1,
        }
        open.rooms.push(room);
        if open.rooms.len() >= WINDOW / 4 {
            self.changed.notify_one();
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.lock().progress
    }

    /// The same, and the room that is free once that is noted.
    pub fn take(&self) -> (Progress, Vec<Room>) {
        let mut open = self.lock();
        (open.progress, std::mem::take(&mut open.rooms))
    }

    /// Waits until there is much to be noted.
    pub async fn much(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
