//! How far a check has come, to go on from there when it was interrupted.
//!
//! The tree is looked at whole each time: what is kept are the spans of time whose events were compared with it, and what was found.
//! Whoever goes on believes what is kept. What is not believed is that the database has stayed what it was: spans are read again of
//! which there is more than there was, or whose partition is another one.

use std::fmt;

use futures_util::{Stream, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    acts::Lawful,
    damage::{Damage, Room},
    finding::{Finding, Findings},
    given::Given,
    partition::{EventCounts, OfExpired},
    window::{Open, Seen},
    work::{Request, Taken},
};
use crate::{
    ledger::Hash,
    store::{BatchTimes, PartitionTable},
};

/// What the first field says, so that it is known what this is.
pub const FORMAT: &str = "bloodbank-audit verify progress 1";

/// What a check has come to so far.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    format: String,
    scope: Scope,
    pub(super) history: Option<Identity>,
    /// What was found wrong with the tree, and in spans that are read again.
    pub(super) earlier: Findings,
    pub(super) spans: Vec<ReadSpan>,
    /// For the damage of all spans together: there may be thousands of them.
    #[serde(skip)]
    room: Room,
}

/// What is checked, and against what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    since: Option<i64>,
    until: Option<i64>,
    unsigned_before: Option<i64>,
    /// The given checkpoints: epoch, size and root.
    checkpoints: Vec<(u64, u64, Root)>,
    keys: Vec<String>,
}

/// A root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Root(#[serde(with = "super::base64")] pub Hash);

/// Which history it is: what stays as it is while more is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The lane of the first batch of all.
    pub first_lane: Option<Uuid>,
    /// The trees: epoch, the position from which on it is, size, and root.
    pub trees: Vec<(i32, i64, u64, Root)>,
}

/// A span of time whose events were compared with the tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadSpan {
    /// The table that held its rows; none where there was none.
    pub partition: Option<String>,
    /// In microseconds since 1970.
    pub from: i64,
    pub to: i64,
    /// The instant at which it was seen, by the database's clock.
    pub at: i64,
    /// Batches from this position on may have come since.
    pub horizon: i64,
    pub counts: EventCounts,
    pub of_expired: OfExpired,
    pub damage: Damage,
    /// Batches that have events elsewhere, too.
    pub halves: Vec<Half>,
}

/// What a span has seen of a batch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Half {
    pub lane: Uuid,
    pub number: i64,
    /// For each run of events alike, how many, and what became of them.
    seen: Vec<(usize, Seen)>,
}

impl Half {
    /// Of this batch.
    pub fn of(open: &Open) -> Half {
        let runs = open.seen.chunk_by(|one, next| one == next);
        let seen = runs.map(|run| (run.len(), run[0])).collect();
        Half { lane: open.batch.lane, number: open.batch.number, seen }
    }

    /// What it has seen of each event; none where it was of another number of them.
    pub fn seen(&self, events: usize) -> Option<Vec<Seen>> {
        let all = self.seen.iter().try_fold(0_usize, |all, (run, _)| all.checked_add(*run));
        (all == Some(events)).then(|| {
            let runs = self.seen.iter().map(|(run, seen)| std::iter::repeat_n(*seen, *run));
            runs.flatten().collect()
        })
    }
}

/// What is kept is of another check than the one that is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differs(&'static str);

/// Or the same, made anew.
pub(super) const OTHER_HISTORY: Differs = Differs(
    "it was begun on another history: here the tree does not have the root that it had there (another database, an older state of it, or \
     the tree was rewritten since)",
);

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Scope {
    /// What of a request is to be the same.
    #[must_use]
    pub fn of(request: &Request) -> Scope {
        let Request { given, keys, since, until, unsigned_before, .. } = request;
        let of_given = |given: &Given| (given.epoch, given.size, Root(given.root));
        let mut checkpoints: Vec<_> = given.iter().map(of_given).collect();
        checkpoints.sort_unstable();
        checkpoints.dedup();
        let mut keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        keys.sort_unstable();
        keys.dedup();
        let (since, until, unsigned_before) = (*since, *until, *unsigned_before);
        Scope { since, until, unsigned_before, checkpoints, keys }
    }
}

impl Progress {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(scope: Scope) -> Progress {
        let (format, earlier, spans) = (FORMAT.to_owned(), Findings::default(), Vec::new());
        Progress { format, scope, history: None, earlier, spans, room: Room::default() }
    }

