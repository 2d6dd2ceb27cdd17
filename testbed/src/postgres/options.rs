//! How a private PostgreSQL differs from the default one.

use std::time::Duration;

/// What [`Postgres::start`](crate::Postgres::start) may be told.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) password: Option<String>,
    pub(crate) hba: Option<String>,
    pub(crate) keep: bool,
    /// Recovery after a kill included.
    pub(crate) start_within: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            password: None,
            hba: None,
            keep: false,
            start_within: Duration::from_secs(60),
        }
    }
}

impl PostgresOptions {
    /// Adds a line to `postgresql.conf`; it wins over the defaults of the testbed.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Asks TCP clients for this password of the superuser, a word without characters that a URL encodes.
    /// Without it, every loopback client is trusted.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Lets these lines of `pg_hba.conf` decide who may connect over TCP.
    #[must_use]
    pub fn hba(mut self, lines: impl Into<String>) -> Self {
        self.hba = Some(lines.into());
        self
    }

    /// Leaves the directory behind for inspection.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// What is appended to `postgresql.conf`.
    pub(crate) fn conf_file(&self, port: u16, socket_dir: &str) -> String {
        let port = port.to_string();
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("port", &port),
            ("unix_socket_directories", socket_dir),
            ("cluster_name", "testbed"),
            ("max_connections", "200"),
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            // Segments as files of the data directory: those in /dev/shm would outlive a killed server.
            ("dynamic_shared_memory_type", "mmap"),
            ("log_destination", "stderr"),
            ("logging_collector", "off"),
            ("log_line_prefix", "%m [%p] %q%u@%d "),
        ];
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let lines = ours
            .into_iter()
            .chain(theirs)
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")));
        lines.collect()
    }

    /// Who may connect: over the socket whoever reaches it, over loopback by password where one is set.
    pub(crate) fn hba_file(&self) -> String {
        if let Some(lines) = &self.hba {
            return format!("local all all trust\n{lines}\n");
        }
        let tcp = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        format!(
            "local all all trust\nhost all all 127.0.0.1/32 {tcp}\n\
             local replication all trust\nhost replication all 127.0.0.1/32 {tcp}\n"
        )
    }
}
