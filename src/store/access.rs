//! Who looked: a row in `audit.access_log` for each time that events are taken out of the history.

use super::{
    Fault, Settings,
    link::{Link, answered},
};
use crate::event::column_text;

/// What somebody is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Which user of this machine.
    pub os_user: String,
    /// The name of this machine.
    pub host: String,
    /// Which command.
    pub command: String,
    /// What was asked for, a JSON object.
    pub filter: String,
}

/// An access that was noted and has not ended.
#[derive(Debug)]
#[must_use = "an access that is not ended looks as if it had been broken off"]
pub struct NotedAccess {
    settings: Settings,
    id: i64,
}

impl NotedAccess {
    /// Notes that it begins; when this returns, the row is committed.
    ///
    /// On a connection of its own, as reading is done in a transaction that can only read; and none is kept meanwhile.
    ///
    /// # Errors
    /// The database is away, is a standby, or the role may not: then nothing is to be handed out.
    pub async fn begin(settings: &Settings, access: &Access) -> Result<NotedAccess, Fault> {
        let mut link = Link::open(settings, settings.statement_timeout).await?;
        let id = begin(&mut link, access).await?;
        link.close().await;
        Ok(NotedAccess { settings: settings.clone(), id })
    }

    /// Notes that all was handed out, and how many events that were.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn end(self, events: u64) -> Result<(), Fault> {
        let mut link = Link::open(&self.settings, self.settings.statement_timeout).await?;
        end(&mut link, self.id, events).await?;
        link.close().await;
        Ok(())
    }
}

/// Notes that an access begins, which then has this number; when this returns, the row is committed.
pub(super) async fn begin(link: &mut Link, access: &Access) -> Result<i64, Fault> {
    let note = sqlx::query_as("select audit.log_access($1, $2, $3, $4::text::jsonb)")
        .bind(column_text(&access.os_user))
        .bind(column_text(&access.host))
        .bind(column_text(&access.command))
        .bind(&access.filter);
    let (id,): (i64,) = answered(link.patience, note.fetch_one(&mut link.connection)).await?;
    Ok(id)
}

/// Notes that the access of that number has ended, and how many events were handed out.
pub(super) async fn end(link: &mut Link, id: i64, events: u64) -> Result<(), Fault> {
    let note = sqlx::query("select audit.log_access_end($1, $2)")
        .bind(id)
        .bind(i64::try_from(events).unwrap_or(i64::MAX));
    answered(link.patience, note.execute(&mut link.connection)).await?;
    Ok(())
}
