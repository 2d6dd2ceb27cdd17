//! `[ledger]`: by what a later change of the history is noticed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::WebhookUrl;
use super::key::{Key, Kind};
use super::rabbitmq::SHORT_STRING_MAX;
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
    #[serde(deserialize_with = "to_an_hour")]
    pub seal_every: Duration,
    /// A file to which checkpoints are appended; none where they are not.
    #[serde(default, deserialize_with = "checkpoint_file")]
    pub checkpoint_file: Option<PathBuf>,
    /// Whether checkpoints are logged.
    pub checkpoint_log: bool,
    /// An exchange to which checkpoints are published; none where they are not.
    #[serde(default, deserialize_with = "checkpoint_exchange")]
    pub checkpoint_exchange: Option<String>,
    /// Where checkpoints are posted; nowhere where there is none. Shown only as far as it is no secret.
    #[serde(default)]
    pub checkpoint_webhook: Option<WebhookUrl>,
    /// How often at most the newest checkpoint goes out, 100ms to 1h.
    #[serde(deserialize_with = "to_an_hour")]
    pub checkpoint_every: Duration,
    /// How old a seal may be that is in no checkpoint outside, 1s to 7d; longer than `checkpoint_every`.
    #[serde(deserialize_with = "export_within")]
    pub export_within: Duration,
}

impl Ledger {
    /// The keys by which checkpoints go out, those that are set.
    pub(super) fn sinks(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.checkpoint_file.is_some(), "ledger.checkpoint_file"),
            (self.checkpoint_log, "ledger.checkpoint_log"),
            (self.checkpoint_exchange.is_some(), "ledger.checkpoint_exchange"),
            (self.checkpoint_webhook.is_some(), "ledger.checkpoint_webhook"),
        ]
        .into_iter()
        .filter_map(|(set, key)| set.then_some(key))
    }
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
    Key::new("ledger.checkpoint_file", Kind::Text, "the path of a file, from / on").optional(),
    Key::new("ledger.checkpoint_log", Kind::Bool, ""),
    Key::new("ledger.checkpoint_exchange", Kind::Text, "the name of an exchange, 1 to 255 bytes")
        .optional(),
    Key::secret("ledger.checkpoint_webhook", "https://host/path, or http://").optional(),
    Key::new(
        "ledger.checkpoint_every",
        Kind::Duration,
        "a duration from 100ms to 1h, such as \"10s\"",
    ),
    Key::new("ledger.export_within", Kind::Duration, "a duration from 1s to 7d, such as \"10m\""),
];

fn origin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(origin) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match KeyName::new(&*origin) {
        Ok(_) => Ok(Some(origin)),
        Err(_) => Err(de::Error::custom(format!("{origin:?} is no origin"))),
    }
}

fn to_an_hour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let hour = Duration::from_secs(60 * 60);
    units::within(units::duration(deserializer)?, Duration::from_millis(100), hour)
}

fn export_within<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    units::within(units::duration(deserializer)?, Duration::from_secs(1), 7 * units::DAY)
}

/// The daemon's own folder is nobody's business.
fn checkpoint_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path = Option::<PathBuf>::deserialize(deserializer)?;
    match path {
        Some(path) if !path.is_absolute() => {
            Err(de::Error::custom(format!("{} does not begin with /", path.display())))
        }
        path => Ok(path),
    }
}

fn checkpoint_exchange<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match name.len() {
        1..=SHORT_STRING_MAX => Ok(Some(name)),
        length => Err(de::Error::custom(format!("it is {length} bytes long"))),
    }
}
