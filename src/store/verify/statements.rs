//! What the ledger states of its tree: epochs, seals, nodes and checkpoints.

use futures_util::{Stream, TryStreamExt as _};
use sqlx::{FromRow, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    micros::Micros,
    snapshot::{View, failed},
};
use crate::store::ReadError;

/// A row of `audit.epochs`.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct EpochRow {
    /// Its number.
    pub epoch: i32,
    /// Batches and acts from this position on are in its tree.
    pub position_from: i64,
}

/// A row of `audit.seals`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns, as the database describes them")]
pub struct SealRow {
    pub epoch: i32,
    pub number: i64,
    pub tree_from: i64,
    pub tree_size: i64,
    pub position_from: i64,
    pub position_to: i64,
    pub acts: i32,
    pub batches: i32,
    pub root: Vec<u8>,
    pub edge: Vec<u8>,
}

/// A row of `audit.nodes`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns, as the database describes them")]
pub struct NodeRow {
    pub epoch: i32,
    pub level: i16,
    pub index: i64,
    pub hash: Vec<u8>,
}

/// A row of `audit.checkpoints`.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "the columns, as the database describes them")]
pub struct StatedCheckpoint {
    pub epoch: i32,
    pub tree_size: i64,
    pub key_id: i64,
    pub note: String,
}

impl View {
    /// The epochs in their order.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn epochs(&mut self) -> Result<Vec<EpochRow>, ReadError> {
        let query = "select e.epoch, coalesce(e.position_from, -9223372036854775808) as position_from from audit.epochs e
                      where e.epoch is not null order by e.epoch";
        sqlx::query_as(query).fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// Of each lane that began before this position, the last number there.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn lanes_before(&mut self, position: i64) -> Result<Vec<(Uuid, i64)>, ReadError> {
        let query = "select b.lane, max(b.number) from audit.batches b
                      where b.position < $1 and b.lane is not null and b.number is not null group by b.lane";
        let query = sqlx::query_as(query).bind(position);
        query.fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// Events of all batches, and leaves of all trees, by what the rows say: how much there is to do.
    ///
    /// # Errors
    /// They cannot be counted.
    pub async fn amount(&mut self) -> Result<(i64, i64), ReadError> {
        let query = "select (select coalesce(sum(b.events), 0)::int8 from audit.batches b),
                            (select least(coalesce(sum(s.size), 0), 9223372036854775807)::int8
                               from (select max(s.tree_size) as size from audit.seals s group by s.epoch) s)";
        sqlx::query_as(query).fetch_one(&mut self.connection).await.map_err(failed)
    }

    /// Epochs that seals, nodes and checkpoints are of, and that are not there; with the number of those.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn unknown_epochs(&mut self) -> Result<Vec<(i32, i64)>, ReadError> {
        let query = sqlx::query_as(
            "select s.epoch, count(*)
               from (select epoch from audit.seals union all select epoch from audit.nodes union all select epoch from audit.checkpoints) s
              where s.epoch is not null and not exists (select from audit.epochs e where e.epoch = s.epoch)
              group by s.epoch order by s.epoch",
        );
        query.fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// The partitions that are gone: their names, and their spans in microseconds since 1970.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn expired_spans(&mut self) -> Result<Vec<(String, i64, i64)>, ReadError> {
        let query = "select e.name, e.from_at, e.to_at from audit.expired_partitions e
                      where e.name is not null and e.from_at is not null and e.to_at is not null";
        let spans: Vec<(String, Micros, Micros)> =
            sqlx::query_as(query).fetch_all(&mut self.connection).await.map_err(failed)?;
        Ok(spans.into_iter().map(|(name, from, to)| (name, from.0, to.0)).collect())
    }

    /// The seals of an epoch in their order. Here and below what is null, and never is, is another value than any that it could be.
    pub fn seals(&mut self, epoch: i32) -> impl Stream<Item = Result<SealRow, ReadError>> + Unpin {
        let query = sqlx::query(
            "select s.epoch, coalesce(s.number, -1) as number, coalesce(s.tree_from, -1) as tree_from,
                    coalesce(s.tree_size, -1) as tree_size, coalesce(s.position_from, -1) as position_from,
                    coalesce(s.position_to, -1) as position_to, coalesce(s.acts, -1) as acts, coalesce(s.batches, -1) as batches,
                    coalesce(s.root, '') as root, coalesce(s.edge, '') as edge
               from audit.seals s where s.epoch = $1 order by s.number",
        );
        let rows = query.bind(epoch).fetch(&mut self.connection);
        rows.and_then(|row| std::future::ready(seal(&row))).map_err(failed)
    }

    /// The nodes of an epoch, in the order in which a growing tree fills them.
    pub fn nodes(&mut self, epoch: i32) -> impl Stream<Item = Result<NodeRow, ReadError>> + Unpin {
        let query = sqlx::query(
            "select n.epoch, coalesce(n.level, -1::int2) as level, coalesce(n.index, -1) as index, coalesce(n.hash, '') as hash
               from audit.nodes n where n.epoch = $1
              order by (coalesce(n.index, -1)::numeric + 1) * 256::numeric ^ coalesce(n.level, -1), coalesce(n.level, -1)",
        );
        let rows = query.bind(epoch).fetch(&mut self.connection);
        rows.and_then(|row| std::future::ready(node(&row))).map_err(failed)
    }

    /// The checkpoints of an epoch that the database keeps, by size.
    pub fn checkpoints(
        &mut self,
        epoch: i32,
    ) -> impl Stream<Item = Result<StatedCheckpoint, ReadError>> + Unpin {
        let query = sqlx::query_as(
            "select c.epoch, coalesce(c.tree_size, -1) as tree_size, coalesce(c.key_id, -1) as key_id, coalesce(c.note, '') as note
               from audit.checkpoints c where c.epoch = $1 order by 2, 3",
        );
        query.bind(epoch).fetch(&mut self.connection).map_err(failed)
    }
}

fn seal(row: &PgRow) -> Result<SealRow, sqlx::Error> {
    Ok(SealRow {
        epoch: row.try_get("epoch")?,
        number: row.try_get("number")?,
        tree_from: row.try_get("tree_from")?,
        tree_size: row.try_get("tree_size")?,
        position_from: row.try_get("position_from")?,
        position_to: row.try_get("position_to")?,
        acts: row.try_get("acts")?,
        batches: row.try_get("batches")?,
        root: row.try_get("root")?,
        edge: row.try_get("edge")?,
    })
}

fn node(row: &PgRow) -> Result<NodeRow, sqlx::Error> {
    Ok(NodeRow {
        epoch: row.try_get("epoch")?,
        level: row.try_get("level")?,
        index: row.try_get("index")?,
        hash: row.try_get("hash")?,
    })
}
