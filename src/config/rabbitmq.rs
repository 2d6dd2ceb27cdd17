//! `[rabbitmq]`: the bus, and what the daemon declares on it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use tokio_rustls::rustls::pki_types::ServerName;

use super::AmqpUrl;
use super::ManagementUrl;
use super::key::{Key, Kind};
use super::units;

/// The longest AMQP short string, in bytes: exchanges, queues, routing keys and vhosts are such.
pub(super) const SHORT_STRING_MAX: usize = 255;

/// The bus: where it is and what is declared on it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMq {
    /// Broker, credentials and vhost. Shown only with its password masked.
    pub url: AmqpUrl,
    /// The management interface of that broker, where it may be asked. Shown only with its password masked.
    #[serde(default)]
    pub management_url: Option<ManagementUrl>,
    /// The topic exchange whose every event is recorded.
    #[serde(deserialize_with = "name")]
    pub exchange: String,
    /// The daemon's own durable queue.
    #[serde(deserialize_with = "own_name")]
    pub queue: String,
    /// What kind of queue that is.
    pub queue_type: QueueType,
    /// Binding patterns between the two; never empty.
    #[serde(deserialize_with = "bindings")]
    pub bindings: Vec<String>,
    /// The exchange that receives what cannot be stored; differs from `exchange`.
    #[serde(deserialize_with = "own_name")]
    pub dead_letter_exchange: String,
    /// The queue bound to it; differs from `queue`.
    #[serde(deserialize_with = "own_name")]
    pub dead_letter_queue: String,
    /// After how many redeliveries a quorum queue dead-letters a message by itself.
    #[serde(deserialize_with = "delivery_limit")]
    pub delivery_limit: u32,
    /// How long the broker lets a consumer hold a delivery: its `consumer_timeout`. Deliveries that cannot be stored go
    /// back after half of it.
    #[serde(deserialize_with = "consumer_timeout")]
    pub consumer_timeout: Duration,
    /// Whether the daemon creates these or only verifies them.
    pub declare: Declare,
    /// AMQP heartbeat: whole seconds, 2 to 65535. The client burns CPU at one second.
    #[serde(deserialize_with = "heartbeat")]
    pub heartbeat: Duration,
    /// How long TCP, TLS and the AMQP handshake may take together.
    #[serde(deserialize_with = "units::timeout")]
    pub connect_timeout: Duration,
    /// PEM file of the authorities trusted for `amqps`; the system's roots where absent.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file of the client certificate for `amqps`, with what lies between it and its authority; needs its key.
    #[serde(default)]
    pub tls_client_cert: Option<PathBuf>,
    /// PEM file of that certificate's private key.
    #[serde(default)]
    pub tls_client_key: Option<PathBuf>,
    /// The name to ask for and to find in the broker's certificate; the host of `url` where absent.
    #[serde(default, deserialize_with = "server_name")]
    pub tls_server_name: Option<String>,
    /// How to log in.
    pub auth: Auth,
}

/// How the daemon proves to the broker who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// By the user and the password of the URL.
    Plain,
    /// By the client certificate, which names the user.
    External,
}

/// What kind of queue the daemon declares for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueType {
    /// Replicated, counts redeliveries, drains a backlog two to four times faster.
    Quorum,
    /// The older kind.
    Classic,
}

/// Whether the daemon may change the broker's topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Declare {
    /// Declare what is missing; needs the configure permission.
    Create,
    /// Only verify that everything is there; needs no configure permission.
    Verify,
}

pub(super) const KEYS: &[Key] = &[
    Key::secret("rabbitmq.url", "amqp://user:password@host:5672/vhost, or amqps:// for TLS")
        .login_on_reload(),
    Key::secret("rabbitmq.management_url", "http://user:password@host:15672, or https:// for TLS")
        .optional()
        .in_commands(),
    Key::new("rabbitmq.exchange", Kind::Text, NAME),
    Key::new("rabbitmq.queue", Kind::Text, OWN_NAME),
    Key::new("rabbitmq.queue_type", Kind::Choice(&["quorum", "classic"]), ""),
    Key::new(
        "rabbitmq.bindings",
        Kind::List,
        "at least one binding pattern of 1 to 255 bytes, such as [\"#\"]",
    ),
    Key::new("rabbitmq.dead_letter_exchange", Kind::Text, OWN_NAME),
    Key::new("rabbitmq.dead_letter_queue", Kind::Text, OWN_NAME),
    Key::new("rabbitmq.delivery_limit", Kind::Integer, "a whole number from 2 to 1000000"),
    Key::new(
        "rabbitmq.consumer_timeout",
        Kind::Duration,
        "a duration from 1s to 365d, such as \"30m\"",
    ),
    Key::new("rabbitmq.declare", Kind::Choice(&["create", "verify"]), ""),
    Key::new("rabbitmq.heartbeat", Kind::Duration, "whole seconds from 2s to 65535s"),
    Key::new("rabbitmq.connect_timeout", Kind::Duration, units::TIMEOUT),
    Key::new("rabbitmq.tls_ca_file", Kind::File(PEM_BEGINS), PEM).optional(),
    Key::new("rabbitmq.tls_client_cert", Kind::File(PEM_BEGINS), PEM).optional(),
    Key::new("rabbitmq.tls_client_key", Kind::File(PEM_BEGINS), PEM).optional(),
    Key::new("rabbitmq.tls_server_name", Kind::Text, "a host name or an IP address").optional(),
    Key::new("rabbitmq.auth", Kind::Choice(&["plain", "external"]), ""),
];

const PEM: &str = "the path of a PEM file";
const PEM_BEGINS: &str = "-----BEGIN ";
const NAME: &str = "a name of 1 to 255 bytes";
const OWN_NAME: &str = "a name of 1 to 255 bytes that does not start with \"amq.\"";

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    short_string("the name", &name).map_err(de::Error::custom)?;
    Ok(name)
}

/// A name that the daemon declares: the broker keeps `amq.` for itself and closes the channel over it.
fn own_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = name(deserializer)?;
    if name.starts_with("amq.") {
        return Err(de::Error::custom("names starting with \"amq.\" are reserved by the broker"));
    }
    Ok(name)
}

fn server_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match ServerName::try_from(name.as_str()) {
        Ok(_) => Ok(Some(name)),
        Err(_) => Err(de::Error::custom("it is neither a host name nor an IP address")),
    }
}

fn bindings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let bindings = Vec::<String>::deserialize(deserializer)?;
    if bindings.is_empty() {
        return Err(de::Error::custom("the list is empty, nothing would be recorded"));
    }
    for binding in &bindings {
        short_string("a pattern", binding).map_err(de::Error::custom)?;
    }
    Ok(bindings)
}

fn delivery_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    units::whole(deserializer, 2, 1_000_000)
}

fn consumer_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    units::within(units::duration(deserializer)?, Duration::from_secs(1), 365 * units::DAY)
}

fn heartbeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let heartbeat = units::duration(deserializer)?;
    if heartbeat.subsec_nanos() != 0 {
        return Err(de::Error::custom("not a whole number of seconds"));
    }
    units::within(heartbeat, Duration::from_secs(2), Duration::from_secs(u16::MAX.into()))
}

fn short_string(what: &str, text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err(format!("{what} is empty")),
        1..=SHORT_STRING_MAX => Ok(()),
        length => {
            Err(format!("{what} is {length} bytes long, the longest in AMQP is {SHORT_STRING_MAX}"))
        }
    }
}
