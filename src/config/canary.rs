//! `[canary]`: a small event of the daemon's own, to see whether it comes back.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::key::{Key, Kind};
use super::rabbitmq::SHORT_STRING_MAX;
use super::units;

/// A small event of the daemon's own, to see whether it comes back.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// How often one is published, 1s to 1d; none where none is.
    #[serde(deserialize_with = "every")]
    pub every: Option<Duration>,
    /// The routing key it is published with; one of `rabbitmq.bindings` fits it.
    #[serde(deserialize_with = "routing_key")]
    pub routing_key: String,
}

/// What stands for no canary.
const OFF: &str = "off";

pub(super) const KEYS: &[Key] = &[
    Key::new("canary.every", Kind::Text, "a duration from 1s to 1d, such as \"30s\", or \"off\""),
    Key::new("canary.routing_key", Kind::Text, "a routing key of 1 to 255 bytes"),
];

fn every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim() == OFF {
        return Ok(None);
    }
    units::within(units::read_duration(&text)?, Duration::from_secs(1), units::DAY).map(Some)
}

fn routing_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let key = String::deserialize(deserializer)?;
    match key.len() {
        1..=SHORT_STRING_MAX => Ok(key),
        length => Err(de::Error::custom(format!("it is {length} bytes long"))),
    }
}
