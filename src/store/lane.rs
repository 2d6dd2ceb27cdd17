//! A lane: one writer connection's life.

use time::OffsetDateTime;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    Fault, Settings, Span,
    link::{Link, answered},
};

/// Numbers in a block of `audit.event_seq`: its increment. Also the most events a batch may hold.
const SEQ_BLOCK: i64 = 10_000;

#[derive(Debug)]
pub(super) struct Lane {
    pub link: Link,
    pub id: Uuid,
    /// The number of the next batch; batches of a lane are numbered from 1 without gaps.
    pub number: i64,
    /// The numbers left of the last block: `[next_seq, end_seq)`.
    next_seq: i64,
    end_seq: i64,
    span: Option<Span>,
    /// How long a new partition is, as `audit.ensure_partition` calls it, and how many are made ahead.
    granularity: &'static str,
    partitions_ahead: i32,
}

impl Lane {
    pub async fn open(settings: &Settings) -> Result<Lane, Fault> {
        let connection = settings.connect(settings.statement_timeout).await?;
        let mut link = Link::new(connection, settings.statement_timeout);
        // The database may have been restored into another server since.
        let ordered = sqlx::query("select audit.ensure_order()").execute(&mut link.connection);
        answered(link.patience, ordered).await?;
        let id = Uuid::now_v7();
        info!(lane = %id, "connected to PostgreSQL");
        Ok(Lane {
            link,
            id,
            number: 1,
            next_seq: 0,
            end_seq: 0,
            span: None,
            granularity: settings.granularity(),
            partitions_ahead: i32::try_from(settings.partitions_ahead).unwrap_or(i32::MAX),
        })
    }

    /// The partition that holds `at`. Entering one also makes those that follow it.
    pub async fn partition(&mut self, at: OffsetDateTime) -> Result<Span, Fault> {
        if let Some(span) = self.span.filter(|span| span.contains(at)) {
            return Ok(span);
        }
        let query = sqlx::query_as(
            "select s.from_at, s.to_at,
                    coalesce((select max(p.from_at) from audit.partitions p where p.to_at <= s.from_at), s.from_at)
               from audit.ensure_partition($1, $2) s",
        )
        .bind(at)
        .bind(self.granularity);
        let Link { connection, patience, .. } = &mut self.link;
        let (from, to, previous) = answered(*patience, query.fetch_one(connection)).await?;
        let span = Span { from, to, previous };
        self.make_ahead(span).await?;
        self.span = Some(span);
        Ok(span)
    }

    /// Makes the partitions after this one. They are not needed yet: where they cannot be made now, because somebody
    /// holds a lock on the table, the present one is still good.
    async fn make_ahead(&mut self, span: Span) -> Result<(), Fault> {
        let query = sqlx::query(
            "select audit.ensure_partition($1 + n * case $2 when 'hourly' then interval '1 hour' else interval '1 day' end, $2)
               from generate_series(0, $3 - 1) n",
        )
        .bind(span.to)
        .bind(self.granularity)
        .bind(self.partitions_ahead);
        let Link { connection, patience, .. } = &mut self.link;
        let wait_little = sqlx::query("set lock_timeout = '1s'").execute(&mut *connection);
        answered(*patience, wait_little).await?;
        let made = answered(*patience, query.execute(&mut *connection)).await.map_err(Fault::from);
        if let Err(fault) = made {
            if fault.sqlstate.is_none() {
                return Err(fault);
            }
            warn!(cause = %fault, "partitions are not made ahead now, only when they are needed");
        }
        let wait_again = sqlx::query("set lock_timeout = 0").execute(connection);
        answered(*patience, wait_again).await?;
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
                ended,
                "ended copies of daemons that had gone silent: their rows were in the way"
            );
        }
        Ok(())
    }

    /// The first of that many consecutive numbers.
    pub async fn take_seqs(&mut self, wanted: usize) -> Result<i64, Fault> {
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        if self.end_seq - self.next_seq < wanted {
            let query = sqlx::query_as("select nextval('audit.event_seq')");
            let Link { connection, patience, .. } = &mut self.link;
            let (block,): (i64,) = answered(*patience, query.fetch_one(connection)).await?;
            self.next_seq = block;
            self.end_seq = block + SEQ_BLOCK;
        }
        let first = self.next_seq;
        self.next_seq += wanted;
        Ok(first)
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