    /// Whether it is of this check.
    ///
    /// # Errors
    /// It is of another one: what differs.
    pub fn is_of(&self, scope: &Scope) -> Result<(), Differs> {
        let Scope { since, until, unsigned_before, checkpoints, keys } = &self.scope;
        if self.format != FORMAT {
            Err(Differs("its format is of another version of this program"))
        } else if *since != scope.since {
            Err(Differs("--since was another time (one such as \"yesterday\" moves on)"))
        } else if *until != scope.until {
            Err(Differs("--until was another time (one such as \"yesterday\" moves on)"))
        } else if *unsigned_before != scope.unsigned_before {
            Err(Differs("--unsigned-before was another time (one such as \"yesterday\" moves on)"))
        } else if *checkpoints != scope.checkpoints {
            Err(Differs("other checkpoints were given with --checkpoint"))
        } else if *keys != scope.keys {
            Err(Differs("other keys were given with --key"))
        } else {
            Ok(())
        }
    }

    /// The size and the root that the tree of an epoch had.
    pub(super) fn tree(&self, epoch: i32) -> Option<(u64, Hash)> {
        let trees = self.history.iter().flat_map(|history| &history.trees);
        let mut of_it = trees.filter(|(of, ..)| *of == epoch);
        of_it.next().map(|(_, _, size, Root(root))| (*size, *root))
    }

    /// Whether it is of this history, which may have grown; the trees' roots are looked at when they are known.
    ///
    /// # Errors
    /// It is of another one.
    pub(super) fn is_of_history(&self, now: &Identity) -> Result<(), Differs> {
        let Some(then) = &self.history else { return Ok(()) };
        let epochs = |history: &Identity| -> Vec<(i32, i64)> {
            history.trees.iter().map(|(epoch, from, ..)| (*epoch, *from)).collect()
        };
        let same_lane = then.first_lane.is_none() || then.first_lane == now.first_lane;
        if same_lane && epochs(now).starts_with(&epochs(then)) {
            Ok(())
        } else {
            Err(OTHER_HISTORY)
        }
    }

    /// What of it was done before; none where nothing was.
    pub(super) fn taken(&self) -> Option<Taken> {
        let partitions = self.spans.iter().filter(|span| span.partition.is_some());
        let times = || self.spans.iter().map(|span| span.at);
        let events = self.spans.iter().map(|span| span.counts.checked);
        Some(Taken {
            partitions: u64::try_from(partitions.count()).unwrap_or(u64::MAX),
            events: events.fold(0, u64::saturating_add),
            from: times().min()?,
            to: times().max()?,
        })
    }

    /// Keeps those of the spans that are still good, with the partitions and the later batches that there are now; what was found in
    /// the others stays.
    pub(super) async fn keep_good<E>(
        &mut self,
        tables: &[PartitionTable],
        lawful: &Lawful,
        mut later: impl Stream<Item = Result<BatchTimes, E>> + Unpin,
    ) -> Result<(), E> {
        let spans = std::mem::take(&mut self.spans);
        let (mut good, mut others): (Vec<_>, Vec<_>) =
            spans.into_iter().partition(|span: &ReadSpan| span.is_still_there(tables, lawful));
        let end = good.iter().map(|span| span.to).max().unwrap_or(i64::MIN);
        while let Some(batch) = later.try_next().await? {
            // Nearly all of them.
            if batch.from.is_some_and(|from| from >= end) && batch.to >= batch.from {
                continue;
            }
            others.extend(good.extract_if(.., |span| span.is_older(&batch)));
        }
        self.spans = good;
        self.give_up(others);
        Ok(())
    }

    /// Takes on a span that is good, with as much of its damage as there is room for.
    pub(super) fn keep(&mut self, span: ReadSpan) {
        let damage = span.damage.within(&mut self.room);
        self.spans.push(ReadSpan { damage, ..span });
    }

    /// These are to be read again; what was found in them stays.
    pub(super) fn give_up(&mut self, spans: Vec<ReadSpan>) {
        for span in spans {
            self.earlier.add_new(span.damage.judge(), None);
        }
    }
}

impl ReadSpan {
    /// Whether the partition is the one that was read, or has gone lawfully since, and nothing has come in its place.
    fn is_still_there(&self, tables: &[PartitionTable], lawful: &Lawful) -> bool {
        let bounds = (self.from, self.to);
        let open_ended = |table: &PartitionTable| (table.from, table.to) == (i64::MIN, i64::MAX);
        let is_it = |table: &PartitionTable| {
            self.partition.as_deref() == Some(&*table.name) && (table.from, table.to) == bounds
        };
        let within = |table: &PartitionTable| table.from < self.to && table.to > self.from;
        if tables.iter().any(is_it) {
            return true;
        }
        if tables.iter().any(|table| !open_ended(table) && within(table)) {
            return false;
        }
        match self.partition {
            // The time that is still to come costs nothing.
            None => self.to < i64::MAX,
            Some(_) => lawful.expired.iter().any(|expired| (expired.from, expired.to) == bounds),
        }
    }

    /// Whether a batch may have come since, and have events in it.
    fn is_older(&self, batch: &BatchTimes) -> bool {
        let times = batch.from.zip(batch.to).filter(|(from, to)| from <= to);
        batch.position >= self.horizon
            && times.is_none_or(|(from, to)| to >= self.from && from < self.to)
    }
}

