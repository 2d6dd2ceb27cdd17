//! Sealing: what was committed since is appended to the tree.
//!
//! Whoever holds the lock seals, and nobody waits for it. What is sealed is a span of positions below the horizon: all that will
//! ever be committed there is committed, so each batch is in one seal, and those of a lane are in its order.

use std::ops::Range;

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, Postgres, Row as _, Transaction, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Fault, Ledger, Lost, Seen, Settings,
    extension::parted,
    link::{Link, answered},
};
use crate::ledger::{self, BEGIN, Frontier, Hash, Header, Node, batch_hash, header_hash};

/// How many leaves one seal takes on, about: a batch is never divided. 32 bytes each come from the database.
const MOST: i64 = 100_000;

/// A connection of the sealer's own.
#[derive(Debug)]
pub struct SealLog {
    pub(super) link: Link,
    pub(super) ledger: Ledger,
    pub(super) seen: Option<Seen>,
}

/// What became of an attempt to seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealing {
    /// Nothing was committed since the last seal.
    Nothing,
    /// Another daemon is at it.
    Busy,
    /// All of this is sealed.
    Sealed(Seal),
    /// The tree does not go on from what was seen of it: nothing was sealed.
    Lost(Lost),
}

/// A seal: the tree as it is with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Which tree.
    pub epoch: i32,
    /// Its number in that tree, from 1 on.
    pub number: i64,
    /// Leaves of the tree.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Acts that it took on.
    pub acts: i32,
    /// Batches that it took on.
    pub batches: i32,
    /// Whether there may be more to seal.
    pub more: bool,
}

/// Where the tree is, before a seal.
struct Tree {
    epoch: i32,
    number: i64,
    position: i64,
    frontier: Frontier,
}

/// What a seal takes on.
#[derive(Default)]
struct Taken {
    nodes: Vec<Node>,
    acts: i32,
    batches: i32,
}

impl SealLog {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<SealLog, Fault> {
        let link = Link::open(settings, settings.statement_timeout).await?;
        let mut log =
            SealLog { link, ledger: settings.ledger.clone().unwrap_or_default(), seen: None };
        let Link { connection, patience, .. } = &mut log.link;
        // The database may have been restored into another server since.
        let ordered = sqlx::query("select audit.ensure_order()").execute(connection);
        answered(*patience, ordered).await?;
        Ok(log)
    }

    /// Appends to the tree what was committed since the last seal, as much of it as fits into one.
    ///
    /// # Errors
    /// A [`Fault`]; nothing was sealed, or it is unknown whether it was, and it may be done again on another connection.
    pub async fn seal(&mut self) -> Result<Sealing, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        let mut transaction = answered(*patience, connection.begin()).await?;
        let sealing = answered(*patience, async {
            let lock = "select pg_try_advisory_xact_lock(hashtextextended('audit.seal', 0))";
            let (locked,): (bool,) = sqlx::query_as(lock).fetch_one(&mut *transaction).await?;
            Ok(if locked { Some(tree(&mut transaction).await?) } else { None })
        });
        let Some(tree) = sealing.await? else {
            answered(*patience, transaction.rollback()).await?;
            return Ok(Sealing::Busy);
        };
        let Tree { epoch, number, position, mut frontier } = tree?;
        let from = frontier.size();
        let found = Seen { epoch, size: from, root: frontier.root() };
        // Only what others have sealed meanwhile is new.
        if self.ledger.key.is_some()
            && let Some(seen) = self.seen.filter(|seen| *seen != found)
            && let Some(lost) =
                parted(&mut transaction, *patience, &self.ledger, seen, found).await?
        {
            answered(*patience, transaction.rollback()).await?;
            return Ok(Sealing::Lost(lost));
        }
        let horizon = sqlx::query_as("select audit.horizon()").fetch_one(&mut *transaction);
        let (horizon,): (i64,) = answered(*patience, horizon).await?;
        let end = answered(*patience, end_of_one(&mut transaction, position..horizon)).await?;
        let position_to = end.unwrap_or(horizon);
        let taking = take(&mut transaction, position..position_to, &mut frontier);
        let taken = answered(*patience, taking).await?;
        if taken.acts == 0 && taken.batches == 0 {
            answered(*patience, transaction.rollback()).await?;
            self.seen = Some(found);
            return Ok(Sealing::Nothing);
        }
        let root = frontier.root();
        let edge: Vec<u8> = frontier.edge().concat();
        let put = sqlx::query(
            "select audit.seal($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(epoch)
        .bind(number + 1)
        .bind(signed(from))
        .bind(signed(frontier.size()))
        .bind(position)
        .bind(position_to)
        .bind(taken.acts)
        .bind(taken.batches)
        .bind(root)
        .bind(edge)
        .bind(taken.nodes.iter().map(|node| i16::from(node.level)).collect::<Vec<_>>())
        .bind(taken.nodes.iter().map(|node| signed(node.index)).collect::<Vec<_>>())
        .bind(taken.nodes.iter().map(|node| node.hash).collect::<Vec<_>>());
        answered(*patience, put.execute(&mut *transaction)).await?;
        answered(*patience, transaction.commit()).await?;
        self.seen = Some(Seen { epoch, size: frontier.size(), root });
        Ok(Sealing::Sealed(Seal {
            epoch,
            number: number + 1,
            size: frontier.size(),
            root,
            acts: taken.acts,
            batches: taken.batches,
            more: end.is_some(),
        }))
    }

