//! What a proof is made from: an event with its leaf, and the hashes beside it in the tree. Reading only.

use std::{collections::HashMap, ops::Range, time::Duration};

use sqlx::{PgConnection, Row as _, postgres::PgRow};
use time::OffsetDateTime;

use super::{
    Fault, Settings,
    link::{Link, answered},
    recorded::{Missing, Place, Recorded},
    seals::{act_leaf, batch_leaf, signed},
};
use crate::ledger::{Commitments, EventRow, Hash, Salt, Subtree, root_of_complete};

/// A connection for proving.
#[derive(Debug)]
pub struct Prover {
    link: Link,
}

/// A stored event that has a leaf.
#[derive(Debug)]
pub struct Exhibit {
    recorded: Recorded,
    place: Place,
    missing: Option<Missing>,
}

/// Where an event's leaf is in which tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The tree.
    pub epoch: i32,
    /// Its leaf there, counted from 0.
    pub index: u64,
}

impl Exhibit {
    /// Its columns.
    ///
    /// # Errors
    /// The server sent something else than those columns.
    pub fn columns(&self) -> Result<EventRow<'_>, Fault> {
        Ok(self.recorded.columns()?)
    }

    /// What is left of its salt: of an event whose body was erased, that of its metadata.
    pub fn salt(&self) -> Salt {
        self.place.salt
    }

    /// Its leaf.
    pub fn leaf(&self) -> Hash {
        self.place.leaf
    }

    /// Whether its body was erased, and whether all beside it was.
    pub fn erased(&self) -> (bool, bool) {
        let missing = self.missing.unwrap_or_default();
        (self.missing.is_some(), missing.metadata.is_some())
    }

    /// The commitments that its leaf holds, as far as its columns are what was recorded.
    ///
    /// # Errors
    /// The server sent something else than those columns.
    pub fn commitments(&self) -> Result<Commitments, Fault> {
        Ok(self.missing.unwrap_or_default().commitments(&self.columns()?, &self.place.salt))
    }
}

impl Prover {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings, timeout: Duration) -> Result<Prover, Fault> {
        let connection = settings.connect_to_read(timeout).await?;
        Ok(Prover { link: Link { connection, patience: timeout, copies: false } })
    }

    /// The newest checkpoint of a tree.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn newest_checkpoint(&mut self, epoch: i32) -> Result<Option<String>, Fault> {
        let query = sqlx::query_scalar(
            "select c.note from audit.checkpoints c where c.epoch = $1 order by c.tree_size desc limit 1",
        )
        .bind(epoch);
        let Link { connection, patience, .. } = &mut self.link;
        Ok(answered(*patience, query.fetch_optional(connection)).await?)
    }

    /// The event that has this number and was received then; nothing where it is not there, or has no leaf.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn exhibit(
        &mut self,
        seq: i64,
        received_at: OffsetDateTime,
    ) -> Result<Option<Exhibit>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        let exhibit = async {
            let recorded = Recorded::find(connection, seq, received_at).await?;
            let place = Place::find(connection, seq, received_at).await?;
            let missing = Missing::find(connection, seq, received_at).await?;
            Ok(recorded.zip(place).map(|(recorded, place)| Exhibit { recorded, place, missing }))
        };
        Ok(answered(*patience, exhibit).await?)
    }

    /// Where its leaf is; nothing where its batch is not sealed yet.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn locate(&mut self, exhibit: &Exhibit) -> Result<Option<Evidence>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        let query = sqlx::query_as(
            "select s.epoch,
                    s.tree_from
                    + (select count(*) from audit.acts a where a.position >= s.position_from and a.position <= $1)
                    + (select coalesce(sum(1 + coalesce(octet_length(b.leaves), 0) / 32), 0) from audit.batches b
                        where b.position >= s.position_from and b.position < $1)
               from audit.seals s where s.position_to > $1 and s.position_from <= $1 order by s.position_to, s.epoch desc limit 1",
        )
        .bind(exhibit.place.position);
        let found: Option<(i32, i64)> =
            answered(*patience, query.fetch_optional(connection)).await?;
        // Behind the batch's own leaf.
        let index = |begin: i64| (begin + 1 + exhibit.place.index).unsigned_abs();
        Ok(found.map(|(epoch, begin)| Evidence { epoch, index: index(begin) }))
    }

    /// The hashes of these complete subtrees of a tree, as far as they are stored.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn hashes(
        &mut self,
        epoch: i32,
        subtrees: impl Iterator<Item = Subtree>,
    ) -> Result<HashMap<Subtree, Hash>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        hashes(connection, *patience, epoch, subtrees).await
    }
}

