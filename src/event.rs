//! What an event is: a delivery understood. Pure: bytes in, values out, no I/O, no failure on shape.

mod body;
mod canary;
mod clock;
mod column;
pub mod death;
mod defect;
mod delivery;
mod envelope;
mod properties;
mod rejection;
pub mod replayed;
mod scan;
#[cfg(test)]
mod tests;
mod timestamp;
mod topic;

use time::OffsetDateTime;
use uuid::Uuid;

pub use body::BodyForm;
pub use canary::Canary;
pub use clock::{now, rfc3339};
pub use column::column_text;
pub use death::Death;
pub use defect::Defect;
pub use delivery::{Delivery, DeliveryTag};
pub use envelope::{Envelope, Expects, InvalidSelector, Overrides, Preset, PropertyName, Selector};
pub use properties::{FieldValue, InvalidProperties, Properties, RecordedProperties, Unreadable};
pub use rejection::{Reason, Rejection};
pub use replayed::header_text;
pub use topic::topic_matches;

/// A delivery understood: the message itself, and what its envelope says about it.
///
/// Every field beyond the delivery is derived from the delivery alone. What the message does not say is
/// `None` or empty, never invented.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The message as the broker handed it over.
    pub delivery: Delivery,
    /// The publisher's identifier of the event.
    pub id: Option<EventId>,
    /// What happened, such as `llm.prompt`; at most [`Event::MAX_TEXT`] bytes.
    pub event_type: Option<String>,
    /// When it happened by the publisher's clock, in whole microseconds, years 0000 to 9999, in UTC.
    pub event_time: Option<OffsetDateTime>,
    /// Who produced it; at most [`Event::MAX_TEXT`] bytes.
    pub source: Option<String>,
    /// Identifiers of the events it follows from, in order, without repeats; at most
    /// [`Event::MAX_CORRELATION_IDS`] of at most [`Event::MAX_ID`] bytes each. Uuids are in lower case with hyphens, the
    /// others verbatim.
    pub correlation_ids: Vec<String>,
    /// Which kind of column can hold the body.
    pub body_form: BodyForm,
    /// The body is not what the envelope expects of every body.
    pub malformed: bool,
    /// What stood in the way of columns or of the body's form, sorted, each at most once.
    pub defects: Vec<Defect>,
}

/// The publisher's identifier of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventId {
    /// A uuid in any of its spellings: hyphenated, bare, braced or as a URN.
    Uuid(Uuid),
    /// Any other identifier, verbatim; not empty, without U+0000, at most [`Event::MAX_ID`] bytes.
    Text(String),
}

/// Bytes of one correlation id beside its text: its place in the list, and its block of memory.
const CORRELATION_ID: usize = 64;

impl Event {
    /// Longest event id and correlation id, in bytes. Event ids are indexed, and a btree entry ends near 2,700.
    pub const MAX_ID: usize = 512;
    /// Longest event type and source, in bytes.
    pub const MAX_TEXT: usize = 1024;
    /// Most correlation ids kept of one event.
    pub const MAX_CORRELATION_IDS: usize = 1000;
    /// Deepest nesting of a [`BodyForm::Json`] body.
    pub const MAX_JSON_DEPTH: usize = 512;
    /// Largest [`BodyForm::Json`] body, in bytes: a quarter of what a Postgres field can hold at all.
    pub const MAX_JSON_BYTES: usize = 256 << 20;

    /// About how many bytes of memory it takes: its delivery, and the correlation ids. A thousand short ones take ten
    /// times their body.
    #[must_use]
    pub fn size(&self) -> usize {
        let ids = self.correlation_ids.iter().map(|id| CORRELATION_ID + id.len());
        self.delivery.size() + ids.sum::<usize>()
    }

    /// Understands a delivery by the rules of `envelope`. Total: no input fails or panics.
    ///
    /// A body that is not what the envelope expects makes an event malformed, unless its id stood in a
    /// header: then the envelope is in the headers, and the body may be anything.
    #[must_use]
    pub fn from_delivery(delivery: Delivery, envelope: &Envelope) -> Event {
        let mut defects = Vec::new();
        let body = delivery.body.as_slice();
        let scanned = scan::scan(body, envelope.paths());
        let fields = envelope.extract(&delivery, scanned.as_ref().ok(), &mut defects);
        let body_form = body::form(body, &scanned, &mut defects);
        let malformed = if fields.id_in_header {
            None
        } else {
            body::malformed(body, &scanned, envelope.expects())
        };
        defects.extend(malformed);
        if delivery.exchange.contains('\0') || delivery.routing_key.contains('\0') {
            defects.push(Defect::NulInAddress);
        }
        defects.sort_unstable();
        defects.dedup();
        Event {
            id: fields.id,
            event_type: fields.event_type,
            event_time: fields.event_time,
            source: fields.source,
            correlation_ids: fields.correlation_ids,
            body_form,
            malformed: malformed.is_some(),
            defects,
            delivery,
        }
    }
}
