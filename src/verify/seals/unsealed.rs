//! What was committed and is in no seal.

use super::Seals;
use crate::{
    store::LedgerEntry,
    verify::finding::{Subject, Verdict::Unsealed},
};

/// When it should be in one. Microseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(in crate::verify) struct Due {
    /// What was committed until then.
    pub until: i64,
    /// Nothing can have been committed after that: a time that has not come would keep it from being due for ever.
    pub from: i64,
}

impl Due {
    /// At that instant, where it may take that long.
    pub fn at(now: i64, patience: i64) -> Due {
        Due { until: now.saturating_sub(patience), from: now.saturating_add(patience) }
    }
}

impl Seals {
    /// What stands behind the last seal, which is wrong where it should be in one.
    pub fn leave(&mut self, entry: &LedgerEntry, due: Due) {
        let (subject, at) = match entry {
            LedgerEntry::Batch(batch) => {
                self.header(batch);
                let subject = Subject::Batch { lane: batch.lane, number: batch.number };
                // Where the ledger was off nobody may seal.
                (subject, batch.leaves.as_ref().map(|_| batch.committed_at))
            }
            LedgerEntry::Act(act) => {
                self.act(act);
                (Subject::Act { id: act.id }, Some(act.at))
            }
        };
        let why = match at {
            Some(at) if at <= due.until => "it was committed and is in no seal",
            Some(at) if at > due.from => {
                "it is in no seal, and the time of its commit has not come"
            }
            _ => {
                self.counts.fresh += 1;
                return;
            }
        };
        self.findings.add(Unsealed, subject, why);
    }
}
