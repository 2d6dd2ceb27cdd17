//! Duplicates told from conflicts: every event of a batch is compared with the stored events of the same id, and with
//! those before it in the batch.
//!
//! What is compared is a SHA-256 over all that makes an event the same: body, properties, exchange and routing key. It
//! keeps the work linear, whatever number of different events a producer publishes under one id.
//!
//! Of a partition that is filled so fast that PostgreSQL has no statistics of it yet, the planner knows nothing and could
//! prefer to read all of it. `offset 0` leaves it one way: to look up one id after the other, and by its index.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Entry, Fault, Span,
    link::{Link, answered},
    rows::{id_columns, whole},
};
use crate::event::{Event, EventId, RecordedProperties, column_text};

pub(super) type ContentDigest = [u8; 32];

/// What an event is to the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No event of its id is stored, or it has no id.
    New,
    /// It is stored already, with the same content.
    Duplicate,
    /// Its id is stored, but never with this content.
    Conflict(ContentDigest),
}

/// Whether one of the ids is stored from `since` on outside the batch's own partition, where the index tells.
pub(super) async fn any_stored(
    link: &mut Link,
    entries: &[Entry],
    since: OffsetDateTime,
    own: Span,
) -> Result<bool, Fault> {
    let ids = || entries.iter().map(|entry| id_columns(entry.event()));
    let uuids: Vec<_> = ids().filter_map(|(uuid, _)| uuid).collect();
    let keys: Vec<_> = ids().filter_map(|(_, key)| key).collect();
    if uuids.is_empty() && keys.is_empty() {
        return Ok(false);
    }
    let query = sqlx::query_as(
        "select exists (select from unnest($1::uuid[]) as b (id) cross join lateral (
                            select from audit.events e where e.event_id = b.id and e.conflict_digest is null
                               and e.received_at >= $3 and (e.received_at < $4 or e.received_at >= $5) offset 0) s)
             or exists (select from unnest($2::text[]) as b (key) cross join lateral (
                            select from audit.events e where e.event_key = b.key and e.conflict_digest is null
                               and e.received_at >= $3 and (e.received_at < $4 or e.received_at >= $5) offset 0) s)",
    )
    .bind(uuids)
    .bind(keys)
    .bind(since)
    .bind(own.from)
    .bind(own.to);
    let (found,): (bool,) = answered(link.patience, query.fetch_one(&mut link.connection)).await?;
    Ok(found)
}

/// A verdict for each entry, in order, of which these are the ids; stored events from `since` on count. Rejections are
/// always new, and so are those that are `apart`, with which nothing is compared.
pub(super) async fn compare(
    link: &mut Link,
    entries: &[Entry],
    ids: &Ids<'_>,
    since: OffsetDateTime,
    apart: impl Fn(usize) -> bool,
) -> Result<Vec<Verdict>, Fault> {
    let mut known = answered(link.patience, stored(link, ids, since)).await?;
    let mut digests = ids.digests.iter().copied();
    let verdicts = entries.iter().enumerate().map(|(place, entry)| {
        let Entry::Event(Event { id: Some(id), .. }) = entry else { return Verdict::New };
        let Some(digest) = digests.next() else { return Verdict::New };
        if apart(place) {
            return Verdict::New;
        }
        let contents = known.entry(id.clone()).or_default();
        let first = contents.is_empty();
        match (contents.insert(digest), first) {
            (false, _) => Verdict::Duplicate,
            (true, true) => Verdict::New,
            (true, false) => Verdict::Conflict(digest),
        }
    });
    Ok(verdicts.collect())
}