/// The hashes of these complete subtrees of a tree, as far as they are stored; each query may take that long.
pub(super) async fn hashes(
    connection: &mut PgConnection,
    patience: Duration,
    epoch: i32,
    subtrees: impl Iterator<Item = Subtree>,
) -> Result<HashMap<Subtree, Hash>, Fault> {
    let mut hashes = HashMap::new();
    for subtree in subtrees {
        let (level, indexes) = subtree.stored();
        let below = async {
            match level {
                0 => leaves(connection, epoch, indexes).await,
                _ => nodes(connection, epoch, level, indexes).await,
            }
        };
        let below = answered(patience, below).await?;
        if let Some(hash) = root_of_complete(&below) {
            hashes.insert(subtree, hash);
        }
    }
    Ok(hashes)
}

/// Nodes of a level; fewer where some are not there.
async fn nodes(
    connection: &mut PgConnection,
    epoch: i32,
    level: u8,
    indexes: Range<u64>,
) -> Result<Vec<Hash>, sqlx::Error> {
    sqlx::query_scalar(
        "select n.hash from audit.nodes n where n.epoch = $1 and n.level = $2 and n.index >= $3 and n.index < $4 order by n.index",
    )
    .bind(epoch)
    .bind(i16::from(level))
    .bind(signed(indexes.start))
    .bind(signed(indexes.end))
    .fetch_all(connection)
    .await
}

/// Leaves of a tree, from the batches and acts that they are of.
async fn leaves(
    connection: &mut PgConnection,
    epoch: i32,
    indexes: Range<u64>,
) -> Result<Vec<Hash>, sqlx::Error> {
    let rows = sqlx::query(
        "with entries as (
             select s.tree_from + sum(u.leaves) over (partition by s.number order by u.position, u.place, u.id)::bigint - u.leaves as first,
                    u.*
               from audit.seals s
              cross join lateral (
                    select a.position, 0 as place, a.id, null::bigint as number, 1 as leaves from audit.acts a
                     where a.position >= s.position_from and a.position < s.position_to
                    union all
                    select b.position, 1, b.lane, b.number, 1 + coalesce(octet_length(b.leaves), 0) / 32 from audit.batches b
                     where b.position >= s.position_from and b.position < s.position_to) u
              where s.epoch = $1 and s.tree_size > $2 and s.tree_from < $3
                and s.tree_size <= (select min(l.tree_size) from audit.seals l where l.epoch = $1 and l.tree_size >= $3))
         select e.first, e.id, e.position, coalesce(a.at, b.committed_at) as at, a.kind, a.details::text, b.number, b.first_seq,
                b.events, b.conflicts, b.duplicates, b.rejections, b.replays, b.body_bytes, b.received_from, b.received_to,
                b.previous, sha256(coalesce(b.leaves, '')) as digest,
                substring(b.leaves from (greatest($2 - e.first - 1, 0) * 32)::int4 + 1
                                   for (greatest(least($3, e.first + e.leaves) - greatest($2, e.first + 1), 0) * 32)::int4) as leaves
           from entries e
           left join audit.acts a on a.id = e.id and e.number is null
           left join audit.batches b on b.lane = e.id and b.number = e.number
          where e.first < $3 and e.first + e.leaves > $2
          order by e.first",
    )
    .bind(epoch)
    .bind(signed(indexes.start))
    .bind(signed(indexes.end))
    .fetch_all(connection)
    .await?;
    let mut leaves = Vec::new();
    for row in &rows {
        of_entry(row, &indexes, &mut leaves)?;
    }
    Ok(leaves)
}

fn of_entry(row: &PgRow, indexes: &Range<u64>, leaves: &mut Vec<Hash>) -> Result<(), sqlx::Error> {
    let own = row.try_get::<i64, _>("first")?.unsigned_abs();
    if row.try_get::<Option<i64>, _>("number")?.is_none() {
        leaves.push(act_leaf(row)?);
        return Ok(());
    }
    if indexes.contains(&own) {
        leaves.push(batch_leaf(row, row.try_get("digest")?)?);
    }
    let of_events = row.try_get::<Option<&[u8]>, _>("leaves")?.unwrap_or_default();
    leaves.extend_from_slice(of_events.as_chunks().0);
    Ok(())
}
