//! Coverage: what this run is doing, noted where it happens and written down beside it.

mod keeper;
mod watched;

use std::{
    collections::VecDeque,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    event::now,
    store::{Change, Run, State},
};
pub(super) use keeper::Keeper;
pub(super) use watched::Watched;

/// Changes that wait to be written, at most. While PostgreSQL is away hardly anything changes.
const ROOM: usize = 1_000;

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

    /// The schema is what it should be: notes can be written from now on.
    pub fn can_be_written(&self) {
        self.0.ready.cancel();
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

/// What was noted and not yet taken to be written.
#[derive(Debug, Default)]
struct Notes {
    waiting: VecDeque<Note>,
    last: Option<(State, OffsetDateTime)>,
    /// Changes taken so far.
    taken: i64,
}

#[derive(Debug)]
struct Note {
    at: OffsetDateTime,
    state: State,
    cause: String,
    /// How many changes it stands for.
    changes: usize,
}

impl Notes {
    /// False where the state is no other than before.
    fn push(&mut self, state: State, cause: &dyn Display, at: OffsetDateTime) -> bool {
        if self.last.is_some_and(|(last, _)| last == state) {
            return false;
        }
        // A clock that is set back must not turn spans around.
        let at = self.last.map_or(at, |(_, last_at)| at.max(last_at));
        self.last = Some((state, at));
        if self.waiting.len() >= ROOM {
            self.merge_the_oldest();
        }
        self.waiting.push_back(Note { at, state, cause: cause.to_string(), changes: 1 });
        true
    }

    fn merge_the_oldest(&mut self) {
        let (Some(first), Some(second)) = (self.waiting.pop_front(), self.waiting.front_mut())
        else {
            return;
        };
        // Nothing may be claimed to have been recorded when it was not.
        if second.state == State::Recording {
            second.state = first.state;
        }
        second.at = first.at;
        second.changes += first.changes;
        second.cause =
            format!("{} changes in one: they could not be written for too long", second.changes);
    }

    fn take(&mut self) -> Vec<Change> {
        let number = |(number, note): (i64, Note)| Change {
            number,
            at: note.at,
            state: note.state,
            cause: note.cause,
        };
        let taken: Vec<_> = (self.taken + 1..).zip(self.waiting.drain(..)).map(number).collect();
        self.taken = taken.last().map_or(self.taken, |change| change.number);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_is_noted_once_under_its_first_cause() {
        let mut notes = Notes::default();
        let start = now();
        assert!(notes.push(State::Starting, &"a", start));
        assert!(notes.push(State::Paused, &"b", start + Duration::from_secs(1)));
        assert!(!notes.push(State::Paused, &"c", start + Duration::from_secs(2)));
        assert!(notes.push(State::Recording, &"d", start));
        let seen: Vec<_> =
            notes.take().into_iter().map(|c| (c.number, c.at - start, c.cause)).collect();
        let second = Duration::from_secs(1).try_into().unwrap();
        let zero = time::Duration::ZERO;
        assert_eq!(seen, [(1, zero, "a".into()), (2, second, "b".into()), (3, second, "d".into())]);
        notes.push(State::Paused, &"e", start);
        assert_eq!(notes.take()[0].number, 4);
        assert!(notes.take().is_empty());
    }

    #[test]
    fn what_finds_no_room_is_merged_and_never_into_recording() {
        let mut notes = Notes::default();
        let start = now();
        for _ in 0..ROOM {
            notes.push(State::Recording, &"up", start);
            notes.push(State::Disconnected, &"down", start);
        }
        let written = notes.take();
        assert_eq!(written.len(), ROOM);
        assert_eq!((written[0].state, written[0].at), (State::Disconnected, start));
        assert!(written[0].cause.starts_with("1001 changes in one"), "{}", written[0].cause);
        assert_eq!(written[1].state, State::Recording);
        assert_eq!(written[ROOM - 1].state, State::Disconnected);
    }
}
