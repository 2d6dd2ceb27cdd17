//! What stands between an installation and a complete history, found before the first start or when in doubt.
//!
//! Nothing here changes anything: on the broker things are only looked for, in the database everything is one read-only
//! session, and no message is taken. Both sides are looked at beside each other and to the end: what depends on something
//! that is wrong is named as not looked at, and the rest goes on. Every step is bounded by the time that one attempt to
//! connect may take.

mod broker;
mod certificates;
mod database;
mod disk;
mod files;
mod finding;
mod network;
mod shell;

use std::{path::PathBuf, time::Duration};

pub use files::{LedgerKey, SecretFile};
pub use finding::{Area, Finding, Verdict};

use crate::{broker as amqp, store};

/// What is looked at.
pub struct Setup {
    /// Files of the configuration that hold passwords.
    pub secrets: Vec<SecretFile>,
    /// Passwords that stand on the command line, by their keys.
    pub shown: Vec<String>,
    /// The key that signs the ledger, where one does.
    pub ledger_key: Option<LedgerKey>,
    /// Where log files go, where they do.
    pub log_directory: Option<PathBuf>,
    /// How the daemon reaches the broker, and what it needs there.
    pub broker: amqp::Settings,
    /// The broker's management interface, where it may be asked.
    pub management: Option<amqp::ManagementAddress>,
    /// Whether the daemon publishes canaries to the exchange.
    pub canaries: bool,
    /// How long the daemon takes the broker to let it hold a delivery.
    pub consumer_timeout: Duration,
    /// How the daemon reaches the database.
    pub store: store::Settings,
    /// Whether the daemon applies what is missing of the schema.
    pub migrates: bool,
}

/// What goes over a network as plain text, and what to do about it, for both sides. A name that nobody knows is asked for at
/// most as long as one attempt to connect may take, and nothing is said of it.
pub async fn plain_text(broker: &amqp::Settings, database: &store::Settings) -> Vec<Finding> {
    let (broker, database) =
        tokio::join!(broker::plain_text(broker), database::plain_text(database));
    let of_all = broker.into_iter().chain(database);
    of_all.filter(|finding| finding.verdict == Verdict::Warning).collect()
}

/// Looks at all of it. The findings come in the order of the areas, and in each in that of dependence.
pub async fn check(setup: &Setup) -> Vec<Finding> {
    let (broker, database) = tokio::join!(broker::check(setup), database::check(setup));
    let mut findings = files::check(setup);
    findings.extend(broker);
    findings.extend(database);
    findings
}
