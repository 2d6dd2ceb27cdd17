//! Coverage: what this run is doing, noted where it happens and written down beside it.

mod keeper;
mod notes;
mod watched;

use std::{
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    event::now,
    store::{Run, State},
};
pub(super) use keeper::Keeper;
use notes::Notes;
pub(super) use watched::Watched;

/// Where the parts of the daemon note what it is doing. Clones share it. Noting neither waits nor fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    notes: Mutex<Notes>,
    noted: Notify,
    /// The tables are there.
    ready: CancellationToken,
    /// Nothing more will be noted.
    ended: CancellationToken,
}

impl Coverage {
    /// The run begins.
    pub fn begin(&self, run: &Run) {
        self.notes().push(State::Starting, &"the program was started", run.started_at);
    }

    /// The run is in this state from now on, if it was not already; then the first cause stands.
    pub fn note(&self, state: State, cause: impl Display) {
        if self.notes().push(state, &cause, now()) {
            self.0.noted.notify_one();
        }
    }

    /// The queue is known to have been without its exchange since then: what is still recorded was published before.
    pub fn note_unbound(&self, cause: impl Display, since: OffsetDateTime) {
        self.notes().push_unbound(cause.to_string(), since);
        self.0.noted.notify_one();
    }

    /// The queue is bound again.
    pub fn note_bound(&self) {
        if self.notes().bind(now()) {
            self.0.noted.notify_one();
        }
    }

    /// The broker holds up publishers: it is still recorded what is queued, and what is not recorded was not published.
    pub fn note_alarm(&self, cause: impl Display) {
        if self.notes().push_alarm(cause.to_string(), now()) {
            self.0.noted.notify_one();
        }
    }

    /// It does not, or no longer.
    pub fn note_no_alarm(&self) {
        if self.notes().end_alarm(now()) {
            self.0.noted.notify_one();
        }
    }

    /// The process runs. Said every few seconds, it shows when it did not.
    pub fn tick(&self) {
        self.notes().tick(now());
    }

    /// The schema is what it should be: notes can be written from now on.
    pub fn can_be_written(&self) {
        self.0.ready.cancel();
    }

    /// The schema is what it should be.
    pub async fn writable(&self) {
        self.0.ready.cancelled().await;
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
