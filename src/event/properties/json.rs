//! Properties as JSON: readable in SQL, and reversible with every type.
//!
//! A property stands under its AMQP name; one that is absent is left out:
//!
//! ```json
//! {"content_type":"application/json","delivery_mode":2,
//!  "header_types":{"/x-retries":"I"},
//!  "headers":{"x-retries":3,"x-trace":"ab"},
//!  "message_id":"0f3c…","timestamp":1700000000,"type":"llm.prompt"}
//! ```
//!
//! `headers` holds plain values. JSON knows fewer types than AMQP, so `header_types` names, by JSON pointer
//! into `headers`, the AMQP tag of each value that has not its JSON kind's default: string `S`, boolean `t`,
//! null `V`, integer `l`, other number `d`, array `A`, object `F`. With an entry, a value reads:
//!
//! | tag | JSON |
//! |---|---|
//! | `b` `B` `s` `u` `I` `i` `T` | integer |
//! | `f` | number, the shortest text that reads back as that `f32` |
//! | `D` | number with as many decimals as its scale |
//! | `f` `d` on a string | `inf`, `-inf`, `NaN`, or `NaN:` and the bits in hexadecimal for any other NaN |
//! | `x` | string: base64 of the bytes |
//! | `S` | string: base64 of the text, which holds U+0000 |
//! | `A` `F` on a string | base64 of the value as AMQP encodes it; deeper than [`MAX_DEPTH`] or with U+0000 in a key |
//!
//! Postgres' `json` raises on U+0000, so a property with one stands, base64-encoded, under its name in an
//! object `base64`; so do the exchange and the routing key, which have columns of their own otherwise.
//! Keys are sorted: the same properties always give the same text.

/// Deepest level of `headers` written as JSON; below it tables and arrays are written as AMQP encodes them.
/// It keeps the recursion here, and that of whoever reads the JSON, small.
pub(super) const MAX_DEPTH: usize = 32;

mod identity;
mod read;
#[cfg(test)]
mod tests;
mod write;

use super::{FieldValue, Properties};
use crate::event::Delivery;

pub use read::InvalidProperties;

/// A delivery's properties as they were recorded, with what its columns cannot hold exactly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordedProperties {
    /// The properties and headers.
    pub properties: Properties,
    /// The exchange's name, if it holds U+0000.
    pub exchange: Option<String>,
    /// The routing key, if it holds U+0000.
    pub routing_key: Option<String>,
}

impl RecordedProperties {
    /// Reads what [`Delivery::properties_json`] wrote.
    ///
    /// # Errors
    /// If the text is anything else.
    pub fn from_json(json: &str) -> Result<RecordedProperties, InvalidProperties> {
        read::read(json)
    }

    /// The same as [`Delivery::identity_json`] of the delivery that was recorded.
    #[must_use]
    pub fn identity_json(&self) -> String {
        let (exchange, routing_key) = (self.exchange.as_deref(), self.routing_key.as_deref());
        write::write(&self.properties, exchange, routing_key, true)
    }
}

impl Properties {
    /// The properties as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        write::write(self, None, None, false)
    }

    /// Reads what [`Properties::to_json`] or [`Delivery::properties_json`] wrote.
    ///
    /// # Errors
    /// If the text is anything else.
    pub fn from_json(json: &str) -> Result<Properties, InvalidProperties> {
        Ok(RecordedProperties::from_json(json)?.properties)
    }
}

impl Delivery {
    /// The properties as JSON, with the exchange and the routing key where they hold U+0000.
    #[must_use]
    pub fn properties_json(&self) -> String {
        write::write(&self.properties, Some(&self.exchange), Some(&self.routing_key), false)
    }

    /// Writes [`Delivery::properties_json`] behind what is in `to`.
    pub fn write_properties_json(&self, to: &mut String) {
        let (exchange, routing_key) = (Some(&*self.exchange), Some(&*self.routing_key));
        let before = std::mem::take(to);
        *to = write::write_behind(before, &self.properties, exchange, routing_key, false);
    }

    /// [`Delivery::properties_json`] as the publisher set it: without what the broker adds when it delivers
    /// again or dead-letters (`x-death`, `x-first-death-*`, `x-last-death-*`, `x-delivery-count`,
    /// `x-acquired-count`), and with the expiration that it takes away then. Two deliveries of one message
    /// agree on it.
    #[must_use]
    pub fn identity_json(&self) -> String {
        write::write(&self.properties, Some(&self.exchange), Some(&self.routing_key), true)
    }
}
