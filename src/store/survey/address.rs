//! Where the database is, as its URL names it.

use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::super::{Options, Settings};

/// Where a database is, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// Host name or address; without meaning where there is a socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The Unix socket, where the connection goes through one.
    pub socket: Option<PathBuf>,
    /// The database's name.
    pub database: String,
    /// The role's name.
    pub user: String,
    /// Whether a connection is refused that is not to that very server, under TLS.
    pub verifies: bool,
}

impl Settings {
    /// Where the first of its servers is.
    #[must_use]
    pub fn address(&self) -> DatabaseAddress {
        self.options.addresses().remove(0)
    }
}

impl Options {
    /// Where the database is: at least one place.
    #[must_use]
    pub fn addresses(&self) -> Vec<DatabaseAddress> {
        self.servers.get().iter().map(DatabaseAddress::of).collect()
    }
}

impl DatabaseAddress {
    pub(in crate::store) fn of(options: &PgConnectOptions) -> DatabaseAddress {
        let (host, port) = (options.get_host(), options.get_port());
        // A host that is a path is the directory of a socket.
        let directory = host.starts_with('/').then(|| PathBuf::from(host));
        let directory = options.get_socket().cloned().or(directory);
        DatabaseAddress {
            host: host.to_owned(),
            port,
            socket: directory.map(|directory| directory.join(format!(".s.PGSQL.{port}"))),
            database: options.get_database().unwrap_or(options.get_username()).to_owned(),
            user: options.get_username().to_owned(),
            verifies: matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull),
        }
    }
}
