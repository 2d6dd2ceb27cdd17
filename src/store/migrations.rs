//! Migrations of the schema: embedded, forward only, applied by one process at a time.

use std::{collections::HashMap, time::Duration};

use sqlx::{
    Connection, PgConnection,
    migrate::{Migrate, MigrateError, Migrator},
};

use super::{Fault, Kind, Settings};

/// A table rewritten by a migration may take hours; nothing here should cut that short.
const NO_TIMEOUT: Duration = Duration::ZERO;
const TABLE: &str = "audit.schema_migrations";
/// What PostgreSQL says where there is no such table, or no such schema.
const NO_TABLE: &str = "42P01";

/// Why the schema is not what this program needs.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database could not be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The database was migrated by a later version of this program.
    #[error(
        "the schema is at version {found}, and this program knows versions up to {known}: run the newer program"
    )]
    Newer {
        /// The newest version that was applied.
        found: i64,
        /// The newest version this program has.
        known: i64,
    },
    /// A migration that was applied is not the one this program has under that number.
    #[error(
        "migration {version} was applied with another text than this program has: run the program that applied it, or set \
         postgres.url to another database"
    )]
    Changed {
        /// The version in question.
        version: i64,
    },
    /// A migration failed; its transaction was rolled back.
    #[error("migrating: {0}")]
    Failed(Fault),
}

/// One step of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number, as in the file's name.
    pub version: i64,
    /// What it is about.
    pub description: String,
}

/// The steps that this database still lacks, oldest first. Reads only; needs no right but SELECT.
///
/// # Errors
/// A [`MigrationError`] where the database cannot be asked or was migrated by another program.
pub async fn pending(settings: &Settings) -> Result<Vec<Step>, MigrationError> {
    let mut connection = settings.connect(settings.statement_timeout).await?;
    let steps = steps_missing(&mut connection).await;
    connection.close().await.map_err(Fault::from)?;
    steps
}

/// Applies what [`pending`] names, and returns it. Waits while another process migrates the same database.
///
/// # Errors
/// As [`pending`]; and [`MigrationError::Failed`], with nothing of the failed step applied.
pub async fn migrate(settings: &Settings) -> Result<Vec<Step>, MigrationError> {
    let mut connection = settings.connect(NO_TIMEOUT).await?;
    let missing = steps_missing(&mut connection).await?;
    if !missing.is_empty() {
        migrator(&mut connection)
            .await?
            .run_direct(None, &mut connection, false)
            .await
            .map_err(failed)?;
    }
    connection.close().await.map_err(Fault::from)?;
    Ok(missing)
}

/// The embedded migrations. The schema is only created where it is missing: PostgreSQL asks for the right to
/// create one even where `if not exists` has nothing to do, and an owner of just this schema lacks it.
async fn migrator(connection: &mut PgConnection) -> Result<Migrator, Fault> {
    let (missing,): (bool,) = sqlx::query_as("select to_regnamespace('audit') is null")
        .fetch_one(&mut *connection)
        .await?;
    let mut migrator = sqlx::migrate!();
    if missing {
        migrator.create_schema("audit");
    }
    migrator.dangerous_set_table_name(TABLE);
    Ok(migrator)
}

pub(super) async fn steps_missing(
    connection: &mut PgConnection,
) -> Result<Vec<Step>, MigrationError> {
    let migrator = sqlx::migrate!();
    let applied: HashMap<i64, _> = match connection.list_applied_migrations(TABLE).await {
        Ok(applied) => applied.into_iter().map(|m| (m.version, m.checksum)).collect(),
        // Nothing was to be changed yet: what is missing may only be a right to read.
        Err(error) => match failed(error) {
            MigrationError::Failed(fault) if fault.sqlstate.as_deref() == Some(NO_TABLE) => {
                HashMap::new()
            }
            MigrationError::Failed(fault) => return Err(fault.into()),
            other => return Err(other),
        },
    };
    let known = migrator.iter().map(|m| m.version).max().unwrap_or_default();
    if let Some(&found) = applied.keys().max().filter(|&&found| found > known) {
        return Err(MigrationError::Newer { found, known });
    }
    let mut missing = Vec::new();
    for step in migrator.iter() {
        match applied.get(&step.version) {
            Some(checksum) if *checksum != step.checksum => {
                return Err(MigrationError::Changed { version: step.version });
            }
            Some(_) => {}
            None => missing
                .push(Step { version: step.version, description: step.description.to_string() }),
        }
    }
    Ok(missing)
}

fn failed(error: MigrateError) -> MigrationError {
    let fault = match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause.into(),
        other => Fault::misconfigured(other.to_string()),
    };
    match fault.kind {
        // The database went away meanwhile; the step was rolled back with the connection.
        Kind::Unavailable => MigrationError::Fault(fault),
        Kind::Refused | Kind::Misconfigured => MigrationError::Failed(fault),
    }
}
