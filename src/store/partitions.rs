//! Partitions of `audit.events`: entered, made ahead, and mended where somebody took one away.

use std::fmt;

use time::OffsetDateTime;
use tracing::warn;

use super::{
    Fault, Span,
    link::{Link, answered},
};
use crate::event::rfc3339;

/// How new partitions are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How long they are, as `audit.ensure_partition` calls it.
    pub granularity: &'static str,
    /// How many are kept ready beyond the present one.
    pub ahead: i32,
}

/// The partition that holds `at`; it is made where it is missing.
pub(super) async fn enter(link: &mut Link, plan: Plan, at: OffsetDateTime) -> Result<Span, Fault> {
    let query = sqlx::query_as(
        "select s.from_at, s.to_at,
                coalesce((select max(p.from_at) from audit.partitions p where p.to_at <= s.from_at), s.from_at)
           from audit.ensure_partition($1, $2) s",
    )
    .bind(at)
    .bind(plan.granularity);
    let (from, to, previous) =
        answered(link.patience, query.fetch_one(&mut link.connection)).await?;
    Ok(Span { from, to, previous })
}

/// Makes the partitions after this one. They are not needed yet: where they cannot be made now, because somebody holds a
/// lock on the table, the present one is still good. So the session should not wait for locks for long.
pub(super) async fn make_ahead(link: &mut Link, plan: Plan, span: Span) -> Result<(), Fault> {
    let query = sqlx::query(
        "select audit.ensure_partition($1 + n * case $2 when 'hourly' then interval '1 hour' else interval '1 day' end, $2)
           from generate_series(0, $3 - 1) n",
    )
    .bind(span.to)
    .bind(plan.granularity)
    .bind(plan.ahead);
    answered(link.patience, query.execute(&mut link.connection)).await?;
    Ok(())
}

/// Whether this session waits for locks as long as for anything, or for no longer than a second.
pub(super) async fn wait_little(link: &mut Link, little: bool) -> Result<(), Fault> {
    let set = if little { "set lock_timeout = '1s'" } else { "set lock_timeout = 0" };
    answered(link.patience, sqlx::query(set).execute(&mut link.connection)).await?;
    Ok(())
}

/// A partition that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// Its table in the schema `audit`.
    pub name: String,
    /// First instant that it holds.
    pub from: OffsetDateTime,
    /// First instant after it.
    pub to: OffsetDateTime,
    /// What was found, and done about it.
    pub found: Found,
}

impl Mended {
    /// Says it in the log.
    pub fn say(&self) {
        let [from, to] = [self.from, self.to].map(rfc3339);
        warn!(partition = self.name, from, to, "a partition is not as it was made: {}", self.found);
    }
}

/// What was found of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was detached, and is attached again.
    Attached,
    /// It was gone, and there is a new one in its place.
    Missing,
    /// It was detached and cannot be attached again: it has this name now, and there is a new one in its place.
    Unfit(String),
    /// An older one is detached, and left so.
    Detached,
    /// An older one is gone.
    Gone,
    /// One was attached that was not listed, and is listed now.
    Unlisted,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Attached => f.write_str("somebody had detached it; it is attached again"),
            Found::Missing => {
                f.write_str("somebody dropped it; there is a new one, and the events that were in it are gone")
            }
            Found::Unfit(aside) => write!(
                f,
                "somebody detached it and it cannot be attached again; there is a new one, and the old one is now \
                 audit.{aside}"
            ),
            Found::Detached => f.write_str(
                "somebody detached it, so its events are not in audit.events, and retention leaves it alone; attach it \
                 again, or drop it",
            ),
            Found::Gone => f.write_str("somebody dropped it, and the events that were in it are gone"),
            Found::Unlisted => f.write_str(
                "somebody attached it; it counts from now on, and without the unique indexes of the others duplicates \
                 in it are not recognised",
            ),
        }
    }
}

/// Mends what somebody did by hand to partitions that end after `since`, and names that and what is older.
pub(super) async fn mend(link: &mut Link, since: OffsetDateTime) -> Result<Vec<Mended>, Fault> {
    let query = sqlx::query_as(
        "select m.partition, m.from_at, m.to_at, m.found, m.aside from audit.mend_partitions($1) m",
    )
    .bind(since);
    type Row = (String, OffsetDateTime, OffsetDateTime, String, Option<String>);
    let rows: Vec<Row> = answered(link.patience, query.fetch_all(&mut link.connection)).await?;
    let mended = rows.into_iter().map(|(name, from, to, found, aside)| {
        let found = match &*found {
            "attached" => Found::Attached,
            "missing" => Found::Missing,
            "unfit" => Found::Unfit(aside.unwrap_or_default()),
            "detached" => Found::Detached,
            "gone" => Found::Gone,
            "unlisted" => Found::Unlisted,
            other => {
                return Err(Fault::misconfigured(format!("audit.mend_partitions answers {other}")));
            }
        };
        Ok(Mended { name, from, to, found })
    });
    mended.collect()
}
