//! Canaries: marked before they are published, and looked for until they are stored.

use uuid::Uuid;

use super::{
    Fault, Settings,
    link::{Link, answered},
};
use crate::event::{Canary, column_text};

/// A connection of the canary's own.
#[derive(Debug)]
pub struct CanaryLog {
    link: Link,
}

impl CanaryLog {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<CanaryLog, Fault> {
        Ok(CanaryLog { link: Link::open(settings, settings.statement_timeout).await? })
    }

    /// Marks a canary of that daemon's, which is to be published then.
    ///
    /// # Errors
    /// A [`Fault`]; then it is not to be published.
    pub async fn mark(
        &mut self,
        canary: &Canary,
        instance: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Fault> {
        let mark = sqlx::query("select audit.send_canary($1, $2, $3, $4, $5::jsonb, $6)")
            .bind(canary.id)
            .bind(column_text(instance))
            .bind(column_text(exchange))
            .bind(column_text(routing_key))
            .bind(canary.properties_json())
            .bind(canary.digest().as_slice());
        let Link { connection, patience, .. } = &mut self.link;
        answered(*patience, mark.execute(connection)).await?;
        Ok(())
    }

    /// Whether it was stored within the last days and can be seen.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn is_stored(&mut self, id: Uuid) -> Result<bool, Fault> {
        let query = sqlx::query_as("select exists (select from audit.events e where e.event_id = $1 and e.received_at > now() - interval '2 days')").bind(id);
        let Link { connection, patience, .. } = &mut self.link;
        let (stored,): (bool,) = answered(*patience, query.fetch_one(connection)).await?;
        Ok(stored)
    }
}
