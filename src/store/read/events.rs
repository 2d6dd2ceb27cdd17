//! Events, as they come from the database: whatever their number, one is in memory.

use std::time::Duration;

use futures_util::TryStreamExt as _;

use super::{
    Filter, ReadError, Reader, Row,
    filter::{From, filtered},
};
use crate::store::link::answered;

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By `received_at`, then `seq`, the last one first.
    Newest,
    /// The first one first.
    Oldest,
}

/// How much of which events.
#[derive(Debug, Clone, Copy)]
pub struct Selection {
    /// In which order.
    pub order: Order,
    /// At most so many.
    pub limit: Option<i64>,
    /// Whether `payload` and `body` are wanted; they are null otherwise.
    pub bodies: bool,
    /// Whether `body_bytes` is wanted.
    pub body_bytes: bool,
}

/// The columns in the order of [`Column`](super::Column). The bodies may lie elsewhere, and are only fetched where they are
/// wanted.
macro_rules! columns {
    () => {
        "e.seq, e.received_at, e.event_time, e.event_id, e.redelivered, e.conflict, e.malformed, e.event_key,
         e.event_type, e.source, e.exchange, e.routing_key, e.correlation_ids, e.defects, e.properties,
         case when $16::bool then e.payload end, case when $16::bool then e.body end, e.conflict_digest,
         case when $17::bool then coalesce(octet_length(e.body), octet_length(e.payload::text))::int8 end"
    };
}
pub(super) use columns;

macro_rules! events {
    ($from:literal, $order:literal) => {
        concat!("select ", columns!(), filtered!($from), $order)
    };
}
macro_rules! with_replays {
    ($order:literal) => {
        concat!(
            "select ",
            columns!(),
            ", e.replay, e.original_at",
            filtered!("audit.events_and_replays"),
            $order
        )
    };
}
macro_rules! newest {
    ($from:literal) => {
        events!($from, " order by e.received_at desc, e.seq desc limit $18")
    };
}
macro_rules! oldest {
    ($from:literal) => {
        events!($from, " order by e.received_at, e.seq limit $18")
    };
}
macro_rules! count {
    ($from:literal) => {
        concat!("select count(*)", filtered!($from))
    };
}

fn statement(filter: &Filter, selection: Selection) -> &'static str {
    match (filter.from(), selection.order) {
        // It takes no more than an integer holds.
        (From::Type, Order::Newest)
            if selection.limit.is_some_and(|l| i32::try_from(l).is_ok()) =>
        {
            newest!("audit.newest($3, $18::int)")
        }
        (From::Events | From::Type, Order::Newest) => newest!("audit.events"),
        (From::Events | From::Type, Order::Oldest) => oldest!("audit.events"),
        (From::WithReplays, Order::Newest) => {
            with_replays!(" order by e.received_at desc, e.seq desc limit $18")
        }
        (From::WithReplays, Order::Oldest) => {
            with_replays!(" order by e.received_at, e.seq limit $18")
        }
        (From::Id, Order::Newest) => newest!("audit.event(coalesce($8::text, $9))"),
        (From::Id, Order::Oldest) => oldest!("audit.event(coalesce($8::text, $9))"),
        (From::Correlation, Order::Newest) => newest!("audit.caused_by($10)"),
        (From::Correlation, Order::Oldest) => oldest!("audit.caused_by($10)"),
    }
}

fn counting(filter: &Filter) -> &'static str {
    match filter.from() {
        From::Events | From::Type => count!("audit.events"),
        From::WithReplays => count!("audit.events_and_replays"),
        From::Id => count!("audit.event(coalesce($8::text, $9))"),
        From::Correlation => count!("audit.caused_by($10)"),
    }
}

impl Reader {
    /// Hands each event to `each`, in order, as it comes; tells how many there were. Where `each` fails, no more is read.
    ///
    /// # Errors
    /// A [`ReadError`], or that of `each`.
    pub async fn events<E: std::convert::From<ReadError>>(
        &mut self,
        filter: &Filter,
        selection: Selection,
        mut each: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<u64, E> {
        let asked = self.conditioned(filter, statement(filter, selection)).await?;
        let alike = self.alike(filter, Some(selection)).await?;
        // A long answer takes as long as its reader does. With a condition the bound is for all of it.
        if !asked.has_condition() {
            self.let_statements_take(Duration::ZERO).await?;
        }
        let query = filter
            .bind(asked.query(), &alike)
            .bind(selection.bodies)
            .bind(selection.body_bytes)
            .bind(selection.limit);
        let timeout = self.timeout;
        let failed = |error| asked.fault_of_awaiting(error);
        let mut rows = query.persistent(false).fetch(&mut self.connection);
        let mut found = 0;
        while let Some(row) = answered(timeout, rows.try_next()).await.map_err(failed)? {
            each(&Row(row))?;
            found += 1;
        }
        Ok(found)
    }

    /// How many events there are.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn count(&mut self, filter: &Filter) -> Result<i64, ReadError> {
        let asked = self.conditioned(filter, counting(filter)).await?;
        let alike = self.alike(filter, None).await?;
        let patience = self.patience();
        let query = filter.bind(asked.query(), &alike).persistent(false);
        let counted = query.fetch_one(&mut self.connection);
        let failed = |error| asked.fault(error);
        let row = answered(patience, counted).await.map_err(failed)?;
        sqlx::Row::try_get(&row, 0).map_err(failed)
    }

    pub(super) async fn let_statements_take(&mut self, timeout: Duration) -> Result<(), ReadError> {
        let set = sqlx::query("select set_config('statement_timeout', $1, true)")
            .bind(format!("{}ms", timeout.as_millis()));
        answered(self.patience(), set.execute(&mut self.connection))
            .await
            .map_err(|error| self.fault(error))?;
        Ok(())
    }
}
