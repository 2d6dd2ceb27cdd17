//! Reading the history: in one snapshot, read only, and as rows come.

mod alike;
mod arrivals;
mod column;
mod condition;
mod context;
mod events;
mod fault;
mod filter;
mod follow;
mod row;
mod stats;
mod trace;

use std::time::Duration;

use sqlx::PgConnection;

use super::{
    Fault, MigrationError, Settings,
    link::{SLACK, answered},
    migrations,
};

pub use arrivals::{Arrival, Arrivals, Route};
pub use column::Column;
pub use context::{Place, Relative};
pub use events::{Order, Selection};
pub use fault::ReadError;
pub(super) use fault::of_reading;
pub use filter::Filter;
pub use follow::Follower;
pub use row::{Row, Texts, Value};
pub use stats::{Batches, Group, Rejected, Stats, Stored, Top};
pub use trace::TraceStep;

/// A connection in one read-only transaction, so that all that is read with it belongs together.
#[derive(Debug)]
pub struct Reader {
    connection: PgConnection,
    timeout: Duration,
}

impl Reader {
    /// Connects, and sees to it that the schema is the one that is known here. A statement may take that long, of one
    /// whose rows are handed out as they come each row.
    ///
    /// # Errors
    /// The database is away, refuses, or has another schema.
    pub async fn open(settings: &Settings, timeout: Duration) -> Result<Reader, ReadError> {
        let mut reader = Reader::on(settings.connect_to_read(timeout).await?, timeout).await?;
        reader.begin().await?;
        Ok(reader)
    }

    /// The same on a primary: a standby may be behind, and what it lacks would seem not to be stored.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub async fn open_on_primary(
        settings: &Settings,
        timeout: Duration,
    ) -> Result<Reader, ReadError> {
        let mut reader = Reader::connect(settings, timeout).await?;
        reader.begin().await?;
        Ok(reader)
    }

    /// The same without a transaction, and on a primary: whether a transaction is under way, which whoever reads along has to
    /// know, a standby does not tell.
    async fn connect(settings: &Settings, timeout: Duration) -> Result<Reader, ReadError> {
        Reader::on(settings.connect(timeout).await?, timeout).await
    }

    /// A connection for other readers of everything.
    pub(super) async fn connection(
        settings: &Settings,
        timeout: Duration,
    ) -> Result<PgConnection, ReadError> {
        Reader::knowing(settings.connect_to_read(timeout).await?, timeout).await
    }

    /// The same of a connection that is open.
    pub(super) async fn knowing(
        connection: PgConnection,
        timeout: Duration,
    ) -> Result<PgConnection, ReadError> {
        Ok(Reader::on(connection, timeout).await?.connection)
    }

    async fn on(connection: PgConnection, timeout: Duration) -> Result<Reader, ReadError> {
        let mut reader = Reader { connection, timeout };
        reader.find_the_schema().await?;
        Ok(reader)
    }

    async fn find_the_schema(&mut self) -> Result<(), ReadError> {
        let missing = match migrations::steps_missing(&mut self.connection).await {
            // Whoever may read the events need not be allowed to read this; the events will tell.
            Err(MigrationError::Fault(fault)) if fault.sqlstate.as_deref() == Some("42501") => {
                return Ok(());
            }
            Err(MigrationError::Fault(fault)) if fault.is_timeout() => {
                return Err(fault::of_waiting(self.timeout));
            }
            found => found?,
        };
        match missing.first() {
            None => Ok(()),
            Some(step) if step.version == 1 => Err(ReadError::Schema(
                "the database has no schema audit: check postgres.url, or run `bloodbank-audit migrate`".to_owned(),
            )),
            Some(step) => Err(ReadError::Schema(format!(
                "the schema is older than this program, and lacks {:04} {}: run `bloodbank-audit migrate`",
                step.version, step.description
            ))),
        }
    }

    /// Plans are made for the very values that are looked for: what is not asked for folds away, and partitions that
    /// cannot hold anything are left out. A server whose client has gone notices by itself.
    async fn begin(&mut self) -> Result<(), ReadError> {
        let begin = sqlx::raw_sql(
            "begin isolation level repeatable read read only;
             set local plan_cache_mode = force_custom_plan;
             set local jit = off;
             set local timezone = 'UTC';
             select set_config('client_connection_check_interval', '1s', true)
              where version() !~* 'windows|mingw|visual c'",
        );
        answered(self.patience(), begin.execute(&mut self.connection))
            .await
            .map_err(|error| self.fault(error))?;
        Ok(())
    }

    /// A transaction whose every statement sees what is committed by then.
    async fn begin_anew(&mut self) -> Result<(), ReadError> {
        let begin = sqlx::raw_sql(
            "begin isolation level read committed read only;
             set local plan_cache_mode = force_custom_plan;
             set local jit = off;
             set local timezone = 'UTC'",
        );
        answered(self.patience(), begin.execute(&mut self.connection))
            .await
            .map_err(|error| self.fault(error))?;
        Ok(())
    }

    /// Ends the transaction, and with it whatever was set for it.
    async fn end(&mut self) -> Result<(), ReadError> {
        let end = sqlx::raw_sql("rollback");
        answered(self.patience(), end.execute(&mut self.connection))
            .await
            .map_err(|error| self.fault(error))?;
        Ok(())
    }

    /// How long a statement is waited for whose whole answer comes at once: the server ends it before, and says so.
    fn patience(&self) -> Duration {
        self.timeout.saturating_add(SLACK)
    }

    /// A failed statement, with what to do about it from a reader's point of view.
    fn fault(&self, error: sqlx::Error) -> ReadError {
        fault::of_reading(error, self.timeout)
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> ReadError {
        ReadError::Fault(fault)
    }
}
