//! The notes: what a run did, in order and with its time, until it is written down.

use std::{collections::VecDeque, fmt::Display, time::Duration};

use time::OffsetDateTime;

use crate::store::{Change, State};

/// Changes that wait to be written, at most. While PostgreSQL is away hardly anything changes.
const ROOM: usize = 1_000;

/// A process that shows no activity for longer than this did not run. It ticks much more often.
const FROZEN: Duration = Duration::from_secs(15);

/// What was noted and not yet taken to be written.
#[derive(Debug, Default)]
pub(super) struct Notes {
    waiting: VecDeque<Note>,
    /// The latest state, and when the process last showed activity.
    last: Option<(State, OffsetDateTime)>,
    /// When the latest state began.
    changed_at: Option<OffsetDateTime>,
    /// What is missing on the broker.
    unbound: Option<String>,
    /// Why the broker holds up publishers.
    alarm: Option<String>,
    /// Changes taken so far.
    taken: i64,
    /// The latest of them, taken or not.
    present: Option<Present>,
}

/// What the run is doing.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::supervisor) struct Present {
    pub state: State,
    pub since: OffsetDateTime,
    pub cause: String,
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
    pub fn push(&mut self, state: State, cause: &dyn Display, at: OffsetDateTime) -> bool {
        let cause = cause.to_string();
        let (state, cause) = match (state, &self.unbound, &self.alarm) {
            (State::Recording, Some(missing), _) => (State::Unbound, missing.clone()),
            (State::Recording, None, Some(alarm)) => (state, format!("{cause}; {alarm}")),
            _ => (state, cause),
        };
        if matches!(state, State::Disconnected | State::Stopped) {
            (self.unbound, self.alarm) = (None, None);
        }
        self.tick(at);
        if self.is_in(state) {
            return false;
        }
        self.enter(state, cause, at);
        true
    }

    fn is_in(&self, state: State) -> bool {
        matches!(self.last, Some((last, _)) if last == state)
    }

    fn enter(&mut self, state: State, cause: String, at: OffsetDateTime) {
        // A clock that is set back must not turn spans around.
        let at = self.last.map_or(at, |(_, active_at)| at.max(active_at));
        self.last = Some((state, at));
        self.wait(Note { at, state, cause, changes: 1 });
    }

    /// It is noticed some time after it came to be, and dated back to then, but not beyond the state before.
    pub fn push_unbound(&mut self, cause: String, since: OffsetDateTime) {
        if let Some((state @ State::Recording, active_at)) = &mut self.last {
            let at =
                self.changed_at.map_or(since, |changed_at| since.max(changed_at)).min(*active_at);
            *state = State::Unbound;
            self.wait(Note { at, state: State::Unbound, cause: cause.clone(), changes: 1 });
        }
        self.unbound = Some(cause);
    }

    /// A span of its own where recording goes on. It says nothing against any other state.
    pub fn push_alarm(&mut self, cause: String, at: OffsetDateTime) -> bool {
        self.tick(at);
        self.alarm = Some(cause.clone());
        let recording = self.is_in(State::Recording);
        if recording {
            self.enter(State::Recording, cause, at);
        }
        recording
    }

    pub fn end_alarm(&mut self, at: OffsetDateTime) -> bool {
        self.tick(at);
        let over = self.alarm.take().is_some() && self.is_in(State::Recording);
        if over {
            let cause = "the broker's alarm is over: publishers go on".to_owned();
            self.enter(State::Recording, cause, at);
        }
        over
    }

    /// Only what passed by for want of a binding is recorded from now on: whoever is paused meanwhile stays so.
    pub fn bind(&mut self, at: OffsetDateTime) -> bool {
        self.unbound = None;
        let was_unbound = self.is_in(State::Unbound);
        let cause = "what was missing on the broker is there again";
        was_unbound && self.push(State::Recording, &cause, at)
    }

    /// Whatever the process was doing before, it did not do it while it did not run.
    pub fn tick(&mut self, at: OffsetDateTime) {
        let Some((state, active_at)) = self.last else { return };
        if at - active_at > FROZEN {
            let cause = "the process did not run: it, or its machine, was halted".to_owned();
            self.wait(Note { at: active_at, state: State::Frozen, cause, changes: 1 });
            self.wait(Note { at, state, cause: "the process runs again".to_owned(), changes: 1 });
        }
        self.last = Some((state, at.max(active_at)));
    }

    fn wait(&mut self, note: Note) {
        if self.waiting.len() >= ROOM {
            self.merge_the_oldest();
        }
        self.changed_at = Some(note.at);
        self.present =
            Some(Present { state: note.state, since: note.at, cause: note.cause.clone() });
        self.waiting.push_back(note);
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

    /// What the run is doing, once it has begun.
    pub fn present(&self) -> Option<&Present> {
        self.present.as_ref()
    }

    /// Nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn take(&mut self) -> Vec<Change> {
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
    use super::*;
    use crate::event::now;

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
        let seconds = time::Duration::seconds;
        assert_eq!(
            seen,
            [
                (1, seconds(0), "a".to_owned()),
                (2, seconds(1), "b".to_owned()),
                // The clock was set back meanwhile.
                (3, seconds(2), "d".to_owned())
            ]
        );
        notes.push(State::Paused, &"e", start);
        assert_eq!(notes.take()[0].number, 4);
        assert!(notes.take().is_empty());
    }

    #[test]
    fn a_time_without_activity_is_frozen_whoever_notices() {
        let mut notes = Notes::default();
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        notes.push(State::Recording, &"", at(0));
        for seconds in [10, 20, 60] {
            notes.tick(at(seconds));
        }
        assert!(!notes.push(State::Recording, &"", at(100)));
        notes.push(State::Paused, &"", at(140));
        let seen: Vec<_> = notes.take().into_iter().map(|c| (c.state, c.at)).collect();
        let frozen = [(20, 60), (60, 100), (100, 140)];
        let spans =
            frozen.map(|(from, to)| [(State::Frozen, at(from)), (State::Recording, at(to))]);
        let whole =
            [vec![(State::Recording, at(0))], spans.concat(), vec![(State::Paused, at(140))]];
        assert_eq!(seen, whole.concat());
    }

    #[test]
    fn a_missing_exchange_is_dated_back_and_outlives_what_is_still_recorded() {
        let mut notes = Notes::default();
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        notes.push(State::Recording, &"", at(0));
        notes.tick(at(8));
        notes.push_unbound("gone".to_owned(), at(4));
        assert!(!notes.push(State::Recording, &"stored", at(9)));
        notes.push(State::Paused, &"", at(10));
        assert!(notes.push(State::Recording, &"stored again", at(11)));
        notes.push(State::Disconnected, &"", at(12));
        notes.push(State::Recording, &"a new session", at(13));
        let seen: Vec<_> = notes.take().into_iter().map(|c| (c.state, c.at)).collect();
        let expected = [
            (State::Recording, at(0)),
            (State::Unbound, at(4)),
            (State::Paused, at(10)),
            (State::Unbound, at(11)),
            (State::Disconnected, at(12)),
            (State::Recording, at(13)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_bound_again_while_nothing_can_be_stored_is_not_recorded() {
        let mut notes = Notes::default();
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        notes.push(State::Recording, &"", at(0));
        notes.push(State::Paused, &"", at(1));
        notes.push_unbound("gone".to_owned(), at(2));
        assert!(!notes.bind(at(3)));
        notes.push(State::Recording, &"stored again", at(4));
        notes.push_unbound("gone".to_owned(), at(5));
        assert!(notes.bind(at(6)));
        let seen: Vec<_> = notes.take().into_iter().map(|c| (c.state, c.at)).collect();
        let expected = [
            (State::Recording, at(0)),
            (State::Paused, at(1)),
            (State::Recording, at(4)),
            (State::Unbound, at(4)),
            (State::Recording, at(6)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_alarm_is_the_cause_of_a_span_of_recording() {
        let mut notes = Notes::default();
        let start = now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!notes.end_alarm(at(0)));
        notes.push(State::Recording, &"up", at(0));
        assert!(!notes.end_alarm(at(1)));
        assert!(notes.push_alarm("low".to_owned(), at(2)));
        notes.push(State::Paused, &"away", at(3));
        notes.push(State::Recording, &"back", at(4));
        assert!(notes.end_alarm(at(5)));
        notes.push(State::Paused, &"away", at(6));
        assert!(!notes.push_alarm("low".to_owned(), at(7)));
        assert!(!notes.end_alarm(at(8)));
        notes.push(State::Recording, &"back", at(9));
        assert!(notes.push_alarm("low".to_owned(), at(10)));
        // Whether it lasts, the next session will tell.
        notes.push(State::Disconnected, &"down", at(11));
        notes.push(State::Recording, &"up", at(12));
        let seen: Vec<_> =
            notes.take().into_iter().map(|c| (c.at - start, c.state, c.cause)).collect();
        let expected = [
            (0, State::Recording, "up"),
            (2, State::Recording, "low"),
            (3, State::Paused, "away"),
            (4, State::Recording, "back; low"),
            (5, State::Recording, "the broker's alarm is over: publishers go on"),
            (6, State::Paused, "away"),
            (9, State::Recording, "back"),
            (10, State::Recording, "low"),
            (11, State::Disconnected, "down"),
            (12, State::Recording, "up"),
        ];
        let expected =
            expected.map(|(s, state, cause)| (time::Duration::seconds(s), state, cause.to_owned()));
        assert_eq!(seen, expected);
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
        assert_eq!(written[1].state, State::Disconnected);
        assert_eq!(written[2].state, State::Recording);
        assert_eq!(written[ROOM - 1].state, State::Disconnected);
    }
}
