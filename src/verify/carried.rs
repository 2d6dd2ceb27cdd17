//! Batches whose events lie in more than one partition: each partition knows some of them.

use std::collections::HashMap;

use super::window::{Open, Seen};
use crate::store::PartitionTable;

/// A span of time, with the table that holds its rows where there is one. Microseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub from: i64,
    pub to: i64,
    pub table: Option<PartitionTable>,
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

/// All of time within these bounds: the partitions, and what lies between them.
pub(super) fn spans(tables: Vec<PartitionTable>, from: i64, to: i64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = from;
    let open_ended = |table: &PartitionTable| (table.from, table.to) == (i64::MIN, i64::MAX);
    for table in tables.iter().filter(|table| !open_ended(table)) {
        if table.to <= from || table.from >= to {
            continue;
        }
        if table.from > at {
            spans.push(Span { from: at, to: table.from, table: None });
        }
        at = at.max(table.to);
        spans.push(Span { from: table.from, to: table.to, table: Some(table.clone()) });
    }
    if at < to {
        spans.push(Span { from: at, to, table: None });
    }
    let rest = tables.into_iter().filter(open_ended);
    spans.extend(rest.map(|table| Span { from: table.from, to: table.to, table: Some(table) }));
    spans
}

/// Those of which not all was seen in one partition.
#[derive(Debug, Default)]
pub(super) struct Carried(HashMap<(i64, i64), Open>);

impl Carried {
    /// Takes on a batch that other spans may have more of; gives it back where none has.
    pub fn carry(&mut self, open: Open, spans: &[Span]) -> Option<Open> {
        if spans.iter().filter(|span| span.may_hold(&open)).count() < 2 {
            return Some(open);
        }
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
                there.left = there.seen.iter().filter(|seen| **seen == Seen::Not).count();
            }
        }
        None
    }

    /// All of them, when every span is read.
    pub fn rest(self) -> impl Iterator<Item = Open> {
        self.0.into_values()
    }
}
