//! AMQP 0-9-1 basic properties and header values, with their types.

mod content;
mod json;
mod wire;

use std::collections::BTreeMap;

pub use content::Unreadable;
pub use json::{InvalidProperties, RecordedProperties};

/// The fourteen basic properties; `None` where the publisher left one out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// Encoding of the body, such as `utf-8` or `gzip`.
    pub content_encoding: Option<String>,
    /// The header table. `None` (no table) and an empty table are different on the wire, and here.
    pub headers: Option<BTreeMap<String, FieldValue>>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// Message priority.
    pub priority: Option<u8>,
    /// Correlation identifier.
    pub correlation_id: Option<String>,
    /// Address to reply to.
    pub reply_to: Option<String>,
    /// Time to live in milliseconds, as the string the publisher set.
    pub expiration: Option<String>,
    /// Message identifier.
    pub message_id: Option<String>,
    /// Publisher's timestamp in seconds since 1970; any 64-bit value occurs.
    pub timestamp: Option<u64>,
    /// Message type name (`type` on the wire).
    pub message_type: Option<String>,
    /// User name the broker checked at publish.
    pub user_id: Option<String>,
    /// Name of the publishing application.
    pub app_id: Option<String>,
    /// Deprecated by AMQP, still carried.
    pub cluster_id: Option<String>,
}

impl Properties {
    /// Bytes that they take on the wire: the payload of the content header's frame.
    #[must_use]
    pub fn wire_size(&self) -> usize {
        // Class, weight, length of the body, flags.
        const FIXED: usize = 2 + 2 + 8 + 2;
        let texts = [
            &self.content_type,
            &self.content_encoding,
            &self.correlation_id,
            &self.reply_to,
            &self.expiration,
            &self.message_id,
            &self.message_type,
            &self.user_id,
            &self.app_id,
            &self.cluster_id,
        ];
        let texts: usize = texts.into_iter().flatten().map(|text| 1 + text.len()).sum();
        let headers =
            self.headers.as_ref().map_or(0, |headers| wire::encode_table(headers.iter()).len());
        let octets =
            usize::from(self.delivery_mode.is_some()) + usize::from(self.priority.is_some());
        FIXED + texts + headers + octets + self.timestamp.map_or(0, |_| 8)
    }
}

/// A header's value with its AMQP type, one variant a field tag that RabbitMQ knows.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: value / 10^scale
    Decimal {
        /// Number of decimal digits.
        scale: u8,
        /// The unscaled value.
        value: i32,
    },
    /// `S`
    String(String),
    /// `A`
    Array(Vec<FieldValue>),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `F`
    Table(BTreeMap<String, FieldValue>),
    /// `V`
    Void,
    /// `x`
    Bytes(Vec<u8>),
}
