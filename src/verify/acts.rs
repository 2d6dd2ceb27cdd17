//! What is lawfully gone: what acts say of erased events and of partitions that have expired.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{ledger::Hash, store::ActRow};

/// What was left of an erased event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Erased {
    /// The commitment to its content.
    pub content: Hash,
    /// That to its metadata, where those are erased, too.
    pub metadata: Option<Hash>,
}

/// A span whose events have expired, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expired {
    pub partition: String,
    pub from: i64,
    pub to: i64,
    /// How many there were, where that is known.
    pub events: Option<i64>,
    /// Where the act stands: what was committed later was not meant.
    pub position: i64,
}

/// What acts allow to be gone.
#[derive(Debug, Default)]
pub(super) struct Lawful {
    pub erased: HashMap<i64, Erased>,
    pub expired: Vec<Expired>,
    /// The latest end of each of those and all before it.
    ends: Vec<i64>,
    /// Epochs that were begun, and when, in microseconds since 1970.
    pub epochs: BTreeMap<i64, i64>,
}

#[derive(Deserialize)]
struct ErasedDetails {
    seq: i64,
    level: Option<String>,
    commit_content: Option<String>,
    commit_metadata: Option<String>,
}

#[derive(Deserialize)]
struct ExpiredDetails {
    partition: String,
    from: String,
    to: String,
    events: Option<i64>,
}

#[derive(Deserialize)]
struct EpochDetails {
    epoch: i64,
}

impl Lawful {
    /// Of partitions that were to be dropped those count that were, each with its span, in microseconds since 1970; in order of
    /// time.
    pub fn keep_dropped(&mut self, dropped: &[(String, i64, i64)]) {
        self.expired.retain(|expired| {
            dropped.iter().any(|(name, from, to)| {
                (&expired.partition, expired.from, expired.to) == (name, *from, *to)
            })
        });
        self.expired.sort_by_key(|expired| (expired.from, expired.position));
        let latest = |end: &mut i64, expired: &Expired| {
            *end = expired.to.max(*end);
            Some(*end)
        };
        self.ends = self.expired.iter().scan(i64::MIN, latest).collect();
    }

    /// The places among those that have expired of which a batch may have had events: it stood before the act, and its events were
    /// received from then to then.
    pub fn expired_of(&self, position: i64, from: i64, to: i64) -> Vec<usize> {
        let end = self.expired.partition_point(|expired| expired.from <= to);
        let near = (0..end).rev().take_while(|place| self.ends[*place] > from);
        let may_have_had = |expired: &Expired| expired.to > from && position < expired.position;
        let mut places: Vec<_> = near.filter(|place| may_have_had(&self.expired[*place])).collect();
        places.reverse();
        places
    }

    /// Takes note of an act.
    ///
    /// # Errors
    /// It is one of those that allow something, and does not say what.
    pub fn note(&mut self, act: &ActRow) -> Result<(), String> {
        let unreadable =
            |error: &dyn std::fmt::Display| format!("its details cannot be understood: {error}");
        match &*act.kind {
            "erased" => {
                let details: ErasedDetails =
                    serde_json::from_str(&act.details).map_err(|error| unreadable(&error))?;
                let hash = |text: &str| {
                    hex(text)
                        .ok_or_else(|| unreadable(&"a commitment is not 64 hexadecimal digits"))
                };
                // An event that had no leaf has none to be compared with.
                let Some(content) = &details.commit_content else { return Ok(()) };
                let metadata = match details.level.as_deref() {
                    Some("metadata") => details.commit_metadata.as_deref(),
                    _ => None,
                };
                let erased =
                    Erased { content: hash(content)?, metadata: metadata.map(hash).transpose()? };
                // Content first, and metadata later: what came last counts.
                self.erased.insert(details.seq, erased);
            }
            "expired" => {
                let details: ExpiredDetails =
                    serde_json::from_str(&act.details).map_err(|error| unreadable(&error))?;
                let time = |text: &str| micros(text).ok_or_else(|| unreadable(&"a time is none"));
                self.expired.push(Expired {
                    from: time(&details.from)?,
                    to: time(&details.to)?,
                    partition: details.partition,
                    events: details.events,
                    position: act.position,
                });
            }
            "epoch" => {
                let details: EpochDetails =
                    serde_json::from_str(&act.details).map_err(|error| unreadable(&error))?;
                self.epochs.insert(details.epoch, act.at);
            }
            _ => {}
        }
        Ok(())
    }
}

fn micros(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(&text.replacen(' ', "T", 1), &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).ok()
}

fn hex(text: &str) -> Option<Hash> {
    let text = text.strip_prefix("\\x").unwrap_or(text).as_bytes();
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(digits[0])? << 4 | digit(digits[1])?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn act(kind: &str, details: &str) -> ActRow {
        let (kind, details) = (kind.to_owned(), details.to_owned());
        ActRow {
            id: Uuid::nil(),
            position: 1,
            at: 0,
            kind,
            details,
            signature: None,
            key_id: None,
            holed: false,
        }
    }

    #[test]
    fn acts_say_what_may_be_gone() {
        let mut lawful = Lawful::default();
        let commitment = "0f".repeat(32);
        let content = format!(
            r#"{{"received_at":"2026-11-29T00:00:00Z","seq":7,"level":"content","commit_content":"{commitment}","why":"asked"}}"#
        );
        lawful.note(&act("erased", &content)).unwrap();
        assert_eq!(lawful.erased[&7], Erased { content: [15; 32], metadata: None });
        let both = content.replace(
            r#""level":"content""#,
            &format!(r#""level":"metadata","commit_metadata":"{commitment}""#),
        );
        lawful.note(&act("erased", &both)).unwrap();
        assert_eq!(lawful.erased[&7].metadata, Some([15; 32]));
        let expired = r#"{"partition":"events_19700101","from":"1970-01-01T00:00:00+00:00","to":"1970-01-02 01:00:00+01:00","events":3}"#;
        lawful.note(&act("expired", expired)).unwrap();
        assert_eq!((lawful.expired[0].from, lawful.expired[0].to), (0, 86_400_000_000));
        lawful.note(&act("key", "{}")).unwrap();
        for (kind, details) in
            [("erased", "{}"), ("expired", "[1]"), ("erased", &content.replace("0f", "xy"))]
        {
            assert!(lawful.note(&act(kind, details)).is_err(), "{kind} {details}");
        }
    }
}
