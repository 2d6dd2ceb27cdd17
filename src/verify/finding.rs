//! What is found to be wrong.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What became of something that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// It is another than was recorded.
    Altered,
    /// It is gone, and nothing says that it may be.
    Deleted,
    /// It was not recorded by a daemon.
    Inserted,
    /// It stands under the number, or at the place, of another one.
    Moved,
    /// It has another time than when it was recorded.
    Backdated,
    /// The database is not the one that a checkpoint speaks of: it went back in time, or was rewritten.
    Forked,
    /// It was committed and is in no seal.
    Unsealed,
    /// Nobody has signed it whose key is given, where one of those was in use before.
    Unsigned,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 8] = [
        Verdict::Altered,
        Verdict::Deleted,
        Verdict::Inserted,
        Verdict::Moved,
        Verdict::Backdated,
        Verdict::Forked,
        Verdict::Unsealed,
        Verdict::Unsigned,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Altered => "ALTERED",
            Verdict::Deleted => "DELETED",
            Verdict::Inserted => "INSERTED",
            Verdict::Moved => "MOVED",
            Verdict::Backdated => "BACKDATED",
            Verdict::Forked => "FORKED",
            Verdict::Unsealed => "UNSEALED",
            Verdict::Unsigned => "UNSIGNED",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A row of `audit.events`.
    Event {
        /// Its number.
        seq: i64,
        /// When it was received, in microseconds since 1970, where there is a row that says so.
        received_at: Option<i64>,
        /// Its id, where it has one that is a uuid.
        event_id: Option<Uuid>,
        /// The table it is in, where it is in one.
        partition: Option<String>,
    },
    /// Events that a batch had and that are not there.
    Events {
        /// The first one's number.
        first: i64,
        /// The last one's number.
        last: i64,
    },
    /// A row of `audit.batches`.
    Batch {
        /// Its lane.
        lane: Uuid,
        /// Its number there.
        number: i64,
    },
    /// A row of `audit.acts`.
    Act {
        /// Its id.
        id: Uuid,
    },
    /// A row of `audit.seals`.
    Seal {
        /// Its tree.
        epoch: i32,
        /// Its number.
        number: i64,
    },
    /// A row of `audit.nodes`.
    Node {
        /// Its tree.
        epoch: i32,
        /// Its level.
        level: i64,
        /// Its place there.
        index: i64,
    },
    /// A checkpoint, of the database or as given.
    Checkpoint {
        /// Its tree.
        epoch: u64,
        /// Its size.
        size: u64,
        /// Which one it is, in words.
        which: String,
    },
    /// What is of an epoch.
    Epoch {
        /// Its number.
        epoch: i32,
    },
    /// All of the ledger.
    Ledger,
    /// A partition of `audit.events` that is gone.
    Partition {
        /// Its table.
        name: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Event { seq, event_id, partition, .. } => {
                write!(f, "event {seq}")?;
                if let Some(id) = event_id {
                    write!(f, " ({id})")?;
                }
                match partition {
                    Some(partition) => write!(f, " in {partition}"),
                    None => Ok(()),
                }
            }
            Subject::Events { first, last } if first == last => write!(f, "event {first}"),
            Subject::Events { first, last } => write!(f, "events {first} to {last}"),
            Subject::Batch { lane, number } => write!(f, "header {number} of lane {lane}"),
            Subject::Act { id } => write!(f, "act {id}"),
            Subject::Seal { epoch, number } => write!(f, "seal {number} of epoch {epoch}"),
            Subject::Node { epoch, level, index } => {
                write!(f, "node {index} of level {level} of epoch {epoch}")
            }
            Subject::Checkpoint { which, size, epoch: 0 | 1 } => {
                write!(f, "{which} of {size} leaves")
            }
            Subject::Checkpoint { which, size, epoch } => {
                write!(f, "{which} of {size} leaves in epoch {epoch}")
            }
            Subject::Epoch { epoch } => write!(f, "epoch {epoch}"),
            Subject::Ledger => f.write_str("the ledger"),
            Subject::Partition { name } => write!(f, "partition {name}"),
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What became of it.
    pub verdict: Verdict,
    /// What it is about.
    pub subject: Subject,
    /// What shows it, in words.
    pub why: String,
}

/// How many findings are kept; all are counted.
pub(super) const KEPT: usize = 10_000;

/// All that is wrong.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: [u64; Verdict::ALL.len()],
    /// Headers that are found altered: by two signs each is one finding.
    #[serde(skip)]
    headers: BTreeSet<(Uuid, i64)>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, verdict: Verdict, subject: Subject, why: impl Into<String>) {
        if let Subject::Batch { lane, number } = subject
            && self.headers.len() < KEPT
            && !self.headers.insert((lane, number))
        {
            return;
        }
        let events = match &subject {
            Subject::Events { first, last } => {
                u64::try_from(last.saturating_sub(*first)).unwrap_or_default().saturating_add(1)
            }
            _ => 1,
        };
        // What is kept of an earlier check may say any number.
        let count = &mut self.counts[verdict as usize];
        *count = count.saturating_add(events);
        if self.kept.len() < KEPT {
            self.kept.push(Finding { verdict, subject, why: why.into() });
        }
    }

    /// The first of them.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many there are of a verdict: events, headers, and what else is looked at.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.counts[verdict as usize]
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }

    /// The first of those that nothing puts right: what was in no seal may be in one by now, as lawfully.
    pub(super) fn lasting(&self) -> Findings {
        let mut lasting = Findings::default();
        for Finding { verdict, subject, why } in &self.kept {
            if *verdict != Verdict::Unsealed {
                lasting.add(*verdict, subject.clone(), &**why);
            }
        }
        lasting
    }

    /// The first of them, and nothing else.
    pub(super) fn into_kept(self) -> Vec<Finding> {
        self.kept
    }

    /// Lets go of those of which no more can be kept; they stay counted.
    pub(super) fn keep_within(&mut self, room: &mut usize) {
        self.kept.truncate(*room);
        self.kept.shrink_to_fit();
        *room -= self.kept.len();
    }

    /// Whether a header was found to be wrong.
    pub(super) fn has_header(&self, lane: Uuid, number: i64) -> bool {
        self.headers.contains(&(lane, number))
    }

    /// Those of another part behind these.
    pub(super) fn join(&mut self, others: Findings) {
        for (count, other) in self.counts.iter_mut().zip(others.counts) {
            *count = count.saturating_add(other);
        }
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend(others.kept.into_iter().take(room));
    }
}
