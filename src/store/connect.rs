//! Connections to PostgreSQL, and what is asked of a server before anything is written to it.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow},
};

use tracing::warn;
use url::form_urlencoded;

use super::{DatabaseAddress, Fault, partitions::Plan};
use crate::{
    certificates::Certificate,
    hosts::{Hosts, SESSION, without},
    ledger::KeyFile,
    shared::Shared,
};

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
    /// What the ledger adds to what is stored; none where it is off.
    pub ledger: Option<Ledger>,
}

/// What the ledger adds to what is stored.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// What headers, acts and checkpoints are signed with; nothing is signed without.
    pub key: Option<Arc<KeyFile>>,
    /// The first line of checkpoints; without, it is the key's name.
    pub origin: Option<String>,
}

impl Ledger {
    /// The first line of its checkpoints; none where nothing is signed.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let key = self.key.as_ref()?;
        Some(self.origin.clone().unwrap_or_else(|| key.signer().verifier().name().to_string()))
    }

    /// The signature of these bytes and the id of its key; neither where there is no key.
    pub(super) fn sign(&self, data: &[u8]) -> (Option<Vec<u8>>, Option<i64>) {
        let signer = self.key.as_ref().map(|key| key.signer());
        let signature = signer.map(|signer| signer.sign(data).to_vec());
        (signature, signer.map(|signer| i64::from(signer.verifier().id())))
    }
}

/// How a database is connected to.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its servers, in the order in which they are tried; at least one.
    pub(super) servers: Shared<Vec<PgConnectOptions>>,
    /// PEM files that the URL names: the parameter, and the path.
    files: Vec<(String, PathBuf)>,
    /// Whether readers, too, want a server that takes writes.
    reads_primary: bool,
}

/// How to connect to the database at `url`.
///
/// # Errors
/// A [`Fault`] that says what is wrong with the URL, without its password.
pub fn options(url: &str) -> Result<Options, Fault> {
    let (url, wanted) = without(url, SESSION);
    let servers = Hosts::of(&url).each().map(|url| {
        let server = PgConnectOptions::from_str(&url).map_err(Fault::from)?;
        // Sqlx keeps the brackets of an IPv6 address, which neither a resolver nor a certificate knows.
        let address = server.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let server = match address.map(str::to_owned) {
            Some(address) => server.host(&address),
            None => server,
        };
        let server = match server.get_application_name() {
            Some(_) => server,
            None => server.application_name("bloodbank-audit"),
        };
        Ok(server.disable_statement_logging())
    });
    Ok(Options {
        servers: Shared::new(servers.collect::<Result<_, Fault>>()?),
        files: files(&url),
        reads_primary: wanted.is_some_and(|wanted| wanted != "any"),
    })
}

impl Options {
    /// PEM files that the URL names: the parameter, and the path.
    pub(super) fn files(&self) -> &[(String, PathBuf)] {
        &self.files
    }

    /// Connects as those do, from the next connection on, in all clones.
    pub fn renew(&self, newer: &Options) {
        self.servers.set(newer.servers.get());
    }
}

/// The parameter for our own certificate, in both spellings.
const OWN: [&str; 2] = ["sslcert", "ssl-cert"];

/// The parameters that name a file, beside that.
const OTHERS: [&str; 5] = ["sslkey", "ssl-key", "sslrootcert", "ssl-root-cert", "ssl-ca"];

/// Where the files of TLS are, which sqlx does not tell. A value that is itself in PEM names none.
fn files(url: &str) -> Vec<(String, PathBuf)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let named = |name: &str| OWN.contains(&name) || OTHERS.contains(&name);
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, value)| named(name) && !value.contains("-----BEGIN "))
        .map(|(name, value)| (name.into_owned(), PathBuf::from(&*value)))
        .collect()
}

impl Settings {
    /// How new partitions are made.
    pub(super) fn plan(&self) -> Plan {
        Plan {
            granularity: if self.hourly { "hourly" } else { "daily" },
            ahead: i32::try_from(self.partitions_ahead).unwrap_or(i32::MAX),
        }
    }

    /// How long one attempt to store may take: each server may have to be tried, and one statement may take its time.
    #[must_use]
    pub fn attempt(&self) -> Duration {
        let servers = u32::try_from(self.options.servers.get().len()).unwrap_or(u32::MAX);
        self.connect_timeout.saturating_mul(servers).saturating_add(self.statement_timeout)
    }

