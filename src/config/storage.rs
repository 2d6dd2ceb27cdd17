//! `[storage]`: how history is laid out in the database.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::key::{Key, Kind};
use super::units;

/// How history is laid out in the database.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// Partitions kept ready beyond the present one, 1 to 1000.
    #[serde(deserialize_with = "partitions_ahead")]
    pub partitions_ahead: u32,
    /// How long into a new partition the one before is probed for duplicates, 0s to 365d. A `redelivered`
    /// event probes it at any time.
    #[serde(deserialize_with = "dedupe_overlap")]
    pub dedupe_overlap: Duration,
    /// The name of this daemon in `audit.coverage`; where absent, that of its machine.
    #[serde(default)]
    pub instance: Option<String>,
}

pub(super) const KEYS: &[Key] = &[
    Key::new("storage.partitions_ahead", Kind::Integer, "a whole number from 1 to 1000"),
    Key::new(
        "storage.dedupe_overlap",
        Kind::Duration,
        "a duration from 0s to 365d, such as \"2h\"",
    ),
    Key::new("storage.instance", Kind::Text, "a name, such as \"audit-1\"").optional(),
];

fn partitions_ahead<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    units::whole(deserializer, 1, 1_000)
}

fn dedupe_overlap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    units::within(units::duration(deserializer)?, Duration::ZERO, 365 * units::DAY)
}
