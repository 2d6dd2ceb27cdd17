//! Configuration: one value for each setting, and where it came from.
//!
//! Lowest first: the embedded `config/bloodbank-audit.toml`, the file, `.env`, the environment,
//! systemd's credentials, the flags.
//! Everything wrong is found at load, before any port is touched, and reported together ([`ConfigError`]).
//! A [`Config`] that exists is valid in itself; whether a broker or a database answers is another matter.

use serde::Deserialize;

mod access_log;
mod amqp_url;
mod canary;
mod check;
mod effective;
mod envelope;
mod environment;
mod file;
mod flags;
mod http;
mod ingest;
mod key;
mod layers;
mod ledger;
mod load;
mod log;
mod management_url;
mod postgres;
mod postgres_url;
mod problem;
mod rabbitmq;
mod reconnect;
mod reload;
mod retention;
mod secret;
mod secret_file;
mod secrets;
mod shutdown;
mod storage;
mod units;
mod webhook_url;

pub use access_log::AccessLog;
pub use amqp_url::{AmqpUrl, AmqpUrlError};
pub use canary::Canary;
pub use envelope::Envelope;
pub use environment::Environment;
pub use flags::Flags;
pub use http::Http;
pub use ingest::{Ack, Ingest, Malformed};
pub(crate) use key::closest;
pub use ledger::Ledger;
pub use load::Loaded;
pub use log::{Log, LogFormat, Rotation};
pub use management_url::{ManagementUrl, ManagementUrlError};
pub use postgres::Postgres;
pub use postgres_url::{PostgresUrl, PostgresUrlError};
pub use problem::ConfigError;
pub use rabbitmq::{Auth, Declare, QueueType, RabbitMq};
pub use reconnect::Reconnect;
pub use reload::Changes;
pub use retention::{Partition, Retention};
pub use secret::{Secret, redact};
pub use secrets::Passwords;
pub use shutdown::Shutdown;
pub use storage::Storage;
pub use webhook_url::{WebhookUrl, WebhookUrlError};

/// The commented file that ships with the daemon: every key, its meaning and its default.
///
/// It is the only place where a default is written; the keys without one stand in it commented out.
pub const DEFAULTS: &str = include_str!("../config/bloodbank-audit.toml");

/// The file that is read when `--config` names no other, if it exists.
pub const DEFAULT_FILE: &str = "/etc/bloodbank-audit/config.toml";

/// The effective configuration, each section valid in itself and against the others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The bus: where it is and what is declared on it.
    pub rabbitmq: RabbitMq,
    /// The database.
    pub postgres: Postgres,
    /// How deliveries become batches.
    pub ingest: Ingest,
    /// Where in a message the columns of an event are found.
    pub envelope: Envelope,
    /// How history is laid out in the database.
    pub storage: Storage,
    /// For how long it is kept.
    pub retention: Retention,
    /// What of reading leaves a trace.
    pub access_log: AccessLog,
    /// By what a later change of it is noticed.
    pub ledger: Ledger,
    /// How long to wait between attempts to reach either side.
    pub reconnect: Reconnect,
    /// How a stop is bounded.
    pub shutdown: Shutdown,
    /// A small event of the daemon's own, to see whether it comes back.
    pub canary: Canary,
    /// Where health, status and metrics are served.
    pub http: Http,
    /// What is logged, and where to.
    pub log: Log,
}
