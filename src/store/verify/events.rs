//! Rows of events as PostgreSQL copies them, and the batches they belong to.

use futures_util::{Stream, TryStreamExt as _};
use sqlx::{FromRow, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    entries::time,
    micros::Micros,
    snapshot::{View, failed},
};
use crate::store::ReadError;

/// What PostgreSQL says of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// Selects what [`batch`] reads; which batches follows. Whatever a column has become, it can be read.
///
/// A macro, so that each statement is one constant text.
macro_rules! select_batches {
    () => {
        "select coalesce(b.lane, '00000000-0000-0000-0000-000000000000') as lane, coalesce(b.number, 0) as number,
                coalesce(b.position, -9223372036854775808) as position, coalesce(b.first_seq, -9223372036854775808) as first_seq,
                coalesce(b.events, 0) as events, b.received_from, b.received_to, b.leaves, b.salts
           from audit.batches b "
    };
}
pub(super) use select_batches;

/// Those that may have events of some time.
macro_rules! batches {
    () => {
        concat!(
            select_batches!(),
            "where (b.events > 0 or length(b.leaves) > 0)
            and (b.received_from <= b.received_to and b.received_to >= $1 and b.received_from < $2) is not false
             or b.received_from > b.received_to"
        )
    };
}

/// A table that holds rows of `audit.events`.
#[derive(Debug, Clone)]
pub struct PartitionTable {
    /// Its name, with its schema where that is not `audit`.
    pub name: String,
    /// First instant that it holds, in microseconds since 1970; `i64::MIN` where there is none.
    pub from: i64,
    /// First instant after it; `i64::MAX` where there is none.
    pub to: i64,
    /// About how many rows it has.
    pub rows: i64,
    stored: String,
    sorted: String,
}

/// In which order rows and batches come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As they are stored, which costs nothing and is nearly that of commits; batches in order of commits.
    Stored,
    /// By their numbers, for which the server has to sort them; batches by their first number.
    Sorted,
}

/// A row of `audit.batches`, as far as its events need it. Times are microseconds since 1970.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the columns, as the database describes them")]
pub struct EventBatch {
    pub lane: Uuid,
    pub number: i64,
    pub position: i64,
    pub first_seq: i64,
    pub events: i32,
    pub received_from: Option<i64>,
    pub received_to: Option<i64>,
    pub leaves: Option<Vec<u8>>,
    pub salts: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct Table {
    name: String,
    lower: Option<i64>,
    upper: Option<i64>,
    rows: i64,
    stored: String,
    sorted: String,
}

impl View {
    /// The partitions of `audit.events` as the catalog has them, by their bounds.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn partition_tables(&mut self) -> Result<Vec<PartitionTable>, ReadError> {
        // A name can only be put into the text of a statement, and the server knows best how it is written. Bounds have no columns: with
        // the table's oid pg_get_expr would lock it, and wait for whoever else has.
        let query = sqlx::query_as(
            "with tables as (
                 select n.nspname, c.relname, greatest(c.reltuples, 0)::int8 as rows,
                        regexp_match(pg_get_expr(c.relpartbound, 0), '^FOR VALUES FROM \\(''?([^)'']+)''?\\) TO \\(''?([^)'']+)''?\\)$') as bounds,
                        'seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_key, event_type, source, '
                        'exchange, routing_key, correlation_ids, defects, properties, payload, body, conflict_digest' as columns
                   from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_namespace n on n.oid = c.relnamespace
                  where i.inhparent = 'audit.events'::regclass and not i.inhdetachpending
             ), named as (
                 select t.*, case when t.nspname = 'audit' then t.relname else t.nspname || '.' || t.relname end as name,
                        nullif(t.bounds[1], 'MINVALUE')::timestamptz as lower, nullif(t.bounds[2], 'MAXVALUE')::timestamptz as upper
                   from tables t
             )
             select t.name, (extract(epoch from t.lower) * 1000000)::int8 as lower, (extract(epoch from t.upper) * 1000000)::int8 as upper,
                    t.rows, format('copy %I.%I (%s) to stdout (format binary)', t.nspname, t.relname, t.columns) as stored,
                    format('copy (select %s from only %I.%I order by seq) to stdout (format binary)', t.columns, t.nspname, t.relname)
                        as sorted
               from named t order by t.lower nulls first",
        );
        let tables: Vec<Table> = query.fetch_all(&mut self.connection).await.map_err(failed)?;
        let partition = |table: Table| PartitionTable {
            name: table.name,
            from: table.lower.unwrap_or(i64::MIN),
            to: table.upper.unwrap_or(i64::MAX),
            rows: table.rows,
            stored: table.stored,
            sorted: table.sorted,
        };
        Ok(tables.into_iter().map(partition).collect())
    }

    /// First and last time of events whose batches have some that were received in this span; none where there are none.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn reach(&mut self, from: i64, to: i64) -> Result<Option<(i64, i64)>, ReadError> {
        let query = sqlx::query(
            "select min(b.received_from) as first, max(b.received_to) as last
               from audit.batches b where b.received_to >= $1 and b.received_from < $2",
        );
        let row = query.bind(Micros(from)).bind(Micros(to));
        let row = row.fetch_one(&mut self.connection).await.map_err(failed)?;
        let time = |column| time(&row, column).map_err(failed);
        Ok(time("first")?.zip(time("last")?))
    }

    /// The batches that have events which were received in this span, or do not say when theirs were.
    pub fn event_batches(
        &mut self,
        from: i64,
        to: i64,
        order: RowOrder,
    ) -> impl Stream<Item = Result<EventBatch, ReadError>> + Unpin + Send {
        let query = match order {
            RowOrder::Stored => sqlx::query(concat!(batches!(), " order by b.position")),
            RowOrder::Sorted => {
                sqlx::query(concat!(batches!(), " order by b.first_seq, b.position"))
            }
        };
        let rows = query.bind(Micros(from)).bind(Micros(to)).fetch(&mut self.connection);
        rows.and_then(|row| std::future::ready(batch(&row))).map_err(failed)
    }

    /// The rows of a partition as a binary COPY, in messages of whole rows. None where the partition is gone by now.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn rows(
        &mut self,
        partition: &PartitionTable,
        order: RowOrder,
    ) -> Result<
        Option<impl Stream<Item = Result<impl AsRef<[u8]> + Send, ReadError>> + Unpin + Send>,
        ReadError,
    > {
        let statement = match order {
            RowOrder::Stored => &partition.stored,
            RowOrder::Sorted => &partition.sorted,
        };
        match self.connection.copy_out_raw(statement).await {
            Ok(rows) => Ok(Some(rows.map_err(failed))),
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(UNDEFINED_TABLE) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// From a row of [`select_batches!`].
pub(super) fn batch(row: &PgRow) -> Result<EventBatch, sqlx::Error> {
    Ok(EventBatch {
        lane: row.try_get("lane")?,
        number: row.try_get("number")?,
        position: row.try_get("position")?,
        first_seq: row.try_get("first_seq")?,
        events: row.try_get("events")?,
        received_from: time(row, "received_from")?,
        received_to: time(row, "received_to")?,
        leaves: row.try_get("leaves")?,
        salts: row.try_get("salts")?,
    })
}