/// The stored contents of each id. Of conflicts only those that are the same as an event of the batch, of which there
/// may be any number; of others there is one a partition, and their rows are streamed, one in memory at a time.
async fn stored(
    link: &mut Link,
    ids: &Ids<'_>,
    since: OffsetDateTime,
) -> Result<HashMap<EventId, HashSet<ContentDigest>>, sqlx::Error> {
    let mut known: HashMap<EventId, HashSet<ContentDigest>> = HashMap::new();
    if ids.digests.is_empty() {
        return Ok(known);
    }
    // One statement, so that all of it is as of one moment: an event that another daemon stores between two looks could
    // be taken for a conflict with itself.
    let mut stored = sqlx::query(
        "select s.* from (select distinct unnest($1::uuid[])) as b (id) cross join lateral (
             select e.event_id, e.event_key, e.conflict_digest, e.exchange, e.routing_key, e.properties::text, audit.raw(e)
               from audit.events e where e.event_id = b.id and e.conflict_digest is null and e.received_at >= $5 offset 0) s
         union all
         select s.* from (select distinct unnest($3::text[])) as b (key) cross join lateral (
             select e.event_id, e.event_key, e.conflict_digest, e.exchange, e.routing_key, e.properties::text, audit.raw(e)
               from audit.events e where e.event_key = b.key and e.conflict_digest is null and e.received_at >= $5 offset 0) s
         union all
         select s.*, null, null, null, null from unnest($1::uuid[], $2::bytea[]) as b (id, digest) cross join lateral (
             select e.event_id, e.event_key, e.conflict_digest
               from audit.events e where e.event_id = b.id and e.conflict_digest = b.digest and e.received_at >= $5 offset 0) s
         union all
         select s.*, null, null, null, null from unnest($3::text[], $4::bytea[]) as b (key, digest) cross join lateral (
             select e.event_id, e.event_key, e.conflict_digest
               from audit.events e where e.event_key = b.key and e.conflict_digest = b.digest and e.received_at >= $5 offset 0) s",
    )
    .bind(&ids.uuids)
    .bind(&ids.uuid_digests)
    .bind(&ids.keys)
    .bind(&ids.key_digests)
    .bind(since)
    .fetch(&mut link.connection);
    while let Some(row) = stored.try_next().await? {
        let Some(id) = id_of(&row)? else { continue };
        let digest = match row.try_get::<Option<ContentDigest>, _>(2)? {
            Some(digest) => digest,
            None => digest_of_original(&row)?,
        };
        known.entry(id).or_default().insert(digest);
    }
    Ok(known)
}

fn digest_of_original(row: &PgRow) -> Result<ContentDigest, sqlx::Error> {
    // What is not of our writing is the same as nothing.
    let identity = RecordedProperties::from_json(row.try_get(5)?).ok();
    let identity = identity.map(|recorded| recorded.identity_json()).unwrap_or_default();
    Ok(digest([
        identity.as_bytes(),
        row.try_get::<&str, _>(3)?.as_bytes(),
        row.try_get::<&str, _>(4)?.as_bytes(),
        row.try_get::<&[u8], _>(6)?,
    ]))
}

fn id_of(row: &PgRow) -> Result<Option<EventId>, sqlx::Error> {
    let uuid = row.try_get::<Option<Uuid>, _>(0)?.map(EventId::Uuid);
    Ok(uuid.or(row.try_get::<Option<String>, _>(1)?.map(EventId::Text)))
}

/// The ids of a batch's events and the digests of those that have one, in order, and as the two columns hold them. To be
/// made once a batch: it takes a hash over every body.
#[derive(Default)]
pub(super) struct Ids<'a> {
    digests: Vec<ContentDigest>,
    uuids: Vec<Uuid>,
    uuid_digests: Vec<ContentDigest>,
    keys: Vec<&'a str>,
    key_digests: Vec<ContentDigest>,
}

impl<'a> Ids<'a> {
    pub fn of(entries: &'a [Entry]) -> Ids<'a> {
        let mut ids = Ids::default();
        for entry in entries {
            let Entry::Event(event @ Event { id: Some(_), .. }) = entry else { continue };
            let delivery = &event.delivery;
            let digest = digest([
                delivery.identity_json().as_bytes(),
                column_text(&delivery.exchange).as_bytes(),
                column_text(&delivery.routing_key).as_bytes(),
                &delivery.body,
            ]);
            ids.digests.push(digest);
            let (uuid, key) = id_columns(event);
            if let Some(uuid) = uuid {
                ids.uuids.push(uuid);
                ids.uuid_digests.push(digest);
            }
            if let Some(key) = key {
                ids.keys.push(key);
                ids.key_digests.push(digest);
            }
        }
        ids
    }
}

/// SHA-256 of the parts, each after its length, so that no two lists of parts run together to the same bytes.
fn digest(parts: [&[u8]; 4]) -> ContentDigest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(whole(part.len()).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
