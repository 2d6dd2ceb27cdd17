//! `[ingest]`: how deliveries become batches.

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};

use super::key::{Key, Kind};
use super::units;

/// How deliveries become batches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// What happens to a body that the envelope cannot understand.
    pub malformed: Malformed,
    /// Deliveries in hand without an ack, 1 to 65535: the only bound that AMQP knows.
    #[serde(deserialize_with = "prefetch")]
    pub prefetch: u16,
    /// Most events of one transaction, 1 to 10000. More than `prefetch` is allowed and never reached.
    #[serde(deserialize_with = "batch_events")]
    pub batch_events: usize,
    /// Bytes of bodies and headers after which a transaction takes no further event, 1 KiB to 256 MiB.
    #[serde(deserialize_with = "batch_bytes")]
    pub batch_bytes: ByteSize,
}

/// What happens to a malformed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Malformed {
    /// Stored byte for byte like any other, and flagged.
    Store,
    /// Rejected into the dead-letter queue, with a row that says why.
    DeadLetter,
}

pub(super) const KEYS: &[Key] = &[
    Key::new("ingest.malformed", Kind::Choice(&["store", "dead-letter"]), ""),
    Key::new("ingest.prefetch", Kind::Integer, "a whole number from 1 to 65535"),
    Key::new("ingest.batch_events", Kind::Integer, "a whole number from 1 to 10000"),
    Key::new(
        "ingest.batch_bytes",
        Kind::Size,
        "a size from 1 KiB to 256 MiB, such as \"8 MiB\" or a number of bytes",
    ),
];

fn prefetch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    units::whole(deserializer, 1, u16::MAX)
}

fn batch_events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    units::whole(deserializer, 1, 10_000)
}

fn batch_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = units::size(deserializer)?;
    if !(ByteSize::kib(1)..=ByteSize::mib(256)).contains(&size) {
        return Err(de::Error::custom("out of range"));
    }
    Ok(size)
}
