//! What was found wrong with a delivery.

use std::fmt;

/// Something about a delivery that kept a column empty, its body out of a `json` column, or both.
///
/// A defect never loses data: the delivery is stored byte for byte all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// The body is empty where the envelope expects JSON. Malformed.
    EmptyBody,
    /// The body is not UTF-8 where the envelope expects JSON. Malformed.
    InvalidUtf8,
    /// The body is UTF-8, but not JSON where the envelope expects it. Malformed.
    InvalidJson,
    /// The body is JSON, but not an object where the envelope expects one. Malformed.
    NotAnObject,
    /// A string or key of the JSON body holds `\u0000`, on which `->>` raises. Kept as bytes.
    NulEscape,
    /// A string or key of the JSON body holds half a surrogate pair, on which `->>` raises. Kept as bytes.
    LoneSurrogate,
    /// The JSON body nests deeper than [`Event::MAX_JSON_DEPTH`](super::Event::MAX_JSON_DEPTH). Kept as bytes.
    TooDeep,
    /// The JSON body is larger than [`Event::MAX_JSON_BYTES`](super::Event::MAX_JSON_BYTES). Kept as bytes.
    TooLarge,
    /// The event id is not a uuid where the envelope expects one. Kept as text.
    EventIdNotAUuid,
    /// A value stands where the event id should, and cannot be one: its type is wrong, it is too long, or it
    /// holds U+0000 or half a surrogate pair.
    EventIdUnusable,
    /// A value stands where the event type should, and cannot be one.
    EventTypeUnusable,
    /// A value stands where the event time should, and is not a time with a date.
    EventTimeUnreadable,
    /// The event time lies outside the years 0000 to 9999.
    EventTimeOutOfRange,
    /// A value stands where the source should, and cannot be one.
    SourceUnusable,
    /// Some correlation ids were left out: of the wrong type, too long, or too many.
    CorrelationIdsUnusable,
    /// The exchange's name or the routing key holds U+0000; see [`column_text`](super::column_text).
    NulInAddress,
    /// It says that it is a replay, and is none on record, or not of a stored event with these bytes.
    NotAReplay,
}

impl Defect {
    /// Its name as stored; names never change.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Defect::EmptyBody => "empty-body",
            Defect::InvalidUtf8 => "invalid-utf8",
            Defect::InvalidJson => "invalid-json",
            Defect::NotAnObject => "not-an-object",
            Defect::NulEscape => "nul-escape",
            Defect::LoneSurrogate => "lone-surrogate",
            Defect::TooDeep => "too-deep",
            Defect::TooLarge => "too-large",
            Defect::EventIdNotAUuid => "event-id-not-a-uuid",
            Defect::EventIdUnusable => "event-id-unusable",
            Defect::EventTypeUnusable => "event-type-unusable",
            Defect::EventTimeUnreadable => "event-time-unreadable",
            Defect::EventTimeOutOfRange => "event-time-out-of-range",
            Defect::SourceUnusable => "source-unusable",
            Defect::CorrelationIdsUnusable => "correlation-ids-unusable",
            Defect::NulInAddress => "nul-in-address",
            Defect::NotAReplay => "not-a-replay",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
