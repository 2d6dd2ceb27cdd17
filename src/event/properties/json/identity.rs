//! What the broker changes in a message that it delivers again or dead-letters.

use super::{FieldValue, Properties};

/// Whether the broker, not the publisher, keeps this header.
pub(super) fn is_bookkeeping(header: &str) -> bool {
    matches!(header, "x-death" | "x-delivery-count" | "x-acquired-count")
        || header.starts_with("x-first-death-")
        || header.starts_with("x-last-death-")
}

/// The expiration the message was published with: dead-lettering moves it into `x-death`, whose last entry
/// is the oldest.
pub(super) fn published_expiration(properties: &Properties) -> Option<&str> {
    if properties.expiration.is_some() {
        return properties.expiration.as_deref();
    }
    let FieldValue::Array(deaths) = properties.headers.as_ref()?.get("x-death")? else {
        return None;
    };
    deaths.iter().rev().find_map(|death| match death {
        FieldValue::Table(death) => match death.get("original-expiration") {
            Some(FieldValue::String(expiration)) => Some(expiration.as_str()),
            _ => None,
        },
        _ => None,
    })
}
