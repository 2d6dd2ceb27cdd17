//! What can go wrong for somebody who reads.

use std::{io, time::Duration};

use sqlx::postgres::PgDatabaseError;

use crate::store::{Fault, Kind, MigrationError};

/// Why something could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The database cannot be asked.
    #[error("{0}")]
    Fault(Fault),
    /// The schema is missing, or of another version.
    #[error("{0}")]
    Schema(String),
    /// The reader's own condition is wrong, or may not be asked.
    #[error("{0}")]
    Condition(String),
}

impl From<MigrationError> for ReadError {
    fn from(error: MigrationError) -> ReadError {
        match error {
            MigrationError::Fault(fault) => ReadError::Fault(fault),
            other => ReadError::Schema(other.to_string()),
        }
    }
}

/// What PostgreSQL said, if it was PostgreSQL.
pub(super) fn answer(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    match error {
        sqlx::Error::Database(answer) => answer.try_downcast_ref(),
        _ => None,
    }
}

pub(super) fn of_reading(error: sqlx::Error, timeout: Duration) -> ReadError {
    let said = |kind, code: &str, text: String| {
        ReadError::Fault(Fault { kind, sqlstate: Some(code.to_owned()), message: text })
    };
    let silent =
        matches!(&error, sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::TimedOut);
    if silent || answer(&error).is_some_and(|answer| answer.code() == "57014") {
        return ReadError::Fault(Fault::unavailable(format!(
            "PostgreSQL found nothing within {}: ask for less, such as by --since, or allow more time by --timeout",
            humantime::format_duration(timeout)
        )));
    }
    match answer(&error).map(|answer| (answer.code(), answer.message())) {
        Some((code @ "42501", message)) => said(
            Kind::Misconfigured,
            code,
            format!(
                "PostgreSQL says: {message}; the role in postgres.url may not read: its owner lets it by \
                 `select audit.grant_reader('ROLE')`"
            ),
        ),
        _ => ReadError::Fault(error.into()),
    }
}
