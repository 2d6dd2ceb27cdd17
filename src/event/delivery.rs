//! A delivery: what the broker handed over and has not yet been acknowledged.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{FieldValue, Properties};

/// The broker's number for a delivery; it means something only on the channel that delivered it.
pub type DeliveryTag = u64;

/// One message as the broker handed it over.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Counted by the broker from 1 on each channel, without gaps.
    pub tag: DeliveryTag,
    /// The broker's flag: this message may have been delivered before.
    pub redelivered: bool,
    /// Name of the exchange it was published to; empty for the default exchange.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Properties and headers as the client decoded them.
    pub properties: Properties,
    /// The message body, byte for byte.
    pub body: Vec<u8>,
    /// When this process took it over, by its own clock, in whole microseconds (what Postgres keeps).
    pub received_at: OffsetDateTime,
}

impl Delivery {
    /// About how many bytes it takes: the body, and what of properties and headers can be large.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + self.properties.headers.as_ref().map_or(0, table_size)
    }
}

/// The names and values of a header table, each with a few bytes for its type and length.
fn table_size(table: &BTreeMap<String, FieldValue>) -> usize {
    table.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &FieldValue) -> usize {
    8 + match value {
        FieldValue::String(text) => text.len(),
        FieldValue::Bytes(bytes) => bytes.len(),
        FieldValue::Array(values) => values.iter().map(value_size).sum(),
        FieldValue::Table(table) => table_size(table),
        _ => 0,
    }
}
