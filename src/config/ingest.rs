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
    /// Largest body that is stored as an event, 1 KiB to 512 MiB; a larger one is rejected.
    #[serde(deserialize_with = "max_body")]
    pub max_body: ByteSize,
    /// How much of a rejected body is kept with its reason, from its start, up to 512 MiB.
    #[serde(deserialize_with = "rejected_body")]
    pub rejected_body: ByteSize,
    /// Most deliveries in hand without an ack, 1 to 65535: the only bound that AMQP knows.
    #[serde(deserialize_with = "prefetch")]
    pub prefetch: u16,
    /// Most bytes of deliveries in hand, 64 MiB to 1 TiB. There are fewer of them where they are large.
    #[serde(deserialize_with = "memory")]
    pub memory: ByteSize,
    /// Most events of one transaction, 1 to 10000. More than `prefetch` is allowed and never reached.
    #[serde(deserialize_with = "batch_events")]
    pub batch_events: usize,
    /// Bytes of bodies, headers and correlation ids after which a transaction takes no further event, 1 KiB to 256 MiB.
    #[serde(deserialize_with = "batch_bytes")]
    pub batch_bytes: ByteSize,
    /// When a message is acknowledged.
    pub ack: Ack,
}

/// When a message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ack {
    /// When it is committed.
    Committed,
    /// When it is in a signed checkpoint besides that every sink has taken.
    Sealed,
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
    Key::new(
        "ingest.max_body",
        Kind::Size,
        "a size from 1 KiB to 512 MiB, such as \"32 MiB\" or a number of bytes",
    ),
    Key::new(
        "ingest.rejected_body",
        Kind::Size,
        "a size from 0 to 512 MiB, such as \"1 MiB\" or a number of bytes",
    ),
    Key::new("ingest.prefetch", Kind::Integer, "a whole number from 1 to 65535"),
    Key::new("ingest.memory", Kind::Size, "a size from 64 MiB to 1 TiB, such as \"128 MiB\""),
    Key::new("ingest.batch_events", Kind::Integer, "a whole number from 1 to 10000"),
    Key::new(
        "ingest.batch_bytes",
        Kind::Size,
        "a size from 1 KiB to 256 MiB, such as \"8 MiB\" or a number of bytes",
    ),
    Key::new("ingest.ack", Kind::Choice(&["committed", "sealed"]), ""),
];

fn prefetch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    units::whole(deserializer, 1, u16::MAX)
}

fn batch_events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    units::whole(deserializer, 1, 10_000)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    size_within(deserializer, ByteSize::mib(64), ByteSize::tib(1))
}

fn batch_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    size_within(deserializer, ByteSize::kib(1), ByteSize::mib(256))
}

/// PostgreSQL takes no value, and no array of values, of 1 GiB.
const MAX_BODY: ByteSize = ByteSize::mib(512);

fn max_body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    size_within(deserializer, ByteSize::kib(1), MAX_BODY)
}

fn rejected_body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    size_within(deserializer, ByteSize::b(0), MAX_BODY)
}

fn size_within<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: ByteSize,
    most: ByteSize,
) -> Result<ByteSize, D::Error> {
    let size = units::size(deserializer)?;
    if !(least..=most).contains(&size) {
        return Err(de::Error::custom("out of range"));
    }
    Ok(size)
}
