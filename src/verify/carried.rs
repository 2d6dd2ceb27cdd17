//! Batches whose events lie in more than one partition: each partition knows some of them.

use std::collections::HashMap;

use super::{
    progress::ReadSpan,
    window::{Open, Seen},
};
use crate::store::PartitionTable;

/// A span of time, with the table that holds its rows where there is one. Microseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub from: i64,
    pub to: i64,
    pub table: Option<PartitionTable>,
    /// It was read before the check was interrupted.
    pub is_done: bool,
}

impl Span {
    /// Whether events of a batch may lie in it. One that does not say when they were received may have them anywhere.
    fn may_hold(&self, open: &Open) -> bool {
        match open.times() {
            Some((from, to)) => to >= self.from && from < self.to,
            None => true,
        }
    }

    /// Whether it has no bounds: then it may hold anything, and mostly holds nothing.
    pub fn is_open_ended(&self) -> bool {
        (self.from, self.to) == (i64::MIN, i64::MAX) && self.table.is_some()
    }
}

/// All of time within these bounds: the partitions, what was read before, and what lies between them.
pub(super) fn spans(
    tables: Vec<PartitionTable>,
    from: i64,
    to: i64,
    done: &[ReadSpan],
) -> Vec<Span> {
    let of_table = |table: PartitionTable| {
        let bounds = (table.from, table.to);
        let is_done = done.iter().any(|done| (done.from, done.to) == bounds);
        Span { from: table.from, to: table.to, table: Some(table), is_done }
    };
    let (open_ended, mut known): (Vec<_>, Vec<_>) = tables
        .into_iter()
        .map(of_table)
        .partition(|span| (span.from, span.to) == (i64::MIN, i64::MAX));
    known.retain(|span| span.to > from && span.from < to);
    for done in done {
        // Where the partition is gone, or never was.
        if !known.iter().any(|span| (span.from, span.to) == (done.from, done.to)) {
            known.push(Span { from: done.from, to: done.to, table: None, is_done: true });
        }
    }
    known.sort_by_key(|span| span.from);
    let between = |from, to| Span { from, to, table: None, is_done: false };
    let mut spans = Vec::new();
    let mut at = from;
    for span in known {
        if span.from > at {
            spans.push(between(at, span.from));
        }
        at = at.max(span.to);
        spans.push(span);
    }
    if at < to {
        spans.push(between(at, to));
    }
    spans.extend(open_ended);
    spans
}

/// Whether other spans may have more of a batch.
pub(super) fn is_elsewhere(open: &Open, spans: &[Span]) -> bool {
    spans.iter().filter(|span| span.may_hold(open)).nth(1).is_some()
}

/// Those of which not all was seen in one partition.
#[derive(Debug, Default)]
pub(super) struct Carried(HashMap<(i64, i64), Open>);

impl Carried {
    /// Takes on a batch that other spans may have more of.
    pub fn carry(&mut self, open: Open) {
        let key = (open.batch.first_seq, open.batch.position);
        match self.0.get_mut(&key) {
            None => {
                self.0.insert(key, open);
            }
            Some(there) => {
                for (seen, other) in there.seen.iter_mut().zip(&open.seen) {
                    if *seen == Seen::Not {
                        *seen = *other;
                    }
                }
                there.count_left();
            }
        }
    }

    /// All of them, when every span is read.
    pub fn rest(self) -> impl Iterator<Item = Open> {
        self.0.into_values()
    }
}
