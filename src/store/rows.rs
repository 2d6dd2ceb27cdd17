//! Events as rows, and the two ways of inserting them.
//!
//! Few rows go in as arrays, one a column, in a statement of one round trip. Many are copied, which takes four more trips
//! and a third less of the server's work: it forms tuples at once, and fills and logs a page at a time.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{columns::Columns, copy, dedupe::ContentDigest, link::Link};
use crate::{
    event::{BodyForm, Event, EventId, column_text},
    ledger::EventRow,
};

/// From so many rows, or bytes, on they are copied; below, the additional trips cost more than copying saves.
const MANY: usize = 100;
const MUCH: usize = 256 << 10;

/// The rows of one batch.
#[derive(Default)]
pub(super) struct Rows<'a> {
    /// All but their properties, which are behind each other in one text: a block of memory each would cost more than writing it.
    rows: Vec<EventRow<'a>>,
    properties: String,
    /// Where in it those of each row end.
    ends: Vec<usize>,
    conflicts: usize,
    body_bytes: usize,
}

impl<'a> Rows<'a> {
    /// Adds an event; with the digest of its content where it is a conflict.
    pub fn push(&mut self, event: &'a Event, conflict: Option<ContentDigest>) {
        self.conflicts += usize::from(conflict.is_some());
        self.body_bytes += event.delivery.body.len();
        self.rows.push(row(event, conflict));
        event.delivery.write_properties_json(&mut self.properties);
        self.ends.push(self.properties.len());
    }

    /// Has all of them received at that time, as the partition of another time may not be there.
    pub fn all_received_at(&mut self, at: OffsetDateTime) {
        for row in &mut self.rows {
            row.received_at = at;
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many of them are conflicts.
    pub fn conflicts(&self) -> usize {
        self.conflicts
    }

    /// Bytes of the bodies.
    pub fn body_bytes(&self) -> i64 {
        whole(self.body_bytes)
    }

    /// When the first and the last of them were received; none where there are none.
    pub fn received(&self) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
        let times = || self.rows.iter().map(|row| row.received_at);
        (times().min(), times().max())
    }

    /// Whether they are better copied, and may be.
    pub fn are_copied(&self, link: &Link) -> bool {
        link.copies && (self.rows.len() >= MANY || self.body_bytes >= MUCH)
    }

    /// Inserts them, numbered from `first_seq` on, as a part of a transaction; as copies where that is said.
    pub async fn insert(
        &self,
        connection: &mut PgConnection,
        first_seq: i64,
        copied: bool,
    ) -> Result<(), sqlx::Error> {
        if copied {
            return copy::copy(connection, first_seq, self.iter()).await;
        }
        let rows: Vec<_> = self.iter().collect();
        Columns::of(rows.iter()).insert(first_seq).execute(connection).await.map(drop)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRow<'_>> {
        let mut start = 0;
        self.rows.iter().zip(&self.ends).map(move |(row, &end)| {
            let properties = &self.properties[start..end];
            start = end;
            EventRow { properties, ..row.clone() }
        })
    }
}

/// Without its properties.
fn row(event: &Event, conflict: Option<ContentDigest>) -> EventRow<'_> {
    let delivery = &event.delivery;
    let (event_id, event_key) = id_columns(event);
    // Bytes that are not UTF-8 never come with BodyForm::Json; if they did, they would still be kept, as bytes.
    let payload = match event.body_form {
        BodyForm::Json => str::from_utf8(&delivery.body).ok(),
        BodyForm::Bytes => None,
    };
    let defects = || event.defects.iter().map(|defect| defect.as_str()).collect();
    EventRow {
        received_at: delivery.received_at,
        event_time: event.event_time,
        event_id,
        redelivered: delivery.redelivered,
        conflict: conflict.is_some(),
        malformed: event.malformed,
        event_key,
        event_type: event.event_type.as_deref(),
        source: event.source.as_deref(),
        exchange: column_text(&delivery.exchange),
        routing_key: column_text(&delivery.routing_key),
        correlation_ids: &event.correlation_ids,
        defects: (!event.defects.is_empty()).then(defects),
        properties: "",
        payload,
        body: payload.is_none().then_some(delivery.body.as_slice()),
        conflict_digest: conflict,
    }
}

/// The event's id as the columns `event_id` and `event_key` hold it.
pub(super) fn id_columns(event: &Event) -> (Option<Uuid>, Option<&str>) {
    match &event.id {
        Some(EventId::Uuid(id)) => (Some(*id), None),
        Some(EventId::Text(key)) => (None, Some(key)),
        None => (None, None),
    }
}

/// A length as PostgreSQL counts.
pub(super) fn whole(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
