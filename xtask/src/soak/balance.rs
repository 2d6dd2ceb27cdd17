//! The balance: what was published against what is in the history, the rejections and the dead-letter queue.
//!
//! For each event, by what it is recognised by, with c publishes confirmed of p sent:
//!
//! - **With an id**: exactly one row if c > 0, at most one if c = 0. Another content under the same id is another
//!   event, and of an id's rows exactly one is not flagged as a conflict.
//! - **Without an id**: at least c rows. At most p of them are not flagged as redelivered: a delivery that comes
//!   again, because whoever took it or the broker was killed before its acknowledgement was safe, may be stored again.
//! - **Refused**: no row in the history. At least c rejections, with the reason, at most p of them not redelivered. At
//!   least c copies in the dead-letter queue and at most p, and one more for each end of the broker: it moves a message
//!   there at least once.
//! - Nothing else is in the history, the rejections or the dead-letter queue.

use std::collections::{BTreeMap, HashMap};

use super::ledger::Records;
use super::mix::Key;
use crate::history::Digest;

/// Examples of each kind of wrong to name.
const MOST_EXAMPLES: usize = 5;

/// What was found when all was over.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows of the history.
    pub stored: Vec<Stored>,
    /// Rows of the rejections.
    pub rejected: Vec<Rejected>,
    /// Bodies in the dead-letter queue.
    pub dead_letters: Vec<Digest>,
    /// Ids of which not exactly one row is the original.
    pub ids_without_one_original: Vec<String>,
    /// What the daemon's own books say that is not so, in words.
    pub wrong_books: Vec<String>,
    /// How often the broker ended, killed or restarted.
    pub broker_ends: u64,
}

/// One row of the history.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// What the event is recognised by.
    pub key: Key,
    /// Whether the broker said that it may have been delivered before.
    pub redelivered: bool,
    /// Whether it is flagged as a conflict.
    pub conflict: bool,
}

/// One row of the rejections.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// What the event is recognised by.
    pub key: Key,
    /// Whether the broker said that it may have been delivered before.
    pub redelivered: bool,
    /// Reason and SQLSTATE.
    pub why: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Confirmed and nowhere, or less often than confirmed.
    Lost,
    /// More often than the rules allow.
    StoredTwice,
    /// Stored, and never published.
    Foreign,
    /// The database should have refused it.
    StoredThoughRefused,
    /// Rejected, and nothing is wrong with it.
    RejectedThoughGood,
    /// Rejected without the right reason.
    OtherReason,
    /// Refused, confirmed, and without a rejection for each.
    NotRejected,
    /// More rejections than the rules allow.
    RejectedTwice,
    /// In the dead-letter queue without being refused.
    DeadLetteredThoughGood,
    /// Refused, confirmed, and not in the dead-letter queue.
    NotDeadLettered,
    /// More copies in the dead-letter queue than the rules allow.
    DeadLetteredTwice,
    /// An id with no original, or with several.
    NotOneOriginal,
    /// The daemon's own books are wrong.
    Books,
}

/// How often something is wrong, and what is.
#[derive(Debug, Clone, Default)]
pub struct Offence {
    /// How often.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<Culprit>,
}

/// What something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// The event published under that number.
    Number(u32),
    /// A body that no publish is known for.
    Digest(Digest),
    /// Anything else, in words.
    Words(String),
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Balance {
    /// Rows of the history.
    pub stored: u64,
    /// Of those, flagged as a conflict.
    pub conflicts: u64,
    /// Of those, without an id and beyond the number of publishes, each after a redelivery.
    pub stored_again: u64,
    /// Rows of the rejections.
    pub rejected: u64,
    /// Copies in the dead-letter queue.
    pub dead_letters: u64,
    /// What is wrong.
    pub wrong: BTreeMap<Wrong, Offence>,
}

/// How often an event was found.
#[derive(Clone, Copy, Default)]
struct Times {
    rows: u32,
    first: u32,
}

impl Times {
    fn count(&mut self, redelivered: bool) {
        self.rows += 1;
        self.first += u32::from(!redelivered);
    }
}

impl Balance {
    /// Draws it.
    pub fn draw(records: &Records, found: &Found) -> Self {
        let mut balance = Self {
            stored: found.stored.len() as u64,
            conflicts: found.stored.iter().filter(|row| row.conflict).count() as u64,
            rejected: found.rejected.len() as u64,
            dead_letters: found.dead_letters.len() as u64,
            ..Self::default()
        };
        balance.history(records, found);
        balance.rejections(records, found);
        balance.dead_letters(records, found);
        for id in &found.ids_without_one_original {
            balance.note(Wrong::NotOneOriginal, Culprit::Words(id.clone()), 1);
        }
        for words in &found.wrong_books {
            balance.note(Wrong::Books, Culprit::Words(words.clone()), 1);
        }
        balance
    }

