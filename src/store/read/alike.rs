//! The types and routing keys that a pattern stands for. Where it begins with a wildcard, an index has no range for it; with
//! what it matches, the index serves, and the planner knows how frequent that is.

use sqlx::{Postgres, postgres::PgArguments, query::QueryScalar};

use super::{Filter, ReadError, Reader, Selection, events::Order, filter::From};
use crate::store::link::answered;

/// How many values are gone through at most.
const MOST: i64 = 1_000;
/// Bytes of a partition that are read through in the time that it takes to find the next value in it, and some more.
const BYTES_A_STEP: i64 = 5_000;

/// From one value to the next that is greater, in the partitions that hold some of the span: an array of those that match,
/// or null where there are so many different ones that reading events through takes no longer. Times are given as
/// `any (array[…])`, so that the planner uses them to leave partitions out and for nothing else: it would sort the span for
/// each step.
macro_rules! alike {
    ($column:literal) => {
        concat!(
            "with recursive span as materialized (
                 select p.lo, p.hi, least($4, p.bytes / $5 / p.partitions)::int8 as most
                   from (select min(p.from_at) as lo, max(p.to_at) as hi, count(*) as partitions,
                                sum(pg_relation_size(to_regclass(format('audit.%I', p.name)))) as bytes
                           from audit.partitions p
                          where ($2::timestamptz is null or p.to_at > $2) and ($3::timestamptz is null or p.from_at < $3)) p
             ), every as (
                 (select f.value from span s cross join lateral (
                     select e.", $column, " as value from audit.events e
                      where e.", $column, " is not null
                        and e.received_at >= any (array[s.lo]) and e.received_at < any (array[s.hi])
                      order by e.", $column, " using ~<~ limit 1) f)
                 union all
                 select n.value from every v cross join span s cross join lateral (
                     select e.", $column, " as value from audit.events e
                      where e.", $column, " ~>~ v.value
                        and e.received_at >= any (array[s.lo]) and e.received_at < any (array[s.hi])
                      order by e.", $column, " using ~<~ limit 1) n
             ), enough as (
                 select v.value from every v limit (select s.most + 1 from span s)
             )
             select case when count(*) <= (select s.most from span s)
                         then coalesce(array_agg(v.value) filter (where audit.topic_matches(v.value, $1)), '{}') end
               from enough v"
        )
    };
}

/// How many of the first events match, so many at most.
macro_rules! among_the_first {
    ($column:literal, $direction:literal) => {
        concat!(
            "select count(*) from (
                 select from (select e.",
            $column,
            " as value from audit.events e
                               where ($2::timestamptz is null or e.received_at >= $2)
                                 and ($3::timestamptz is null or e.received_at < $3)
                               order by e.received_at ",
            $direction,
            " limit 5000) e
                  where audit.topic_matches(e.value, $1) limit $4) e"
        )
    };
}

/// What the patterns of a filter stand for, where that was found out.
#[derive(Debug, Default)]
pub(super) struct Alike {
    /// There are none in the history, so none has to be left out of it.
    pub no_canaries: bool,
    pub types: Option<Vec<String>>,
    pub keys: Option<Vec<String>>,
}

impl Reader {
    /// Finds out what the patterns stand for where it pays: they begin with a wildcard, and what matches is neither frequent
    /// among the first events that are wanted nor of too many values.
    pub(super) async fn alike(
        &mut self,
        filter: &Filter,
        selection: Option<Selection>,
    ) -> Result<Alike, ReadError> {
        let mut alike = Alike::default();
        if !filter.shows_canaries() {
            alike.no_canaries = self.no_canaries().await?;
        }
        let begin_wild = [&filter.event_type, &filter.routing_key]
            .into_iter()
            .flatten()
            .any(|pattern| begins_wild(pattern));
        // A replay's key need not be one of audit.events.
        if matches!(filter.from(), From::Id | From::Correlation | From::WithReplays) || !begin_wild
        {
            return Ok(alike);
        }
        // Whoever may read the events need not be allowed to read this.
        let may = sqlx::query_scalar("select has_table_privilege('audit.partitions', 'select')");
        if !self.one(may).await? {
            return Ok(alike);
        }
        if let Some(pattern) = filter.event_type.as_deref().filter(|pattern| begins_wild(pattern)) {
            let first = match selection.map(|selection| selection.order) {
                Some(Order::Oldest) => among_the_first!("event_type", "asc"),
                Some(Order::Newest) | None => among_the_first!("event_type", "desc"),
            };
            let every = alike!("event_type");
            alike.types = self.values(pattern, filter, selection, first, every).await?;
        }
        if let Some(pattern) = filter.routing_key.as_deref().filter(|pattern| begins_wild(pattern))
        {
            let first = match selection.map(|selection| selection.order) {
                Some(Order::Oldest) => among_the_first!("routing_key", "asc"),
                Some(Order::Newest) | None => among_the_first!("routing_key", "desc"),
            };
            let every = alike!("routing_key");
            alike.keys = self.values(pattern, filter, selection, first, every).await?;
        }
        Ok(alike)
    }

    /// Whether there are none, or it cannot be told which they are.
    async fn no_canaries(&mut self) -> Result<bool, ReadError> {
        let may = sqlx::query_scalar("select has_table_privilege('audit.canaries', 'select')");
        if !self.one(may).await? {
            return Ok(true);
        }
        self.one(sqlx::query_scalar("select not exists (select from audit.canaries)")).await
    }

    async fn values(
        &mut self,
        pattern: &str,
        filter: &Filter,
        selection: Option<Selection>,
        first: &'static str,
        every: &'static str,
    ) -> Result<Option<Vec<String>>, ReadError> {
        if let Some(wanted) = selection.and_then(|selection| selection.limit) {
            let query =
                sqlx::query_scalar(first).bind(pattern).bind(filter.since).bind(filter.until);
            let found: i64 = self.one(query.bind(wanted)).await?;
            if found == wanted {
                return Ok(None);
            }
        }
        let query = sqlx::query_scalar(every).bind(pattern).bind(filter.since).bind(filter.until);
        self.one(query.bind(MOST).bind(BYTES_A_STEP)).await
    }

    /// The only value of a statement.
    async fn one<T>(
        &mut self,
        query: QueryScalar<'_, Postgres, T, PgArguments>,
    ) -> Result<T, ReadError>
    where
        T: Send + Unpin,
        (T,): for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        let patience = self.patience();
        let row = query.persistent(false).fetch_one(&mut self.connection);
        answered(patience, row).await.map_err(|error| self.fault(error))
    }
}

/// Of a pattern that is nothing but `#` everything matches.
fn begins_wild(pattern: &str) -> bool {
    matches!(pattern.split('.').next(), Some("*" | "#"))
        && pattern.split('.').any(|word| word != "#")
}
