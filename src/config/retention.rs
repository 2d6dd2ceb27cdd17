//! `[retention]`: for how long history is kept, and in which pieces it goes.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::key::{Key, Kind};
use super::units;

/// For how long history is kept, and in which pieces it goes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Events older than this are dropped, a whole partition at a time, 1h to 36500d; none where everything is kept.
    #[serde(deserialize_with = "keep")]
    pub keep: Option<Duration>,
    /// The span of one partition of `audit.events`, by the daemon's time of receipt, in UTC.
    pub partition: Partition,
}

/// The span of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Partition {
    /// A day, from midnight UTC.
    #[serde(rename = "1d")]
    Day,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
}

/// What stands for no end.
const NEVER: &str = "never";

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "retention.keep",
        Kind::Text,
        "a duration from 1h to 36500d, such as \"400d\", or \"never\"",
    )
    .on_reload(),
    Key::new("retention.partition", Kind::Choice(&["1d", "1h"]), ""),
];

fn keep<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim() == NEVER {
        return Ok(None);
    }
    let keep = units::read_duration(&text)?;
    units::within(keep, Duration::from_secs(60 * 60), 36_500 * units::DAY).map(Some)
}
