//! Events in the order of their arrival, from any of them on: how a replay reads them.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use time::OffsetDateTime;

use super::{Column, Filter, ReadError, Reader, Row, Value, alike::Alike, filter::filtered};
use crate::store::{Fault, link::answered};

/// Where an event stands in the order of arrival. No two have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arrival {
    /// When it was received.
    pub received_at: OffsetDateTime,
    /// Its number.
    pub seq: i64,
}

impl Arrival {
    /// Before every event.
    pub const BEFORE_ALL: Arrival =
        Arrival { received_at: time::macros::datetime!(-4712-01-01 00:00 UTC), seq: 0 };

    /// The time; none before all events.
    pub(in crate::store) fn known_time(self) -> Option<OffsetDateTime> {
        (self != Arrival::BEFORE_ALL).then_some(self.received_at)
    }

    /// That of a row.
    ///
    /// # Errors
    /// The row is none of `audit.events`.
    pub fn of(row: &Row) -> Result<Arrival, Fault> {
        match (row.value(Column::ReceivedAt)?, row.value(Column::Seq)?) {
            (Some(Value::Time(received_at)), Some(Value::Number(seq))) => {
                Ok(Arrival { received_at, seq })
            }
            _ => Err(Fault::misconfigured("an event of audit.events has no time of arrival")),
        }
    }
}

/// How many events came to an exchange under a routing key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Route {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// So many.
    #[sqlx(rename = "count")]
    pub events: i64,
}

/// Which events, in the order of their arrival.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// What they have to be.
    pub filter: Filter,
    /// Those that were chosen one by one, of which those that fit the filter are meant; where there are none, the filter
    /// alone chooses.
    pub chosen: Option<Vec<Arrival>>,
    /// Only those after this one.
    pub after: Arrival,
    /// At most so many.
    pub limit: Option<i64>,
}

/// `$18`, `$19`: the event before. Partitions are left out by its time alone. What is left of an event that was erased is none
/// that could be published.
macro_rules! arrivals {
    ($what:literal, $from:literal, $order:literal) => {
        concat!(
            $what,
            filtered!($from),
            " and ($18::timestamptz is null or (e.received_at >= $18 and (e.received_at, e.seq) > ($18, $19)))
              and (e.payload is not null or octet_length(e.body) > 0 or not audit.is_erased(e.seq, e.received_at))",
            $order
        )
    };
}
/// In the order of [`Column`], and null what a replay has no use for: to write an array for each event is not cheap.
macro_rules! needed {
    () => {
        "e.seq, e.received_at, null, e.event_id, null, null, null, e.event_key, case when $17::bool then e.event_type end, null,
         e.exchange, e.routing_key, null, null, e.properties, case when $16::bool then e.payload end,
         case when $16::bool then e.body end, null,
         case when $17::bool then coalesce(octet_length(e.body), octet_length(e.payload::text))::int8 end"
    };
}
macro_rules! events {
    ($from:literal) => {
        concat!(
            "select ",
            needed!(),
            arrivals!("", $from, " order by e.received_at, e.seq limit $20")
        )
    };
}
macro_rules! chosen {
    ($macro:ident) => {
        $macro!(
            "(select o.* from unnest($21::timestamptz[], $22::int8[]) c (at, seq)
                cross join lateral (select i.* from audit.events i where i.received_at = c.at and i.seq = c.seq offset 0) o)"
        )
    };
}
/// Numbers of parameters are those of the events, so that both are bound alike.
macro_rules! number {
    ($from:literal) => {
        arrivals!(
            "select count(*) from (select e.seq",
            $from,
            " and $16::bool is not null and $17::bool is not null limit $20) e"
        )
    };
}

/// Most pairs of an exchange and a routing key are told.
macro_rules! routes {
    ($from:literal) => {
        arrivals!(
            "select e.exchange, e.routing_key, count(*) from (select e.exchange, e.routing_key",
            $from,
            " and $16::bool is not null and $17::bool is not null order by e.received_at, e.seq limit $20) e
              group by e.exchange, e.routing_key order by count(*) desc, e.exchange, e.routing_key limit 10000"
        )
    };
}

const EVENTS: &str = events!("audit.events");
const NUMBER: &str = number!("audit.events");
const CHOSEN: &str = chosen!(events);
const CHOSEN_NUMBER: &str = chosen!(number);
const ROUTES: &str = routes!("audit.events");
const CHOSEN_ROUTES: &str = chosen!(routes);

