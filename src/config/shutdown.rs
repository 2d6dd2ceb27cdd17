//! `[shutdown]`: how a stop is bounded.

use std::time::Duration;

use serde::Deserialize;

use super::key::{Key, Kind};
use super::units;

/// How a stop is bounded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How long what is in hand may take to commit and be acked after the first signal. What is left then
    /// stays with the broker.
    #[serde(deserialize_with = "units::timeout")]
    pub grace: Duration,
}

pub(super) const KEYS: &[Key] = &[Key::new("shutdown.grace", Kind::Duration, units::TIMEOUT)];
