//! Replays that come back: which of a batch's deliveries are what they say.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{Postgres, Row as _, Transaction, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Entry, Fault,
    batch::HeaderKey,
    link::{Link, answered},
};
use crate::event::{Delivery, RecordedProperties, column_text};

/// Whether a batch has deliveries that say they are replays.
pub(super) fn any_said(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.delivery().says_replay())
}

/// What a delivery that says it is a replay really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It is: of that event.
    Replay(Original),
    /// It is not, as far as the history tells.
    Nothing,
}

/// The event that a delivery is a replay of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Original {
    replay: Uuid,
    received_at: OffsetDateTime,
    seq: i64,
}

/// What became of those that say so, by their place in the batch. Only a replay on record counts, and only of a stored
/// event whose every byte it has: what the header alone could do is hide an event.
pub(super) async fn recognise(
    link: &mut Link,
    entries: &[Entry],
) -> Result<HashMap<usize, Said>, Fault> {
    let mut said = HashMap::new();
    let (mut places, mut replays, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for (place, entry) in entries.iter().enumerate() {
        if !entry.delivery().says_replay() {
            continue;
        }
        said.insert(place, Said::Nothing);
        if let (Some(claim), Ok(number)) = (entry.delivery().claim(), i32::try_from(place)) {
            places.push(number);
            replays.push(claim.replay);
            times.push(claim.received_at);
        }
    }
    if !places.is_empty() {
        let originals = of_those(link, entries, &mut said, (places, replays, times));
        // A large batch takes as long as its bodies.
        originals.await?;
    }
    Ok(said)
}

/// The events that deliveries could be replays of.
const CANDIDATES: &str = "select c.place, r.id, e.*
       from unnest($1::int4[], $2::uuid[], $3::timestamptz[]) as c (place, replay, at)
       join audit.replays r on r.id = c.replay
      cross join lateral (
            select e.received_at, e.seq, e.exchange, e.routing_key, e.properties::text, audit.raw(e)
              from audit.events e where e.received_at = c.at offset 0) e";

/// Looks for no replay on record, and records none that came, to find out whether that could be done. Partitions are left alone: one
/// of another day that cannot be looked into keeps nothing from being stored.
pub(super) async fn rehearse(
    transaction: &mut Transaction<'_, Postgres>,
    key: HeaderKey,
) -> Result<(), sqlx::Error> {
    sqlx::query("select r.id from audit.replays r where false")
        .fetch_all(&mut **transaction)
        .await?;
    Replays::default().insert(key).execute(&mut **transaction).await?;
    Ok(())
}

async fn of_those(
    link: &mut Link,
    entries: &[Entry],
    said: &mut HashMap<usize, Said>,
    (places, replays, times): (Vec<i32>, Vec<Uuid>, Vec<OffsetDateTime>),
) -> Result<(), Fault> {
    let patience = link.patience;
    let candidates = sqlx::query(CANDIDATES).bind(places).bind(replays).bind(times);
    let mut candidates = candidates.fetch(&mut link.connection);
    while let Some(row) = answered(patience, candidates.try_next()).await? {
        let place = usize::try_from(row.try_get::<i32, _>(0)?).unwrap_or_default();
        let Some(entry) = entries.get(place) else { continue };
        // What is not of our writing is the same as nothing.
        let Ok(recorded) = RecordedProperties::from_json(row.try_get(6)?) else { continue };
        let (exchange, routing_key, body) = (row.try_get(4)?, row.try_get(5)?, row.try_get(7)?);
        if entry.delivery().is_replay_of(exchange, routing_key, &recorded, body) {
            let original = Original {
                replay: row.try_get(1)?,
                received_at: row.try_get(2)?,
                seq: row.try_get(3)?,
            };
            said.insert(place, Said::Replay(original));
        }
    }
    Ok(())
}

/// Replays of one batch, as columns.
#[derive(Default)]
pub(super) struct Replays<'a> {
    of: Vec<(&'a Delivery, Original)>,
}

impl<'a> Replays<'a> {
    pub fn push(&mut self, delivery: &'a Delivery, original: Original) {
        self.of.push((delivery, original));
    }

    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// The statement that records them beside that header.
    pub fn insert(&self, key: HeaderKey) -> Query<'_, Postgres, PgArguments> {
        let of = || self.of.iter();
        sqlx::query("select audit.record_replayed($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(key.lane)
            .bind(key.number)
            .bind(of().map(|(delivery, _)| delivery.received_at).collect::<Vec<_>>())
            .bind(of().map(|(_, original)| original.replay).collect::<Vec<_>>())
            .bind(of().map(|(_, original)| original.received_at).collect::<Vec<_>>())
            .bind(of().map(|(_, original)| original.seq).collect::<Vec<_>>())
            .bind(of().map(|(delivery, _)| delivery.redelivered).collect::<Vec<_>>())
            .bind(of().map(|(delivery, _)| column_text(&delivery.exchange)).collect::<Vec<_>>())
            .bind(of().map(|(delivery, _)| column_text(&delivery.routing_key)).collect::<Vec<_>>())
    }
}