impl Reader {
    /// Hands each of these events to `each`, in the order of their arrival, as they come: with its body, or with its type and
    /// its body's length, and no other columns than a message is made of. Tells whether all were handed out. Where `each` says
    /// that it has had enough, or fails, no more is read.
    ///
    /// # Errors
    /// A [`ReadError`], or that of `each`.
    pub async fn arrivals<E: From<ReadError>>(
        &mut self,
        arrivals: &Arrivals,
        bodies: bool,
        mut each: impl AsyncFnMut(&Row) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let statement = if arrivals.chosen.is_some() { CHOSEN } else { EVENTS };
        let asked = self.conditioned(&arrivals.filter, statement).await?;
        let alike = self.alike(&arrivals.filter, None).await?;
        // It takes as long as whoever takes them.
        self.let_statements_take(Duration::ZERO).await?;
        let timeout = self.timeout;
        let failed = |error| asked.fault_of_awaiting(error);
        let query = arrivals.bind(asked.query(), &alike, bodies);
        let mut rows = query.persistent(false).fetch(&mut self.connection);
        while let Some(row) = answered(timeout, rows.try_next()).await.map_err(failed)? {
            if !each(&Row(row)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many of these events there are.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn number(&mut self, arrivals: &Arrivals) -> Result<i64, ReadError> {
        let counted = self.of_all(arrivals, [NUMBER, CHOSEN_NUMBER]).await?;
        let number = |row| sqlx::Row::try_get(row, 0).map_err(|error| self.fault(error));
        counted.first().map_or(Ok(0), number)
    }

    /// Under which exchange and routing key they came, and how many each, the most frequent first and 10,000 at most.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn routes(&mut self, arrivals: &Arrivals) -> Result<Vec<Route>, ReadError> {
        let rows = self.of_all(arrivals, [ROUTES, CHOSEN_ROUTES]).await?;
        let route = |row| sqlx::FromRow::from_row(row).map_err(|error| self.fault(error));
        rows.iter().map(route).collect()
    }

    /// Which of these routing keys match which of these patterns, as the broker's topic exchanges match them, by their places.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn matches(
        &mut self,
        keys: &[String],
        patterns: &[String],
    ) -> Result<Vec<(usize, usize)>, ReadError> {
        let query = sqlx::query_as(
            "select k.n - 1, p.n - 1
               from unnest($1::text[]) with ordinality k (key, n) cross join unnest($2::text[]) with ordinality p (pattern, n)
              where audit.topic_matches(k.key, p.pattern)",
        );
        let found: Vec<(i64, i64)> = self.all(query.bind(keys).bind(patterns)).await?;
        let place = |number: i64| usize::try_from(number).unwrap_or_default();
        Ok(found.into_iter().map(|(key, pattern)| (place(key), place(pattern))).collect())
    }

    /// What a statement that is about all of them at once tells; the second one is for those that were chosen one by one.
    async fn of_all(
        &mut self,
        arrivals: &Arrivals,
        [statement, chosen]: [&'static str; 2],
    ) -> Result<Vec<sqlx::postgres::PgRow>, ReadError> {
        let statement = if arrivals.chosen.is_some() { chosen } else { statement };
        let asked = self.conditioned(&arrivals.filter, statement).await?;
        let alike = self.alike(&arrivals.filter, None).await?;
        let patience = self.patience();
        let query = arrivals.bind(asked.query(), &alike, false);
        let rows = query.persistent(false).fetch_all(&mut self.connection);
        answered(patience, rows).await.map_err(|error| asked.fault(error))
    }

    /// Where each event of these ids stands, in order: of an id all that was stored under it. And the ids under which
    /// nothing is.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn arrivals_of(
        &mut self,
        ids: &[String],
    ) -> Result<(Vec<Arrival>, Vec<String>), ReadError> {
        let query = sqlx::query_as(
            "select c.id, e.received_at, e.seq
               from unnest($1::text[]) c (id)
               left join lateral (select o.received_at, o.seq from audit.event(c.id) o) e on true
              order by e.received_at, e.seq",
        );
        let found: Vec<(String, Option<OffsetDateTime>, Option<i64>)> =
            self.all(query.bind(ids)).await?;
        let mut arrivals = Vec::with_capacity(found.len());
        let mut missing = Vec::new();
        for (id, received_at, seq) in found {
            match received_at.zip(seq) {
                Some((received_at, seq)) => arrivals.push(Arrival { received_at, seq }),
                None => missing.push(id),
            }
        }
        arrivals.dedup();
        Ok((arrivals, missing))
    }

    /// Those of these events that are stored, in the order of their arrival.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn stored(&mut self, arrivals: &[Arrival]) -> Result<Vec<Arrival>, ReadError> {
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query_as(
            "select o.received_at, o.seq from unnest($1::timestamptz[], $2::int8[]) c (at, seq)
              cross join lateral (select i.received_at, i.seq from audit.events i
                                   where i.received_at = c.at and i.seq = c.seq offset 0) o
              order by o.received_at, o.seq",
        )
        .bind(arrivals.iter().map(|one| one.received_at).collect::<Vec<_>>())
        .bind(arrivals.iter().map(|one| one.seq).collect::<Vec<_>>());
        let found: Vec<(OffsetDateTime, i64)> = self.all(query).await?;
        Ok(found.into_iter().map(|(received_at, seq)| Arrival { received_at, seq }).collect())
    }
}

impl Arrivals {
    fn bind<'q>(
        &'q self,
        query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
        alike: &'q Alike,
        bodies: bool,
    ) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
        let query = self.filter.bind(query, alike).bind(bodies).bind(!bodies);
        let query = query.bind(self.after.known_time()).bind(self.after.seq).bind(self.limit);
        match &self.chosen {
            Some(chosen) => query
                .bind(chosen.iter().map(|one| one.received_at).collect::<Vec<_>>())
                .bind(chosen.iter().map(|one| one.seq).collect::<Vec<_>>()),
            None => query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_its_place() {
        for statement in [EVENTS, NUMBER, CHOSEN, CHOSEN_NUMBER, ROUTES, CHOSEN_ROUTES] {
            assert_eq!(statement.matches("/* and */").count(), 1);
        }
    }
}
