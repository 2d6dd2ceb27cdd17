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

impl ReadError {
    /// Whether with time alone this can be read: the database is away, or too busy. A statement that the server ended for
    /// its time would take as long again.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            ReadError::Fault(fault) => fault.kind == Kind::Unavailable && !fault.is_timeout(),
            ReadError::Schema(_) | ReadError::Condition(_) => false,
        }
    }
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

/// A failed statement, with what to do about it from a reader's point of view.
pub(in crate::store) fn of_reading(error: sqlx::Error, timeout: Duration) -> ReadError {
    let said = |kind, code: &str, text: String| {
        ReadError::Fault(Fault { kind, sqlstate: Some(code.to_owned()), message: text })
    };
    match answer(&error).map(|answer| (answer.code(), answer.message())) {
        Some((code @ "57014", _)) => said(Kind::Unavailable, code, too_long(timeout)),
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

/// Somebody waited for longer than a statement may take.
pub(super) fn of_waiting(timeout: Duration) -> ReadError {
    let (code, message) = (Some("57014".to_owned()), too_long(timeout));
    ReadError::Fault(Fault { kind: Kind::Unavailable, sqlstate: code, message })
}

/// Whether the client has waited long enough.
pub(super) fn is_awaited(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::TimedOut)
}

fn too_long(timeout: Duration) -> String {
    format!(
        "PostgreSQL found nothing within {}: ask for less, such as by --since, or allow more time by --timeout",
        humantime::format_duration(timeout)
    )
}
