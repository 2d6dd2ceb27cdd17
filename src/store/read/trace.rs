//! What led to an event, and what followed.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;

use super::{ReadError, Reader};

/// An event of a trace.
#[derive(Debug, Clone, FromRow)]
pub struct TraceStep {
    /// How many links away: negative led to the event, 0 is the event, positive followed.
    pub depth: i32,
    /// Its id; none where it has none.
    pub id: Option<String>,
    /// The id of an event of this trace from which it follows.
    pub parent: Option<String>,
    /// Its number, where it is stored.
    pub seq: Option<i64>,
    /// When it was received.
    pub received_at: Option<OffsetDateTime>,
    /// When it says that it happened.
    pub event_time: Option<OffsetDateTime>,
    /// Its type.
    pub event_type: Option<String>,
    /// Its source.
    pub source: Option<String>,
    /// Its routing key.
    pub routing_key: Option<String>,
    /// All ids that it names.
    pub causes: Option<Vec<String>>,
    /// How many events were seen under its id.
    pub copies: i64,
    /// It is named, and not stored.
    pub missing: bool,
}

impl Reader {
    /// The trace of an event, nearest to the beginning first: no more than `depth` links and about `limit` events each way.
    /// What followed is looked for within that time, or everywhere.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn trace(
        &mut self,
        id: &str,
        depth: i32,
        within: Option<Duration>,
        limit: i32,
    ) -> Result<Vec<TraceStep>, ReadError> {
        let query = sqlx::query_as(
            "select t.depth, t.id, t.parent, t.seq, t.received_at, t.event_time, t.event_type, t.source, t.routing_key,
                    t.causes, t.copies, t.missing
               from audit.trace($1, $2, make_interval(secs => $3), $4) t",
        );
        let within = within.map(|within| within.as_secs_f64());
        self.all(query.bind(id).bind(depth).bind(within).bind(limit)).await
    }
}