impl Findings {
    /// Adds those of things of which nothing is found here, with this behind their words.
    pub(super) fn add_new(&mut self, others: Findings, behind: Option<&str>) {
        for Finding { verdict, subject, why } in others.into_kept() {
            if self.kept().iter().any(|known| known.subject == subject) {
                continue;
            }
            let why = behind.map_or_else(|| why.clone(), |behind| format!("{why} ({behind})"));
            self.add(verdict, subject, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::finding::{Subject, Verdict};

    fn span(from: i64, to: i64) -> ReadSpan {
        ReadSpan {
            partition: Some("events".to_owned()),
            from,
            to,
            at: 0,
            horizon: 100,
            counts: EventCounts::default(),
            of_expired: OfExpired::default(),
            damage: Damage::default(),
            halves: Vec::new(),
        }
    }

    #[test]
    fn a_later_batch_that_may_have_events_in_it_makes_it_older() {
        let batch = |position, from, to| BatchTimes { position, from, to };
        let older = |batch| span(10, 20).is_older(&batch);
        assert!(older(batch(100, Some(10), Some(10))) && older(batch(100, Some(0), Some(30))));
        assert!(older(batch(100, None, None)) && older(batch(100, Some(30), Some(0))));
        assert!(!older(batch(99, Some(10), Some(10))), "it was seen");
        assert!(!older(batch(100, Some(0), Some(9))) && !older(batch(100, Some(20), Some(30))));
    }

    #[test]
    fn half_of_a_batch_is_what_it_was() {
        let seen = vec![(2, Seen::Not), (1, Seen::Wrong), (3, Seen::Right)];
        let half = Half { lane: Uuid::nil(), number: 7, seen };
        let text = serde_json::to_string(&half).unwrap();
        let read: Half = serde_json::from_str(&text).unwrap();
        let right = Seen::Right;
        let all = vec![Seen::Not, Seen::Not, Seen::Wrong, right, right, right];
        assert_eq!(read.seen(6), Some(all));
        assert_eq!((read.seen(5), read.seen(7)), (None, None));
        let too_many = text.replace("[3,", "[18446744073709551615,");
        assert_eq!(serde_json::from_str::<Half>(&too_many).unwrap().seen(2), None);
    }

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        let mut scope = Scope { since: Some(1), ..Scope::default() };
        let mut progress = Progress::new(scope.clone());
        let trees = vec![(1, 42, 7, Root([9; 32]))];
        progress.history = Some(Identity { first_lane: Some(Uuid::nil()), trees });
        progress.spans.push(span(i64::MIN, 5));
        let text = serde_json::to_string(&progress).unwrap();
        let read: Progress = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(read.tree(1), Some((7, [9; 32])));
        assert!(read.is_of(&scope).is_ok());
        scope.unsigned_before = Some(1);
        assert!(read.is_of(&scope).is_err() && read.is_of(&Scope::default()).is_err());
        assert!(serde_json::from_str::<Progress>(&text[..text.len() - 1]).is_err());
    }

    #[test]
    fn numbers_that_nothing_can_have_come_to_are_no_end_of_it() {
        let text = serde_json::to_string(&span(0, 5)).unwrap();
        let text = text.replace(r#""checked":0"#, r#""checked":18446744073709551615"#);
        let text = text.replace(r#""counts":[0,"#, r#""counts":[18446744073709551615,"#);
        let text =
            text.replace(r#""of_expired":[]"#, r#""of_expired":[[[[7,0]],18446744073709551615]]"#);
        let mut progress = Progress::new(Scope::default());
        let (mut counts, mut findings) = (EventCounts::default(), Findings::default());
        let mut of_expired = OfExpired::default();
        for _ in 0..2 {
            let span: ReadSpan = serde_json::from_str(&text).unwrap();
            counts.add(span.counts);
            findings.join(serde_json::from_str::<ReadSpan>(&text).unwrap().damage.judge());
            of_expired.join(span.of_expired);
            progress.keep(serde_json::from_str(&text).unwrap());
        }
        let all = (counts.checked, findings.all(), progress.taken().map(|taken| taken.events));
        assert_eq!(all, (u64::MAX, u64::MAX, Some(u64::MAX)));
    }

    #[test]
    fn what_was_in_no_seal_may_be_in_one_when_it_goes_on() {
        let mut findings = Findings::default();
        findings.add(Verdict::Unsealed, Subject::Act { id: Uuid::nil() }, "it is in no seal");
        findings.add(Verdict::Altered, Subject::Ledger, "it is another");
        let lasting = findings.lasting();
        assert_eq!((lasting.all(), lasting.count(Verdict::Altered)), (1, 1));
    }
}