    /// The last of the batches that wait to be sealed, up to this one where it is given: those that were committed and are in
    /// no seal. They wait where a transaction of those days has not ended, or ended just when a seal was made.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn last_unsealed(&mut self, up_to: Option<i64>) -> Result<Option<i64>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        let query = sqlx::query_scalar(
            "select max(b.position) from audit.batches b
              where b.position >= coalesce((select s.position_to from audit.seals s order by s.epoch desc, s.number desc limit 1),
                                           (select e.position_from from audit.epochs e order by e.epoch desc limit 1))
                and b.position <= coalesce($1, 9223372036854775807)",
        )
        .bind(up_to);
        Ok(answered(*patience, query.fetch_one(connection)).await?)
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

/// The tree as the last seal has left it.
async fn tree(
    transaction: &mut Transaction<'_, Postgres>,
) -> Result<Result<Tree, Fault>, sqlx::Error> {
    type Last = (i32, i64, Option<i64>, Option<i64>, Option<i64>, Option<Hash>, Option<Vec<u8>>);
    let (epoch, begin, number, size, position, root, edge): Last = sqlx::query_as(
        "select e.epoch, e.position_from, s.number, s.tree_size, s.position_to, s.root, s.edge
           from (select * from audit.epochs e order by e.epoch desc limit 1) e
           left join lateral (select * from audit.seals s where s.epoch = e.epoch order by s.number desc limit 1) s on true",
    )
    .fetch_one(&mut **transaction)
    .await?;
    let (Some(number), Some(size), Some(position), Some(root)) = (number, size, position, root)
    else {
        return Ok(Ok(Tree { epoch, number: 0, position: begin, frontier: Frontier::default() }));
    };
    let (edge, _) = edge.as_deref().unwrap_or_default().as_chunks();
    let wrong = |why: &dyn std::fmt::Display| {
        Fault::misconfigured(format!(
            "seal {number} of epoch {epoch} is not what was written, and nothing can be sealed after it: {why}; \
             run `bloodbank-audit verify`"
        ))
    };
    let tree = u64::try_from(size)
        .map_err(|_| wrong(&"its size is below zero"))
        .and_then(|size| Frontier::from_parts(size, edge.to_vec()).map_err(|error| wrong(&error)))
        .and_then(|frontier| match frontier.root() == root {
            true => Ok(Tree { epoch, number, position, frontier }),
            false => Err(wrong(&"its edge and its root do not fit")),
        });
    Ok(tree)
}

