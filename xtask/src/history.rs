//! The history in PostgreSQL, read from beside as any analyst would.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};
use time::OffsetDateTime;
use uuid::Uuid;

/// A SHA-256, of a body where nothing else is said.
pub type Digest = [u8; 32];

/// How often to look which partitions are being written to.
const PARTITIONS_EVERY: Duration = Duration::from_secs(10);
/// Most bodies of one look.
const MOST_BODIES: i64 = 5_000;

/// A connection that reads, and where in each partition it has read up to.
pub struct History {
    connection: PgConnection,
    partitions: Vec<Partition>,
    looked: Option<Instant>,
    newest_commit: Option<OffsetDateTime>,
    totals: Totals,
}

/// Rows are only ever appended, so those that follow the last row seen are the new ones. This finds them without
/// an index and without reading the table again.
struct Partition {
    name: String,
    last_row: String,
}

/// What the daemon says it has done, by its own batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events stored, conflicts included.
    pub stored: u64,
    /// Stored events whose id was there already with another content.
    pub conflicts: u64,
    /// Deliveries of what was stored already.
    pub duplicates: u64,
    /// Deliveries that could not be stored.
    pub rejections: u64,
}

impl Totals {
    /// Deliveries that have reached their end.
    pub fn settled(&self) -> u64 {
        self.stored + self.duplicates + self.rejections
    }
}

const TOTALS: &str = "select coalesce(sum(events), 0)::int8, coalesce(sum(conflicts), 0)::int8, \
     coalesce(sum(duplicates), 0)::int8, coalesce(sum(rejections), 0)::int8, max(committed_at) from audit.batches";

/// Connects to the database, as a reader.
///
/// # Errors
/// When the database does not let us.
pub async fn connect(url: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)?
        .ssl_mode(PgSslMode::Disable)
        .application_name("cargo xtask")
        .disable_statement_logging();
    options.connect().await.context("connect to PostgreSQL")
}

impl History {
    /// Connects.
    ///
    /// # Errors
    /// When the database does not let us.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self {
            connection: connect(url).await?,
            partitions: Vec::new(),
            looked: None,
            newest_commit: None,
            totals: Totals::default(),
        })
    }

    /// Digests of the bodies that have become visible since the last look.
    ///
    /// After an aborted transaction PostgreSQL may put a row into a gap further up, which is missed here. The
    /// balance in the end reads everything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new_bodies(&mut self) -> Result<Vec<Digest>> {
        self.find_partitions().await?;
        let mut digests = Vec::new();
        for partition in &mut self.partitions {
            let query = format!(
                "select ctid::text, sha256(audit.raw(e::audit.events)) from {} e where ctid > $1::text::tid limit $2",
                partition.name
            );
            let rows = sqlx::query(AssertSqlSafe(query))
                .bind(&partition.last_row)
                .bind(MOST_BODIES)
                .fetch_all(&mut self.connection)
                .await
                .context("read new events")?;
            for row in &rows {
                digests.push(digest(row.try_get(1)?)?);
            }
            if let Some(last) = rows.last() {
                partition.last_row = last.try_get(0)?;
            }
        }
        Ok(digests)
    }

    async fn find_partitions(&mut self) -> Result<()> {
        // The daemon makes the first one when it writes for the first time.
        let fresh = self.looked.is_some_and(|looked| looked.elapsed() < PARTITIONS_EVERY);
        if fresh && !self.partitions.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = sqlx::query_scalar(
            "select format('audit.%I', name) from audit.partitions \
             where from_at < now() + interval '1 minute' and now() - interval '1 minute' < to_at order by from_at",
        )
        .fetch_all(&mut self.connection)
        .await
        .context("find the present partition")?;
        self.partitions.retain(|partition| names.contains(&partition.name));
        for name in names {
            if self.partitions.iter().all(|known| known.name != name) {
                self.partitions.push(Partition { name, last_row: "(0,0)".to_owned() });
            }
        }
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// The totals, adding only what was committed since the last time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new_totals(&mut self) -> Result<Totals> {
        let query = format!("{TOTALS} where committed_at > coalesce($1, '-infinity'::timestamptz)");
        let row = sqlx::query(AssertSqlSafe(query))
            .bind(self.newest_commit)
            .fetch_one(&mut self.connection)
            .await
            .context("add up the new batches")?;
        let (new, newest) = totals(&row)?;
        self.totals.stored += new.stored;
        self.totals.conflicts += new.conflicts;
        self.totals.duplicates += new.duplicates;
        self.totals.rejections += new.rejections;
        self.newest_commit = newest.or(self.newest_commit);
        Ok(self.totals)
    }

    /// Whether an event of one of these ids is stored; goes by index.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holds_any(&mut self, ids: &[Uuid]) -> Result<bool> {
        sqlx::query_scalar(
            "select exists (select from unnest($1::uuid[]) as wanted (id) cross join lateral ( \
                 select from audit.events e where e.event_id = wanted.id offset 0) stored)",
        )
        .bind(ids)
        .fetch_one(&mut self.connection)
        .await
        .context("look for new events")
    }

    /// The totals, added up anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn totals(&mut self) -> Result<Totals> {
        let row = sqlx::query(TOTALS)
            .fetch_one(&mut self.connection)
            .await
            .context("add up the batches")?;
        Ok(totals(&row)?.0)
    }

    /// Hands the digest of every stored body to `each`, computed by the server from the bytes it holds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn each_body(&mut self, mut each: impl FnMut(Digest)) -> Result<()> {
        let mut rows = sqlx::query("select sha256(audit.raw(e)) from audit.events e")
            .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.context("read the history")? {
            each(digest(row.try_get(0)?)?);
        }
        Ok(())
    }

    /// Digests of the bodies that were rejected.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rejected_bodies(&mut self) -> Result<Vec<Digest>> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("select body_sha256 from audit.rejections")
            .fetch_all(&mut self.connection)
            .await
            .context("read the rejections")?;
        rows.iter().map(|row| digest(row)).collect()
    }
}

fn totals(row: &sqlx::postgres::PgRow) -> Result<(Totals, Option<OffsetDateTime>)> {
    let sum = |column: usize| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?)?) };
    let totals =
        Totals { stored: sum(0)?, conflicts: sum(1)?, duplicates: sum(2)?, rejections: sum(3)? };
    Ok((totals, row.try_get(4)?))
}

/// A digest from the bytes that a column holds.
///
/// # Errors
/// When they are not 32.
pub fn digest(bytes: &[u8]) -> Result<Digest> {
    let Ok(digest) = bytes.try_into() else { bail!("a SHA-256 of {} bytes", bytes.len()) };
    Ok(digest)
}
