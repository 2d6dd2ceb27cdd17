//! `[postgres]`: the database.

use std::time::Duration;

use serde::Deserialize;

use super::PostgresUrl;
use super::key::{Key, Kind};
use super::units;

/// The database that keeps the history.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// Server, credentials and database. Shown only with its password masked.
    pub url: PostgresUrl,
    /// How long one attempt to connect may take.
    #[serde(deserialize_with = "units::timeout")]
    pub connect_timeout: Duration,
    /// How long one statement may take, on the server and while waiting for its answer.
    #[serde(deserialize_with = "units::timeout")]
    pub statement_timeout: Duration,
    /// Whether `run` applies pending migrations before it starts.
    pub migrate: bool,
}

pub(super) const KEYS: &[Key] = &[
    Key::secret("postgres.url", "postgres://user:password@host:5432/database").login_on_reload(),
    Key::new("postgres.connect_timeout", Kind::Duration, units::TIMEOUT),
    Key::new("postgres.statement_timeout", Kind::Duration, units::TIMEOUT),
    Key::new("postgres.migrate", Kind::Bool, ""),
];
