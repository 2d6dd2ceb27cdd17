//! Which events are asked for.

use sqlx::{Postgres, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::alike::Alike;
use crate::event::Canary;

/// What events have to be, all of it.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Topic pattern of their type. One without a wildcard is the type itself.
    pub event_type: Option<String>,
    /// Topic pattern of their routing key.
    pub routing_key: Option<String>,
    /// Their source.
    pub source: Option<String>,
    /// Their id, a uuid in any spelling or not.
    pub id: Option<String>,
    /// An id among those that they name.
    pub correlation: Option<String>,
    /// Received from then on.
    pub since: Option<OffsetDateTime>,
    /// Received before then.
    pub until: Option<OffsetDateTime>,
    /// Only malformed ones.
    pub malformed: bool,
    /// Only conflicts.
    pub conflict: bool,
    /// Replays that came back, too, as the events that they are, received then.
    pub replays: bool,
    /// Canaries, too.
    pub canaries: bool,
    /// A condition in SQL, of the columns of `audit.events`.
    pub condition: Option<String>,
}

/// `$1` … `$15`, as [`Filter::bind`] binds them. What is null or false is not asked for, and is nothing any more when the
/// statement is planned. A reader's own condition follows at the comment. `from` is `audit.events`, or a function that has
/// all that can match, and goes by indexes.
macro_rules! filtered {
    ($from:literal) => {
        concat!(
            " from ",
            $from,
            " e
         where ($1::timestamptz is null or e.received_at >= $1)
           and ($2::timestamptz is null or e.received_at < $2)
           and ($3::text is null or e.event_type = $3)
           and ($4::text is null or audit.topic_matches(e.event_type, $4))
           and ($5::text is null or e.routing_key = $5)
           and ($6::text is null or audit.topic_matches(e.routing_key, $6))
           and ($7::text is null or e.source = $7)
           and ($8::uuid is null or e.event_id = $8)
           and ($9::text is null or e.event_key = $9)
           and ($10::text is null or e.correlation_ids @> array[$10])
           and (not $11::bool or e.malformed)
           and (not $12::bool or e.conflict)
           and ($13::text[] is null or e.event_type = any ($13))
           and ($14::text[] is null or e.routing_key = any ($14))
           and ($15::bool or e.event_id is null
                or e.event_id not between '63616e61-7279-8000-8000-000000000000' and '63616e61-7279-8fff-bfff-ffffffffffff'
                or not audit.is_canary(e.event_id, e.conflict, e.exchange, e.routing_key, e.properties, e.payload, e.body)) /* and */"
        )
    };
}
pub(super) use filtered;

impl Filter {
    /// Binds `$1` … `$15` of [`filtered!`]. A pattern of which it is known what it stands for is not asked for as well.
    pub(super) fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
        alike: &'q Alike,
    ) -> Query<'q, Postgres, PgArguments> {
        let (event_type, type_pattern) = equal_or_alike(self.event_type.as_deref());
        let (routing_key, key_pattern) = equal_or_alike(self.routing_key.as_deref());
        let uuid = self.id.as_deref().and_then(|id| Uuid::try_parse(id).ok());
        query
            .bind(self.since)
            .bind(self.until)
            .bind(event_type)
            .bind(type_pattern.filter(|_| alike.types.is_none()))
            .bind(routing_key)
            .bind(key_pattern.filter(|_| alike.keys.is_none()))
            .bind(self.source.as_deref())
            .bind(uuid)
            .bind(self.id.as_deref().filter(|_| uuid.is_none()))
            .bind(self.correlation.as_deref().map(usual_form))
            .bind(self.malformed)
            .bind(self.conflict)
            .bind(alike.types.as_deref())
            .bind(alike.keys.as_deref())
            .bind(alike.no_canaries || self.shows_canaries())
    }
}

/// Where to look first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// `audit.events`, whose plan is PostgreSQL's.
    Events,
    /// Those of an id.
    Id,
    /// Those that name an id.
    Correlation,
    /// The newest of a type.
    Type,
    /// `audit.events_and_replays`.
    WithReplays,
}

impl Filter {
    /// Where what matches is found by index for sure. With an order and a limit PostgreSQL may think that it is quicker to
    /// go through all events in that order until enough match, which for something rare it is not.
    pub(super) fn from(&self) -> From {
        let alone = self.routing_key.is_none()
            && self.source.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && !self.malformed
            && !self.conflict
            && self.condition.is_none();
        match self {
            Filter { replays: true, .. } => From::WithReplays,
            Filter { id: Some(_), .. } => From::Id,
            Filter { correlation: Some(_), .. } => From::Correlation,
            Filter { event_type: Some(pattern), .. } if alone && !is_wild(pattern) => From::Type,
            _ => From::Events,
        }
    }
}

impl Filter {
    /// Whether canaries are not left out: who names an id, or the type of canaries, means those.
    pub(super) fn shows_canaries(&self) -> bool {
        self.canaries || self.id.is_some() || self.event_type.as_deref() == Some(Canary::TYPE)
    }
}

/// A pattern without a wildcard is looked up as what it is.
fn equal_or_alike(pattern: Option<&str>) -> (Option<&str>, Option<&str>) {
    (pattern.filter(|pattern| !is_wild(pattern)), pattern.filter(|pattern| is_wild(pattern)))
}

fn is_wild(pattern: &str) -> bool {
    pattern.split('.').any(|word| matches!(word, "*" | "#"))
}

/// An id as it stands among correlation ids.
fn usual_form(id: &str) -> String {
    Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |uuid| uuid.to_string())
}
