//! Figures of a span of the history.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::{ReadError, Reader};

/// Figures of a span. Events count by when they were received, batches by when they were committed.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Of all events.
    pub all: Group,
    /// Of each hour in which some were received, in order.
    pub hours: Vec<Group>,
    /// The most frequent types, and how many there are.
    pub types: Top,
    /// The most frequent sources, and how many there are.
    pub sources: Top,
    /// Of the batches.
    pub batches: Batches,
    /// Rejections by reason, which are the dead letters that the daemon made.
    pub rejections: Vec<Rejected>,
    /// The partitions that hold some of the span, in order.
    pub partitions: Vec<Stored>,
    /// When the first event of the whole history was received.
    pub oldest: Option<OffsetDateTime>,
    /// When the last one was.
    pub newest: Option<OffsetDateTime>,
}

/// Some events.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Group {
    kind: i32,
    groups: i64,
    /// In which hour.
    pub hour: Option<OffsetDateTime>,
    /// Of which type, or from which source; none where they name none.
    pub name: Option<String>,
    /// How many.
    pub events: i64,
    /// How many of them came under the id of another one.
    pub conflicts: i64,
    /// How many of them are malformed.
    pub malformed: i64,
}

/// The most frequent ones.
#[derive(Debug, Clone, Default)]
pub struct Top {
    /// How many different ones there are.
    pub different: i64,
    /// The most frequent of them first.
    pub first: Vec<Group>,
}

/// Some batches.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Batches {
    /// How many.
    pub batches: i64,
    /// Deliveries of events that were stored already.
    pub duplicates: i64,
    /// Bytes of the bodies that they stored.
    pub body_bytes: i64,
}

/// What was rejected for one reason.
#[derive(Debug, Clone, FromRow)]
pub struct Rejected {
    /// The reason.
    pub reason: String,
    /// How many.
    pub rejections: i64,
    /// The last of them.
    pub last: OffsetDateTime,
}

/// A partition.
#[derive(Debug, Clone, FromRow)]
pub struct Stored {
    /// Its name in the schema audit.
    pub name: String,
    /// First instant that it holds.
    pub from_at: OffsetDateTime,
    /// First instant after it.
    pub to_at: OffsetDateTime,
    /// How many events it has, as of the last vacuum or analysis; none before.
    pub events: Option<i64>,
    /// Bytes on disk, indexes included.
    pub bytes: i64,
}

#[derive(FromRow)]
struct Ends {
    oldest: Option<OffsetDateTime>,
    newest: Option<OffsetDateTime>,
}

/// Bits of `grouping`: set for what is not grouped by.
const BY_HOUR: i32 = 0b011;
const BY_TYPE: i32 = 0b101;
const BY_SOURCE: i32 = 0b110;
const ALL: i32 = 0b111;

impl Reader {
    /// The figures of a span, and so many of the most frequent types and sources.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn stats(
        &mut self,
        since: Option<OffsetDateTime>,
        until: Option<OffsetDateTime>,
        top: i64,
    ) -> Result<Stats, ReadError> {
        // All in one pass.
        let groups = sqlx::query_as(
            "select g.kind, g.groups, g.hour, g.name, g.events, g.conflicts, g.malformed
               from (select g.*, count(*) over (partition by g.kind) as groups,
                            row_number() over (partition by g.kind order by g.events desc, g.name) as place
                       from (select grouping(e.hour, e.event_type, e.source) as kind, e.hour,
                                    coalesce(e.event_type, e.source) as name, count(*) as events,
                                    count(*) filter (where e.conflict) as conflicts,
                                    count(*) filter (where e.malformed) as malformed
                               from (select date_trunc('hour', e.received_at, 'UTC') as hour, e.event_type, e.source,
                                            e.conflict, e.malformed
                                       from audit.events e
                                      where ($1::timestamptz is null or e.received_at >= $1)
                                        and ($2::timestamptz is null or e.received_at < $2)) e
                              group by grouping sets ((), (e.hour), (e.event_type), (e.source))) g) g
              where g.place <= $3 or g.kind = 3
              order by g.kind, g.hour, g.place",
        );
        let groups: Vec<Group> = self.all(groups.bind(since).bind(until).bind(top)).await?;
        let of = |kind| groups.iter().filter(move |group| group.kind == kind).cloned();
        let ranked = |kind| {
            let first: Vec<Group> = of(kind).collect();
            Top { different: first.first().map_or(0, |group| group.groups), first }
        };

        let batches = sqlx::query_as(
            "select count(*) as batches, coalesce(sum(b.duplicates), 0)::int8 as duplicates,
                    coalesce(sum(b.body_bytes), 0)::int8 as body_bytes
               from audit.batches b
              where ($1::timestamptz is null or b.committed_at >= $1) and ($2::timestamptz is null or b.committed_at < $2)",
        );
        let batches = self.all(batches.bind(since).bind(until)).await?.pop().unwrap_or_default();
        let rejections = sqlx::query_as(
            "select r.reason, count(*) as rejections, max(r.received_at) as last
               from audit.rejections r
              where ($1::timestamptz is null or r.received_at >= $1) and ($2::timestamptz is null or r.received_at < $2)
              group by r.reason order by 2 desc, 1",
        );
        let rejections = self.all(rejections.bind(since).bind(until)).await?;
        // One that somebody detached or dropped has no size here.
        let partitions = sqlx::query_as(
            "select p.name, p.from_at, p.to_at, nullif(c.reltuples, -1)::int8 as events,
                    coalesce(pg_total_relation_size(c.oid), 0) as bytes
               from audit.partitions p
               join pg_class c on c.oid = to_regclass(format('audit.%I', p.name))
              where ($1::timestamptz is null or p.to_at > $1) and ($2::timestamptz is null or p.from_at < $2)
                and p.from_at <= now()
              order by p.from_at",
        );
        let partitions = self.all(partitions.bind(since).bind(until)).await?;
        let ends = sqlx::query_as(
            "select min(e.received_at) as oldest, max(e.received_at) as newest from audit.events e",
        );
        let Ends { oldest, newest } =
            self.all(ends).await?.pop().unwrap_or(Ends { oldest: None, newest: None });
        Ok(Stats {
            all: of(ALL).next().unwrap_or_default(),
            hours: of(BY_HOUR).collect(),
            types: ranked(BY_TYPE),
            sources: ranked(BY_SOURCE),
            batches,
            rejections,
            partitions,
            oldest,
            newest,
        })
    }
}