    /// Whether nothing is wrong.
    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// How often one thing is wrong.
    pub fn count(&self, wrong: Wrong) -> u64 {
        self.wrong.get(&wrong).map_or(0, |offence| offence.count)
    }

    fn history(&mut self, records: &Records, found: &Found) {
        let mut times: HashMap<Key, Times> = HashMap::new();
        for row in &found.stored {
            times.entry(row.key).or_default().count(row.redelivered);
            match records.entries.get(&row.key) {
                None => self.note(Wrong::Foreign, Culprit::Digest(row.key), 1),
                Some(entry) if entry.refused => {
                    self.note(Wrong::StoredThoughRefused, Culprit::Number(entry.number), 1);
                }
                Some(_) => {}
            }
        }
        for (key, entry) in records.entries.iter().filter(|(_, entry)| !entry.refused) {
            let Times { rows, first } = times.get(key).copied().unwrap_or_default();
            let culprit = Culprit::Number(entry.number);
            if entry.has_id {
                let must = entry.confirmed.min(1);
                self.note(Wrong::Lost, culprit.clone(), must.saturating_sub(rows).into());
                self.note(Wrong::StoredTwice, culprit, rows.saturating_sub(1).into());
            } else {
                self.note(
                    Wrong::Lost,
                    culprit.clone(),
                    entry.confirmed.saturating_sub(rows).into(),
                );
                let unexcused = first.saturating_sub(entry.published);
                self.note(Wrong::StoredTwice, culprit, unexcused.into());
                self.stored_again += u64::from(rows.saturating_sub(entry.published.max(first)));
            }
        }
    }

    fn rejections(&mut self, records: &Records, found: &Found) {
        let mut times: HashMap<Key, Times> = HashMap::new();
        for row in &found.rejected {
            times.entry(row.key).or_default().count(row.redelivered);
            match records.entries.get(&row.key) {
                Some(entry) if entry.refused => {
                    if !["refused 23514", "refused P0001"].contains(&row.why.as_str()) {
                        self.note(Wrong::OtherReason, Culprit::Number(entry.number), 1);
                    }
                }
                Some(entry) => {
                    self.note(Wrong::RejectedThoughGood, Culprit::Number(entry.number), 1);
                }
                None => self.note(Wrong::RejectedThoughGood, Culprit::Digest(row.key), 1),
            }
        }
        for (key, entry) in records.entries.iter().filter(|(_, entry)| entry.refused) {
            let Times { rows, first } = times.get(key).copied().unwrap_or_default();
            let culprit = Culprit::Number(entry.number);
            let missing = entry.confirmed.saturating_sub(rows);
            self.note(Wrong::NotRejected, culprit.clone(), missing.into());
            let unexcused = first.saturating_sub(entry.published);
            self.note(Wrong::RejectedTwice, culprit, unexcused.into());
        }
    }

    fn dead_letters(&mut self, records: &Records, found: &Found) {
        let mut copies: HashMap<Digest, u64> = HashMap::new();
        for digest in &found.dead_letters {
            *copies.entry(*digest).or_default() += 1;
            if !records.refused_bodies.contains_key(digest) {
                self.note(Wrong::DeadLetteredThoughGood, Culprit::Digest(*digest), 1);
            }
        }
        for (digest, key) in &records.refused_bodies {
            let Some(entry) = records.entries.get(key) else { continue };
            let copies = copies.get(digest).copied().unwrap_or_default();
            let culprit = Culprit::Number(entry.number);
            let missing = u64::from(entry.confirmed).saturating_sub(copies);
            self.note(Wrong::NotDeadLettered, culprit.clone(), missing);
            let allowed = u64::from(entry.published) + found.broker_ends;
            self.note(Wrong::DeadLetteredTwice, culprit, copies.saturating_sub(allowed));
        }
    }

    fn note(&mut self, wrong: Wrong, culprit: Culprit, times: u64) {
        if times == 0 {
            return;
        }
        let offence = self.wrong.entry(wrong).or_default();
        offence.count += times;
        if offence.examples.len() < MOST_EXAMPLES {
            offence.examples.push(culprit);
        }
    }
}

#[cfg(test)]
mod tests;
