//! `[http]`: where health, status and metrics are served.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de};

use super::key::{Key, Kind};

/// Where health, status and metrics are served.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The address to listen at; none where nothing is served.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
}

/// What stands for no address.
const OFF: &str = "off";

pub(super) const KEYS: &[Key] = &[Key::new(
    "http.listen",
    Kind::Text,
    "an IP address with its port, such as \"127.0.0.1:9465\" or \"[::1]:9465\", or \"off\"",
)];

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.trim() {
        OFF => Ok(None),
        address => address
            .parse()
            .map(Some)
            .map_err(|_| de::Error::custom(format!("{address:?} is no address with a port"))),
    }
}
