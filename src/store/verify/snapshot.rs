//! One instant, seen by several connections at once.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::store::{ReadError, Reader, Settings, read::of_reading};

/// Nothing here is bounded by the server: a partition may take hours.
const UNBOUNDED: Duration = Duration::ZERO;

/// An instant of the database, as long as this is kept.
#[derive(Debug)]
pub struct Snapshot {
    settings: Settings,
    name: String,
    now: i64,
    /// Others can only join while it lasts.
    _connection: PgConnection,
}

/// A connection of its own that sees the same instant.
#[derive(Debug)]
pub struct View {
    pub(super) connection: PgConnection,
}

impl Snapshot {
    /// Connects, sees to it that the schema is the one that is known here, and takes the instant.
    ///
    /// # Errors
    /// The database is away, refuses, or has another schema.
    pub async fn take(settings: &Settings) -> Result<Snapshot, ReadError> {
        let mut connection = Reader::connection(settings, UNBOUNDED).await?;
        begin(&mut connection, None).await?;
        let (name, now): (String, i64) = sqlx::query_as(
            "select pg_export_snapshot(), (extract(epoch from statement_timestamp()) * 1000000)::int8",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
        Ok(Snapshot { settings: settings.clone(), name, now, _connection: connection })
    }

    /// When it was taken, by the database's clock, in microseconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Another connection to it.
    ///
    /// # Errors
    /// The database is away or refuses, or another server answers than the one that has the snapshot.
    pub async fn view(&self) -> Result<View, ReadError> {
        let mut connection = Reader::connection(&self.settings, UNBOUNDED).await?;
        begin(&mut connection, Some(&self.name)).await?;
        Ok(View { connection })
    }
}

/// Begins to read. A snapshot can only be named in the text of a statement; its name is the server's own.
async fn begin(connection: &mut PgConnection, snapshot: Option<&str>) -> Result<(), ReadError> {
    let plain = |name: &&str| name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let join = match snapshot {
        None => String::new(),
        Some(name) => {
            let name = Some(name).filter(plain).unwrap_or_default();
            format!("set transaction snapshot '{name}';")
        }
    };
    let begin = format!(
        "begin isolation level repeatable read read only; {join}
         set local plan_cache_mode = force_custom_plan;
         set local jit = off;
         set local timezone = 'UTC';
         set local max_parallel_workers_per_gather = 0;
         select set_config('client_connection_check_interval', '1s', true)
          where version() !~* 'windows|mingw|visual c'"
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await.map_err(failed)?;
    Ok(())
}

pub(super) fn failed(error: sqlx::Error) -> ReadError {
    of_reading(error, UNBOUNDED)
}
