//! Whose word headers and acts are: from when on a given key is on record, or has signed one, each of them is to be signed by one.
//!
//! That a key is on record is in the tree, and signatures are not: whoever takes them away from all that came first moves nothing.

use super::Seals;
use crate::ledger::{Hash, leaf_hash};
use crate::{
    store::{ActRow, BatchRow},
    verify::{
        finding::{
            Subject,
            Verdict::{Altered, Unsigned},
        },
        header::{act_data, header_data, header_hash},
        keys::{Checked, Pending, Signed},
        lanes::REMEMBERED,
    },
};

/// What is known of them so far.
#[derive(Debug)]
pub(super) struct Signatures {
    /// What was committed before then may be unsigned, in microseconds since 1970.
    unsigned_before: i64,
    /// A given key is on record, or has signed something.
    begun: bool,
    /// When anything was committed last so far: what comes later in the tree was not committed before, whatever it says.
    latest: i64,
    pending: Vec<Pending>,
    /// Headers that nobody has signed whose key is given, where one was in use; and why that is said.
    nobodys: Vec<(Subject, String)>,
}

impl Signatures {
    pub fn new(unsigned_before: i64) -> Signatures {
        Signatures {
            unsigned_before,
            begun: false,
            latest: i64::MIN,
            pending: Vec::new(),
            nobodys: Vec::new(),
        }
    }

    /// Whether what was committed then has to be signed.
    fn is_due(&self, at: i64) -> bool {
        self.begun && at >= self.unsigned_before
    }
}

impl Seals {
    pub(super) fn header(&mut self, batch: &BatchRow) -> Hash {
        self.counts.batches += 1;
        let data = header_data(batch);
        let hash = header_hash(&data);
        self.lanes.next(batch, hash, &mut self.findings);
        let committed_at = self.signatures.latest.max(batch.committed_at);
        self.signatures.latest = committed_at;
        self.signatures.pending.push(Pending {
            lane: batch.lane,
            number: batch.number,
            position: batch.position,
            committed_at,
            covered: batch.leaves.is_some(),
            data,
            signature: batch.signature.clone(),
            key_id: batch.key_id,
        });
        // Which is the first has to be known before what follows is looked at, and that may be in any order.
        if !self.signatures.begun
            && let Some(first) = self.pending(1)
        {
            let checked = Checked::of(&self.keys, first);
            self.checked(checked);
        }
        hash
    }

    /// The signatures that are to be looked at, if there are so many.
    pub fn pending(&mut self, least: usize) -> Option<Vec<Pending>> {
        let pending = &mut self.signatures.pending;
        (pending.len() >= least.max(1)).then(|| std::mem::take(pending))
    }

    /// What came of them.
    pub fn checked(&mut self, checked: Checked) {
        let Checked { rightly, not, by_others, wrongly } = checked;
        let count = |pending: &[Pending]| u64::try_from(pending.len()).unwrap_or(u64::MAX);
        self.counts.signed += rightly;
        self.counts.unsigned += count(&not);
        self.counts.signed_by_others += count(&by_others);
        self.signatures.begun |= rightly > 0;
        for pending in not.into_iter().chain(by_others) {
            if pending.covered && self.signatures.is_due(pending.committed_at) {
                self.nobodys(&pending);
            }
        }
        for (Pending { lane, number, position, .. }, why) in wrongly {
            self.lanes.altered_at(position);
            self.findings.add(Altered, Subject::Batch { lane, number }, why);
        }
    }

    fn nobodys(&mut self, pending: &Pending) {
        let subject = Subject::Batch { lane: pending.lane, number: pending.number };
        let why = why(pending.key_id);
        // One whose signature alone is gone is told by others of its lane.
        if self.signatures.nobodys.len() < REMEMBERED {
            self.signatures.nobodys.push((subject, why));
        } else {
            self.findings.add(Unsigned, subject, why);
        }
    }

    /// Says of headers that nobody has signed, where nothing else is said of them.
    pub(super) fn resolve_signatures(&mut self) {
        for (subject, why) in std::mem::take(&mut self.signatures.nobodys) {
            let known = matches!(subject, Subject::Batch { lane, number } if self.findings.has_header(lane, number));
            if !known {
                self.findings.add(Unsigned, subject, why);
            }
        }
        if self.keys.all().is_empty()
            || self.signatures.begun
            || self.counts.acts == 0 && self.counts.batches == 0
        {
            return;
        }
        let why = "none of the given keys has signed a header or an act of it";
        self.findings.add(Unsigned, Subject::Ledger, why);
    }

    pub(super) fn act(&mut self, act: &ActRow) -> Hash {
        self.counts.acts += 1;
        let data = act_data(act);
        let subject = Subject::Act { id: act.id };
        let mut wrong = None;
        self.signatures.begun |= act.kind == "key" && self.keys.introduces(&act.details);
        match self.keys.check(&data, act.signature.as_deref(), act.key_id) {
            Signed::Unchecked => {}
            Signed::Rightly => self.signatures.begun = true,
            Signed::Wrongly(why) => wrong = Some(why),
            Signed::Not | Signed::ByOthers => {
                self.counts.unsigned_acts += 1;
                if self.signatures.is_due(self.signatures.latest.max(act.at)) {
                    self.findings.add(Unsigned, subject.clone(), why(act.key_id));
                }
            }
        }
        if act.holed {
            wrong = Some("a column of it is null that never is".to_owned());
        }
        // What is not as it was allows nothing.
        if let Some(why) = wrong.or_else(|| self.lawful.note(act).err()) {
            self.lanes.altered_at(act.position);
            self.findings.add(Altered, subject, why);
        }
        leaf_hash(&data)
    }
}

fn why(key_id: Option<i64>) -> String {
    match key_id {
        None => "nobody has signed it, and a given key was in use before it".to_owned(),
        Some(key_id) => format!(
            "a key of the id {key_id:08x} has signed it, which is not given, and a given one was in use before it: \
             where that is one of yours, give it, too"
        ),
    }
}
