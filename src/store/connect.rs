//! Connections to PostgreSQL, and what is asked of a server before anything is written to it.

use std::{path::PathBuf, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

use url::form_urlencoded;

use super::{Fault, partitions::Plan};
use crate::certificates::Certificate;

/// Oldest server the SQL here is written for: 15.
const OLDEST_SERVER: i32 = 150_000;

/// How to reach the database, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is, as whom; from [`options`].
    pub options: Options,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// Whether new partitions span an hour instead of a day.
    pub hourly: bool,
    /// How many partitions are made ahead.
    pub partitions_ahead: u32,
    /// How long into a new partition the one before is searched for duplicates.
    pub dedupe_overlap: Duration,
    /// How long after it was received an event may come again because its acknowledgement was lost: for how long the
    /// broker lets a consumer hold a delivery.
    pub redelivered_within: Duration,
    /// How many bytes of a rejected body are kept, from its start.
    pub rejected_body: usize,
}

/// How a database is connected to.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) server: PgConnectOptions,
    /// PEM file of our own certificate, where there is one.
    certificate: Option<PathBuf>,
}

/// How to connect to the database at `url`.
///
/// # Errors
/// A [`Fault`] that says what is wrong with the URL, without its password.
pub fn options(url: &str) -> Result<Options, Fault> {
    let server = PgConnectOptions::from_str(url).map_err(Fault::from)?;
    Ok(Options {
        server: match server.get_application_name() {
            Some(_) => server,
            None => server.application_name("bloodbank-audit"),
        }
        .disable_statement_logging(),
        certificate: certificate(url),
    })
}

/// Where the file of the client certificate is, which sqlx does not tell.
fn certificate(url: &str) -> Option<PathBuf> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, value) = pairs.find(|(name, _)| ["sslcert", "ssl-cert"].contains(&&**name))?;
    Some(PathBuf::from(&*value))
}

impl Settings {
    /// How new partitions are made.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            granularity: if self.hourly { "hourly" } else { "daily" },
            ahead: i32::try_from(self.partitions_ahead).unwrap_or(i32::MAX),
        }
    }

    /// Which server and database, for whoever has to look after it.
    fn server(&self) -> String {
        let options = &self.options.server;
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(socket) => format!("PostgreSQL at {} (database '{database}')", socket.display()),
            None => {
                let (host, port) = (options.get_host(), options.get_port());
                format!("PostgreSQL at {host}:{port} (database '{database}')")
            }
        }
    }

    /// Our own certificate, where there is one that can be read.
    #[must_use]
    pub fn own_certificate(&self) -> Option<Certificate> {
        Certificate::of_file(self.options.certificate.as_deref()?).ok()
    }

    /// What it means that a connection could not be opened.
    pub(super) fn unopened(&self, error: sqlx::Error) -> Fault {
        let own = self.own_certificate();
        // A path that is not there may be that of a socket.
        match (&error, self.address().socket) {
            (sqlx::Error::Io(cause), Some(_)) => {
                Fault::unavailable(format!("{} cannot be reached: {cause}", self.server()))
            }
            _ => Fault::of_opening(&self.server(), own.as_ref(), error),
        }
    }

    /// Connects, and checks that the server can keep the guarantees.
    pub(super) async fn connect(&self, statement_timeout: Duration) -> Result<PgConnection, Fault> {
        let opening = async {
            let mut connection = PgConnection::connect_with(&self.options.server)
                .await
                .map_err(|error| self.unopened(error))?;
            prepare_session(&mut connection, statement_timeout).await?;
            Ok(connection)
        };
        tokio::time::timeout(self.connect_timeout, opening).await.unwrap_or_else(|_| {
            Err(Fault::unavailable(format!(
                "{} does not answer within {}",
                self.server(),
                humantime::format_duration(self.connect_timeout)
            )))
        })
    }
}

/// Refuses a server on which bytes would be converted or SQL is missing, and sets what this session relies on where
/// the database's defaults are others. Settings are set here, not in the startup packet, which poolers refuse.
///
/// A transaction of a daemon that has gone silent ends by itself: its rows are in the way of whoever stores the same
/// events meanwhile. Nothing but answers is asked for: what a trigger says of each row nobody reads while rows are copied,
/// so that both sides could wait for each other.
async fn prepare_session(
    connection: &mut PgConnection,
    statement_timeout: Duration,
) -> Result<(), Fault> {
    let row: PgRow = sqlx::query(
        "select current_setting('server_encoding'), current_setting('server_version_num')::int4,
                set_config('statement_timeout', $1, false),
                set_config('idle_in_transaction_session_timeout', $1, false),
                set_config('lock_timeout', '0', false),
                set_config('client_min_messages', 'error', false),
                set_config('default_transaction_isolation', 'read committed', false),
                case when current_setting('synchronous_commit') = 'off'
                     then set_config('synchronous_commit', 'on', false) end",
    )
    .bind(format!("{}ms", statement_timeout.as_millis()))
    .fetch_one(connection)
    .await?;
    let encoding: String = row.try_get(0)?;
    if encoding != "UTF8" {
        return Err(Fault::misconfigured(format!(
            "the database's encoding is {encoding}, and bodies are kept byte for byte only in UTF8: create the \
             database with `create database … encoding 'UTF8' template template0`"
        )));
    }
    let version: i32 = row.try_get(1)?;
    if version < OLDEST_SERVER {
        return Err(Fault::misconfigured(format!(
            "PostgreSQL 15 or later is needed; this server is {}.{}",
            version / 10_000,
            version % 10_000
        )));
    }
    Ok(())
}
