//! `[ledger]`: by what a later change of the history is noticed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::key::{Key, Kind};
use super::units;
use crate::ledger::KeyName;

/// By what a later change of the history is noticed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Whether what is recorded is covered by it.
    pub enabled: bool,
    /// File of the private key that signs it; none where nothing is signed.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The first line of its checkpoints; where absent, the name of the key.
    #[serde(default, deserialize_with = "origin")]
    pub origin: Option<String>,
    /// How often what was recorded is sealed, 100ms to 1h.
    #[serde(deserialize_with = "seal_every")]
    pub seal_every: Duration,
}

/// What the file of a private key holds, so that a credential is known to be one.
const PRIVATE: &str = "PRIVATE+KEY+";

pub(super) const KEYS: &[Key] = &[
    Key::new("ledger.enabled", Kind::Bool, ""),
    Key::new(
        "ledger.key_file",
        Kind::File(PRIVATE),
        "the path of a file that `bloodbank-audit keys generate` has made",
    )
    .optional(),
    Key::new(
        "ledger.origin",
        Kind::Text,
        "a name without white space, control characters and plus signs, such as \"audit.example.org/orders\"",
    )
    .optional(),
    Key::new("ledger.seal_every", Kind::Duration, "a duration from 100ms to 1h, such as \"1s\""),
];

fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(origin) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match KeyName::new(&*origin) {
        Ok(_) => Ok(Some(origin)),
        Err(_) => Err(de::Error::custom(format!("{origin:?} is no origin"))),
    }
}

fn seal_every<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let hour = Duration::from_secs(60 * 60);
    units::within(units::duration(deserializer)?, Duration::from_millis(100), hour)
}