/// Where a seal has to end that begins there, if these positions are too much for one.
async fn end_of_one(
    transaction: &mut Transaction<'_, Postgres>,
    positions: Range<i64>,
) -> Result<Option<i64>, sqlx::Error> {
    // The index gives the order, and the length of leaves is known without reading them: it ends when it is enough.
    sqlx::query_scalar(
        "select u.position + 1
           from (select b.position, sum(1 + coalesce(octet_length(b.leaves), 0) / 32) over (order by b.position) as leaves
                   from audit.batches b where b.position >= $1 and b.position < $2) u
          where u.leaves >= $3 order by u.position limit 1",
    )
    .bind(positions.start)
    .bind(positions.end)
    .bind(MOST)
    .fetch_optional(&mut **transaction)
    .await
}

/// Appends the acts and batches of these positions to the tree.
async fn take(
    transaction: &mut Transaction<'_, Postgres>,
    positions: Range<i64>,
    frontier: &mut Frontier,
) -> Result<Taken, sqlx::Error> {
    let mut taken = Taken::default();
    // A transaction may have both; then acts come first.
    let mut rows = sqlx::query(
        "select b.position, 1 as place, b.lane as id, b.committed_at as at, null as kind, null as details, b.number, b.first_seq,
                b.events, b.conflicts, b.duplicates, b.rejections, b.replays, b.body_bytes, b.received_from, b.received_to,
                b.previous, b.leaves
           from audit.batches b where b.position >= $1 and b.position < $2
         union all
         select a.position, 0, a.id, a.at, a.kind, a.details::text, null, null, null, null, null, null, null, null, null, null,
                null, null
           from audit.acts a where a.position >= $1 and a.position < $2
          order by position, place, id",
    )
    .bind(positions.start)
    .bind(positions.end)
    .fetch(&mut **transaction);
    while let Some(row) = rows.try_next().await? {
        if row.try_get::<Option<i64>, _>("number")?.is_some() {
            append_batch(&row, frontier, &mut taken.nodes)?;
            taken.batches += 1;
        } else {
            frontier.append(act_leaf(&row)?, &mut taken.nodes);
            taken.acts += 1;
        }
    }
    Ok(taken)
}

/// The leaf of an act.
pub(super) fn act_leaf(row: &PgRow) -> Result<Hash, sqlx::Error> {
    let act = ledger::Act {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        kind: row.try_get("kind")?,
        details: row.try_get("details")?,
    };
    Ok(act.hash())
}

/// The leaf of a batch itself, and those of its events behind it.
fn append_batch(
    row: &PgRow,
    frontier: &mut Frontier,
    nodes: &mut Vec<Node>,
) -> Result<(), sqlx::Error> {
    let leaves = row.try_get::<Option<&[u8]>, _>("leaves")?.unwrap_or_default();
    frontier.append(batch_leaf(row, Sha256::digest(leaves).into())?, nodes);
    for leaf in leaves.as_chunks().0 {
        frontier.append(*leaf, nodes);
    }
    Ok(())
}

/// The leaf of a batch itself, of whose leaves that is the hash.
pub(super) fn batch_leaf(row: &PgRow, leaves: Hash) -> Result<Hash, sqlx::Error> {
    let header = Header {
        lane: row.try_get::<Uuid, _>("id")?,
        number: row.try_get("number")?,
        previous: row.try_get::<Option<Hash>, _>("previous")?.unwrap_or(BEGIN),
        first_seq: row.try_get("first_seq")?,
        events: row.try_get("events")?,
        conflicts: row.try_get("conflicts")?,
        duplicates: row.try_get("duplicates")?,
        rejections: row.try_get("rejections")?,
        replays: row.try_get("replays")?,
        body_bytes: row.try_get("body_bytes")?,
        received_from: row.try_get("received_from")?,
        received_to: row.try_get("received_to")?,
        leaves,
    };
    let committed_at: OffsetDateTime = row.try_get("at")?;
    Ok(batch_hash(&header_hash(&header.data()), committed_at, row.try_get("position")?))
}

/// A number as PostgreSQL counts.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