    /// The same settings once for each server, in the order in which they are tried; at least one.
    #[must_use]
    pub fn each(&self) -> Vec<Settings> {
        let of_one = |server: PgConnectOptions| Settings {
            options: Options { servers: Shared::new(vec![server]), ..self.options.clone() },
            ..self.clone()
        };
        self.options.servers.get().into_iter().map(of_one).collect()
    }

    /// Which server and database, for whoever has to look after it.
    fn name_of(options: &PgConnectOptions) -> String {
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(socket) => format!("PostgreSQL at {} (database '{database}')", socket.display()),
            None => {
                let (host, port) = (options.get_host(), options.get_port());
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("PostgreSQL at {host}:{port} (database '{database}')")
            }
        }
    }

    /// Our own certificate, where there is one that can be read.
    #[must_use]
    pub fn own_certificate(&self) -> Option<Certificate> {
        let (_, file) = self.options.files.iter().find(|(name, _)| OWN.contains(&&**name))?;
        Certificate::of_file(file).ok()
    }

    /// What it means that a connection could not be opened.
    pub(super) fn unopened(&self, server: &PgConnectOptions, error: sqlx::Error) -> Fault {
        let own = self.own_certificate();
        let name = Settings::name_of(server);
        // A path that is not there may be that of a socket.
        match (&error, DatabaseAddress::of(server).socket) {
            (sqlx::Error::Io(cause), Some(_)) => {
                Fault::unavailable(format!("{name} cannot be reached: {cause}"))
            }
            _ => Fault::of_opening(&name, own.as_ref(), &self.options.files, error),
        }
    }

    /// Connects to the first server that takes writes, and checks that it can keep the guarantees. Where there is but one
    /// server, what it takes is found out by writing.
    pub(super) async fn connect(&self, statement_timeout: Duration) -> Result<PgConnection, Fault> {
        let several = self.options.servers.get().len() > 1;
        self.connect_to_first(statement_timeout, several).await
    }

    /// The same for whoever only reads: a standby will do, unless the URL asks for a primary.
    pub(super) async fn connect_to_read(
        &self,
        statement_timeout: Duration,
    ) -> Result<PgConnection, Fault> {
        self.connect_to_first(statement_timeout, self.options.reads_primary).await
    }

    async fn connect_to_first(
        &self,
        statement_timeout: Duration,
        writable: bool,
    ) -> Result<PgConnection, Fault> {
        let mut faults = Vec::new();
        let servers = self.options.servers.get();
        let several = servers.len() > 1;
        for server in servers {
            match self.connect_to(&server, statement_timeout, writable).await {
                Ok(connection) => {
                    if writable && !faults.is_empty() {
                        let (server, passed_by) =
                            (Settings::name_of(&server), Fault::of_each(faults));
                        warn!(server, %passed_by, "another server than the first is written to");
                    }
                    return Ok(connection);
                }
                Err(fault) if several => faults.push(fault.at(&Settings::name_of(&server))),
                Err(fault) => faults.push(fault),
            }
        }
        Err(Fault::of_each(faults))
    }

    async fn connect_to(
        &self,
        server: &PgConnectOptions,
        statement_timeout: Duration,
        writable: bool,
    ) -> Result<PgConnection, Fault> {
        let opening = async {
            let mut connection = PgConnection::connect_with(server)
                .await
                .map_err(|error| self.unopened(server, error))?;
            let writes = prepare_session(&mut connection, statement_timeout).await?;
            if writable && !writes {
                let name = Settings::name_of(server);
                // It goes either way.
                let _ = connection.close().await;
                return Err(Fault::unavailable(format!(
                    "{name} is a standby, and takes no writes"
                )));
            }
            Ok(connection)
        };
        tokio::time::timeout(self.connect_timeout, opening).await.unwrap_or_else(|_| {
            Err(Fault::unavailable(format!(
                "{} does not answer within {}",
                Settings::name_of(server),
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
///
/// Tells whether the server takes writes.
async fn prepare_session(
    connection: &mut PgConnection,
    statement_timeout: Duration,
) -> Result<bool, Fault> {
    let row: PgRow = sqlx::query(
        "select current_setting('server_encoding'), current_setting('server_version_num')::int4,
                set_config('statement_timeout', $1, false),
                set_config('idle_in_transaction_session_timeout', $1, false),
                set_config('lock_timeout', '0', false),
                set_config('client_min_messages', 'error', false),
                set_config('default_transaction_isolation', 'read committed', false),
                case when current_setting('synchronous_commit') = 'off'
                     then set_config('synchronous_commit', 'on', false) end,
                not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off'",
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
    Ok(row.try_get(8)?)
}
