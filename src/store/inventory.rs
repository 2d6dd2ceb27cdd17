//! What there is: partitions, those that are gone, and when anyone listened. Reading only, with no right but SELECT.

use std::time::Duration;

use time::OffsetDateTime;

use super::{
    Fault, Settings,
    link::{Link, answered},
};

/// Counting may take long; it holds nobody up.
const COUNTING: Duration = Duration::from_secs(60 * 60);

/// What the list of partitions says of one, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its table in the schema `audit`.
    pub name: String,
    /// First instant that it holds.
    pub from: OffsetDateTime,
    /// First instant after it.
    pub to: OffsetDateTime,
    /// What is there.
    pub presence: Presence,
    /// Its rows; none where nobody can tell.
    pub rows: Option<i64>,
    /// Bytes of its table.
    pub table_bytes: i64,
    /// Bytes of its indexes.
    pub index_bytes: i64,
}

/// Whether a partition is where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is a part of `audit.events`.
    Attached,
    /// Its table is there, and no part of it.
    Detached,
    /// There is no such table.
    Missing,
}

/// A partition that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredPartition {
    /// The table that it was.
    pub name: String,
    /// First instant that it held.
    pub from: OffsetDateTime,
    /// First instant after it.
    pub to: OffsetDateTime,
    /// Its events; none where somebody else dropped it.
    pub events: Option<i64>,
    /// What it took; none where somebody else dropped it.
    pub bytes: Option<i64>,
    /// When it was dropped, or found missing.
    pub dropped_at: OffsetDateTime,
    /// For how long events were kept then; none where somebody else dropped it.
    pub keep: Option<Duration>,
}

/// The partitions, oldest first. Their rows are estimates of PostgreSQL's, or `counted`.
///
/// # Errors
/// The database is away, refuses, or has another schema.
pub async fn partitions(settings: &Settings, counted: bool) -> Result<Vec<Partition>, Fault> {
    let timeout = if counted { COUNTING } else { settings.statement_timeout };
    let mut link = Link::open(settings, timeout).await?;
    let partitions = partitions_seen(&mut link, counted).await;
    link.close().await;
    partitions
}

/// The same on a connection that is there.
pub(super) async fn partitions_seen(
    link: &mut Link,
    counted: bool,
) -> Result<Vec<Partition>, Fault> {
    let query = sqlx::query_as(
        "with counted as (
             select e.tableoid as oid, count(*) as rows from audit.events e where $1 group by e.tableoid
         )
         select p.name, p.from_at, p.to_at,
                case when c.oid is null then 0 when audit.is_attached(p.name) then 2 else 1 end,
                case when c.oid is null then null
                     when not $1 then coalesce(nullif(s.n_live_tup, 0), greatest(c.reltuples, 0)::int8)
                     when audit.is_attached(p.name) then coalesce(n.rows, 0) end,
                coalesce(pg_table_size(c.oid), 0), coalesce(pg_indexes_size(c.oid), 0)
           from audit.partitions p
           left join pg_class c on c.relnamespace = 'audit'::regnamespace and c.relname = p.name
           left join pg_stat_all_tables s on s.relid = c.oid
           left join counted n on n.oid = c.oid
          order by p.from_at",
    )
    .bind(counted);
    type Row = (String, OffsetDateTime, OffsetDateTime, i32, Option<i64>, i64, i64);
    let rows: Vec<Row> = answered(link.patience, query.fetch_all(&mut link.connection)).await?;
    let partition = |(name, from, to, presence, rows, table_bytes, index_bytes)| Partition {
        name,
        from,
        to,
        presence: match presence {
            2 => Presence::Attached,
            1 => Presence::Detached,
            _ => Presence::Missing,
        },
        rows,
        table_bytes,
        index_bytes,
    };
    Ok(rows.into_iter().map(partition).collect())
}

/// The partitions that are gone, in the order in which they went.
///
/// # Errors
/// The database is away, refuses, or has another schema.
pub async fn expired_partitions(settings: &Settings) -> Result<Vec<ExpiredPartition>, Fault> {
    let mut link = Link::open(settings, settings.statement_timeout).await?;
    let query = sqlx::query_as(
        "select e.name, e.from_at, e.to_at, e.events, e.bytes, e.dropped_at,
                (extract(epoch from e.keep) * 1000000)::int8
           from audit.expired_partitions e order by e.dropped_at, e.from_at",
    );
    type Row = (
        String,
        OffsetDateTime,
        OffsetDateTime,
        Option<i64>,
        Option<i64>,
        OffsetDateTime,
        Option<i64>,
    );
    let rows: Vec<Row> = answered(link.patience, query.fetch_all(&mut link.connection)).await?;
    link.close().await;
    let duration = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or_default());
    let expired = |(name, from, to, events, bytes, dropped_at, keep): Row| ExpiredPartition {
        name,
        from,
        to,
        events,
        bytes,
        dropped_at,
        keep: keep.map(duration),
    };
    Ok(rows.into_iter().map(expired).collect())
}

/// A span of one state of one run, cut to what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageSpan {
    /// The exchange it was to record.
    pub exchange: String,
    /// The queue it records from.
    pub queue: String,
    /// Which daemon.
    pub instance: String,
    /// As `audit.coverage` names it.
    pub state: String,
    /// What led to it.
    pub cause: String,
    /// First instant.
    pub from: OffsetDateTime,
    /// First instant after it; now, by the database's clock, where it lasts.
    pub to: OffsetDateTime,
    /// Whether it lasts.
    pub lasts: bool,
}

/// The spans of coverage between two moments, by queue and then by their beginning.
///
/// # Errors
/// The database is away, refuses, or has another schema.
pub async fn coverage_spans(
    settings: &Settings,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
) -> Result<Vec<CoverageSpan>, Fault> {
    let mut link = Link::open(settings, settings.statement_timeout).await?;
    let query = sqlx::query_as(
        "select s.exchange, s.queue, s.instance, s.state, s.cause, s.from_at, s.to_at, s.lasts
           from (select c.exchange, c.queue, c.instance, c.state, c.cause, greatest(c.from_at, $1) as from_at,
                        least(coalesce(c.to_at, now()), $2) as to_at, c.to_at is null and ($2 is null or now() < $2) as lasts
                   from audit.coverage c
                  where c.state <> 'rejecting') s
          where s.from_at < s.to_at
          order by s.exchange, s.queue, s.from_at, s.to_at",
    )
    .bind(since)
    .bind(until);
    type Row = (String, String, String, String, String, OffsetDateTime, OffsetDateTime, bool);
    let rows: Vec<Row> = answered(link.patience, query.fetch_all(&mut link.connection)).await?;
    link.close().await;
    let span = |(exchange, queue, instance, state, cause, from, to, lasts): Row| CoverageSpan {
        exchange,
        queue,
        instance,
        state,
        cause,
        from,
        to,
        lasts,
    };
    Ok(rows.into_iter().map(span).collect())
}
