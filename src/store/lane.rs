//! A lane: one writer connection's life.

use time::OffsetDateTime;
use tracing::{error_span, info, warn};
use uuid::Uuid;

use super::{
    Fault, Settings, Span,
    link::{Link, answered},
    partitions::{self, Found, Plan},
};
use crate::ledger::{BEGIN, Hash};

#[derive(Debug)]
pub(super) struct Lane {
    pub link: Link,
    pub id: Uuid,
    /// The number of the next batch; batches of a lane are numbered from 1 without gaps.
    pub number: i64,
    /// The hash of its last header, which the next one names.
    pub previous: Hash,
    span: Option<Span>,
    plan: Plan,
    /// What is logged of this connection. It outlives sessions with the broker, and is not part of one.
    log: tracing::Span,
}

impl Lane {
    pub async fn open(settings: &Settings) -> Result<Lane, Fault> {
        let mut link = Link::open(settings, settings.statement_timeout).await?;
        // The database may have been restored into another server since.
        let ordered = sqlx::query("select audit.ensure_order()").execute(&mut link.connection);
        answered(link.patience, ordered).await?;
        let id = Uuid::now_v7();
        let log = error_span!(parent: None, "postgres", lane = %id);
        info!(parent: &log, "connected to PostgreSQL");
        let plan = settings.plan();
        Ok(Lane { link, id, number: 1, previous: BEGIN, span: None, plan, log })
    }

    /// The partition that holds `at`. Entering one also makes those that follow it.
    pub async fn partition(&mut self, at: OffsetDateTime) -> Result<Span, Fault> {
        if let Some(span) = self.span.filter(|span| span.contains(at)) {
            return Ok(span);
        }
        let span = partitions::enter(&mut self.link, self.plan, at).await?;
        partitions::wait_little(&mut self.link, true).await?;
        match partitions::make_ahead(&mut self.link, self.plan, span).await {
            Err(fault) if fault.sqlstate.is_some() => {
                warn!(parent: &self.log, cause = %fault, "partitions are not made ahead now, only when they are needed");
            }
            made => made?,
        }
        partitions::wait_little(&mut self.link, false).await?;
        self.span = Some(span);
        Ok(span)
    }

    /// Mends the partitions, where a row found none although there should be one: somebody took it away.
    pub async fn mend(&mut self, since: OffsetDateTime) -> Result<(), Fault> {
        self.span = None;
        for mended in partitions::mend(&mut self.link, since).await? {
            if mended.found != Found::Detached {
                self.log.in_scope(|| mended.say());
            }
        }
        Ok(())
    }

    /// Ends the copies of daemons that have gone silent in the middle: their rows may be in the way. While a copy waits for
    /// rows the server does not look at the bound on its statement, and would wait for ever; beyond that bound the next
    /// row would end it anyway.
    pub async fn end_silent_copies(&mut self, settings: &Settings) -> Result<(), Fault> {
        let query = sqlx::query_as(
            "select count(*) filter (where pg_terminate_backend(a.pid))
               from pg_stat_activity a
              where a.datname = current_database() and a.usename = current_user
                and a.application_name = current_setting('application_name') and a.state = 'active'
                and a.wait_event = 'ClientRead' and a.query like 'copy audit.events %'
                and a.query_start < now() - make_interval(secs => $1)",
        )
        .bind(settings.statement_timeout.as_secs_f64());
        let Link { connection, patience, .. } = &mut self.link;
        let (ended,): (i64,) = answered(*patience, query.fetch_one(connection)).await?;
        if ended > 0 {
            warn!(
                parent: &self.log,
                ended,
                "ended copies of daemons that had gone silent: their rows were in the way"
            );
        }
        Ok(())
    }

    /// When anything was committed last, by whichever writer.
    pub async fn last_commit(&mut self) -> Result<Option<OffsetDateTime>, Fault> {
        let query = sqlx::query_as("select max(committed_at) from audit.batches");
        let Link { connection, patience, .. } = &mut self.link;
        let (last,): (Option<OffsetDateTime>,) =
            answered(*patience, query.fetch_one(connection)).await?;
        Ok(last)
    }
}
