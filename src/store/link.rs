//! A connection whose every answer is awaited for a bounded time.

use std::{future::Future, io, time::Duration};

use sqlx::{Connection, PgConnection};

use super::{Fault, Settings};

/// How much longer than a statement may take its answer is awaited: the server ends a statement first, and says so;
/// this is for a server that says nothing any more.
pub(super) const SLACK: Duration = Duration::from_secs(2);

/// How long the server may take to hear of the end.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Link {
    pub connection: PgConnection,
    /// Bound on one round trip.
    pub patience: Duration,
    /// Whether rows may be copied. Where row-level security applies to this role they can only be inserted.
    pub copies: bool,
}

impl Link {
    /// Connects; a statement may take that long.
    pub async fn open(settings: &Settings, statement_timeout: Duration) -> Result<Link, Fault> {
        let connection = settings.connect(statement_timeout).await?;
        Ok(Link { connection, patience: statement_timeout + SLACK, copies: true })
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        // It goes either way; nothing is in flight.
        let _ = tokio::time::timeout(GOODBYE, self.connection.close()).await;
    }
}

/// One round trip within that time. The connection cannot be used any more after a timeout.
pub(super) async fn answered<T>(
    patience: Duration,
    trip: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(patience, trip).await.unwrap_or_else(|_| {
        let said = format!("it said nothing for {}", humantime::format_duration(patience));
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, said)))
    })
}
