//! A delivery: what the broker handed over and has not yet been acknowledged.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{FieldValue, Properties};

/// The broker's number for a delivery; it means something only on the channel that delivered it.
pub type DeliveryTag = u64;

/// The header in which a quorum queue counts.
const COUNT: &str = "x-delivery-count";

/// Bytes of a delivery beside body and headers, and of the event made of it: measured, about 700.
const OVERHEAD: usize = 1024;

/// Bytes of one value of a header table beside its text: a value that takes one byte on the wire takes 32 here, as many
/// at the client, and some 30 as JSON.
const VALUE: usize = 96;
/// The same of its name.
const NAME: usize = 64;

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
    /// About how many bytes of memory it takes: the body, what of properties and headers can be large, and a kilobyte
    /// for all else.
    #[must_use]
    pub fn size(&self) -> usize {
        OVERHEAD + self.body.len() + self.properties.headers.as_ref().map_or(0, table_size)
    }

    /// How often it was delivered before, as a quorum queue counts; 0 where nobody counts. What a producer writes into
    /// that header of a message that was never delivered does not count.
    #[must_use]
    pub fn delivery_count(&self) -> u64 {
        let count = self.properties.headers.as_ref().and_then(|headers| headers.get(COUNT));
        match count {
            Some(FieldValue::I64(count)) if self.redelivered => (*count).try_into().unwrap_or(0),
            _ => 0,
        }
    }
}

fn table_size(table: &BTreeMap<String, FieldValue>) -> usize {
    table.iter().map(|(name, value)| NAME + name.len() + value_size(value)).sum()
}

fn value_size(value: &FieldValue) -> usize {
    VALUE
        + match value {
            FieldValue::String(text) => text.len(),
            FieldValue::Bytes(bytes) => bytes.len(),
            FieldValue::Array(values) => values.iter().map(value_size).sum(),
            FieldValue::Table(table) => table_size(table),
            _ => 0,
        }
}
