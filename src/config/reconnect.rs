//! `[reconnect]`: how long to wait between attempts to reach either side.

use std::time::Duration;

use serde::Deserialize;

use super::key::{Key, Kind};
use super::units;

/// Capped exponential backoff with jitter, for the broker and the database alike.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconnect {
    /// The wait after the first failure; more than zero.
    #[serde(deserialize_with = "units::timeout")]
    pub initial: Duration,
    /// The longest wait; at least `initial`.
    #[serde(deserialize_with = "units::timeout")]
    pub max: Duration,
}

pub(super) const KEYS: &[Key] = &[
    Key::new("reconnect.initial", Kind::Duration, units::TIMEOUT),
    Key::new("reconnect.max", Kind::Duration, units::TIMEOUT),
];
