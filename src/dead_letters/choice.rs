//! Which dead letters.

use time::OffsetDateTime;
use uuid::Uuid;

use super::Letter;
use crate::event::topic_matches;

/// Fewest hexadecimal digits of a digest that name a message.
const FEWEST: usize = 12;

/// Which dead letters. All that is given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// That have one of these ids: the event's, the message's, or the first digits of their digest. None for any.
    pub ids: Vec<String>,
    /// Whose routing key fits this topic pattern.
    pub key: Option<String>,
    /// Whose reason or SQLSTATE is this, or whose detail has it in it.
    pub reason: Option<String>,
    /// That died then or later.
    pub since: Option<OffsetDateTime>,
    /// That died before.
    pub until: Option<OffsetDateTime>,
    /// At most so many, from the first one on.
    pub limit: Option<u64>,
}

impl Choice {
    /// Whether it fits, `limit` aside.
    #[must_use]
    pub fn fits(&self, letter: &Letter) -> bool {
        let died = letter.died_at();
        (self.ids.is_empty() || self.ids.iter().any(|id| has_id(letter, id, FEWEST)))
            && self.key.as_ref().is_none_or(|key| topic_matches(letter.origin().1, key))
            && self.reason.as_ref().is_none_or(|reason| has_reason(letter, reason))
            && self.since.is_none_or(|since| died.is_some_and(|died| died >= since))
            && self.until.is_none_or(|until| died.is_some_and(|died| died < until))
    }

    /// Whether it needs what is on record of rejections.
    #[must_use]
    pub fn needs_records(&self) -> bool {
        self.reason.is_some() || self.since.is_some() || self.until.is_some()
    }
}

/// Whether a letter is called that; by at least so many digits of its digest.
fn has_id(letter: &Letter, id: &str, fewest: usize) -> bool {
    let same = |own: &Option<String>| {
        own.as_deref().is_some_and(|own| {
            own == id || Uuid::try_parse(own).is_ok_and(|own| Uuid::try_parse(id) == Ok(own))
        })
    };
    let digits = id.len() >= fewest && letter.digest().starts_with(&id.to_ascii_lowercase());
    same(&letter.event_id) || same(&letter.delivery.properties.message_id) || digits
}

fn has_reason(letter: &Letter, reason: &str) -> bool {
    let cause = letter.cause();
    cause.reason.eq_ignore_ascii_case(reason)
        || cause.sqlstate.is_some_and(|code| code.eq_ignore_ascii_case(reason))
        || cause.detail.to_lowercase().contains(&reason.to_lowercase())
}

impl Letter {
    /// Whether it could be meant by that: an id of it, or how one begins.
    #[must_use]
    pub fn may_be(&self, id: &str) -> bool {
        let begins = |own: &Option<String>| own.as_deref().is_some_and(|own| own.starts_with(id));
        !id.is_empty()
            && (has_id(self, id, 1)
                || begins(&self.event_id)
                || begins(&self.delivery.properties.message_id))
    }

    /// Whether that is an id of it, whole.
    #[must_use]
    pub fn is(&self, id: &str) -> bool {
        has_id(self, id, usize::MAX) || self.id() == id
    }
}
