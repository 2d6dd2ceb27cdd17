//! Coverage: what this run is doing, noted where it happens and written down beside it.

mod keeper;
mod notes;
mod watched;

use std::{
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use time::OffsetDateTime;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    event::now,
    store::{Run, State},
};
pub(super) use keeper::Keeper;
use notes::Notes;
pub(super) use notes::Present;
pub(super) use watched::Watched;

/// Where the parts of the daemon note what it is doing. Clones share it. Noting neither waits nor fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    notes: Mutex<Notes>,
    noted: Notify,
    present: watch::Sender<Option<Present>>,
    /// The tables are there.
    ready: CancellationToken,
    /// Nothing more will be noted.
    ended: CancellationToken,
}

impl Coverage {
    /// The run begins.
    pub fn begin(&self, run: &Run) {
        let why = "the program was started";
        self.change(|notes| notes.push(State::Starting, &why, run.started_at));
    }

    /// The run is in this state from now on, if it was not already; then the first cause stands.
    pub fn note(&self, state: State, cause: impl Display) {
        self.change(|notes| notes.push(state, &cause, now()));
    }

    /// The queue is known to have been without its exchange since then: what is still recorded was published before.
    pub fn note_unbound(&self, cause: impl Display, since: OffsetDateTime) {
        self.change(|notes| {
            notes.push_unbound(cause.to_string(), since);
            true
        });
    }

    /// The queue is bound again.
    pub fn note_bound(&self) {
        self.change(|notes| notes.bind(now()));
    }

    /// The broker holds up publishers: it is still recorded what is queued, and what is not recorded was not published.
    pub fn note_alarm(&self, cause: impl Display) {
        self.change(|notes| notes.push_alarm(cause.to_string(), now()));
    }

    /// It does not, or no longer.
    pub fn note_no_alarm(&self) {
        self.change(|notes| notes.end_alarm(now()));
    }

    /// The process runs. Said every few seconds, it shows when it did not.
    pub fn tick(&self) {
        self.notes().tick(now());
    }

    /// What the run is doing, and whatever it does next.
    pub fn present(&self) -> watch::Receiver<Option<Present>> {
        self.0.present.subscribe()
    }

    /// True from `change` where something has changed.
    fn change(&self, change: impl FnOnce(&mut Notes) -> bool) {
        let mut notes = self.notes();
        if change(&mut notes) {
            self.0.present.send_replace(notes.present().cloned());
            self.0.noted.notify_one();
        }
    }

    /// The schema is what it should be: notes can be written from now on.
    pub fn can_be_written(&self) {
        self.0.ready.cancel();
    }

    /// The schema is what it should be.
    pub async fn writable(&self) {
        self.0.ready.cancelled().await;
    }

    /// Events are recorded, for the first time or again.
    pub async fn recording(&self) {
        let recording =
            |now: &Option<Present>| matches!(now, Some(now) if now.state == State::Recording);
        // The sender is in here, too.
        let _ = self.present().wait_for(recording).await;
    }

    /// Nothing more will be noted: the run is over.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// The run is over.
    pub fn end(&self, cause: impl Display) {
        self.note(State::Stopped, cause);
        self.0.ended.cancel();
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
