//! How a private RabbitMQ differs from the default one.

use std::time::Duration;

/// What [`RabbitMq::start`](crate::RabbitMq::start) may be told.
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    pub(crate) conf: Vec<String>,
    pub(crate) advanced: String,
    pub(crate) management: bool,
    pub(crate) plugins: Vec<String>,
    pub(crate) keep: bool,
    pub(crate) start_within: Duration,
}

impl Default for RabbitMqOptions {
    fn default() -> Self {
        Self {
            conf: Vec::new(),
            advanced: "[].".to_owned(),
            management: false,
            plugins: Vec::new(),
            keep: false,
            // 6 s alone; several at once on a machine that also compiles have been seen to need 40 s.
            start_within: Duration::from_secs(120),
        }
    }
}

impl RabbitMqOptions {
    /// Adds a line to `rabbitmq.conf`, such as `consumer_timeout = 20000`.
    #[must_use]
    pub fn conf(mut self, line: impl Into<String>) -> Self {
        self.conf.push(line.into());
        self
    }

    /// Sets the whole of `advanced.config`, an Erlang term that ends with a full stop.
    #[must_use]
    pub fn advanced(mut self, term: impl Into<String>) -> Self {
        self.advanced = term.into();
        self
    }

    /// Enables the management plugin, on a free port of its own. It costs about a second at start.
    #[must_use]
    pub fn management(mut self) -> Self {
        self.management = true;
        self
    }

    /// Enables another plugin of the distribution, such as `rabbitmq_auth_mechanism_ssl`.
    #[must_use]
    pub fn plugin(mut self, name: impl Into<String>) -> Self {
        self.plugins.push(name.into());
        self
    }

    /// Leaves the directory behind for inspection.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// How long a start may take; 120 s unless told otherwise.
    #[must_use]
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.start_within = limit;
        self
    }

    /// The lines of `rabbitmq.conf`, ours first and left out where the caller sets the same.
    pub(crate) fn conf_file(&self, management_port: Option<u16>) -> String {
        let sets =
            |prefix: &str| self.conf.iter().any(|line| line.trim_start().starts_with(prefix));
        let mut lines = Vec::new();
        if !sets("disk_free_limit") {
            // A fuller machine is no reason to block publishers.
            lines.push("disk_free_limit.absolute = 1MB".to_owned());
        }
        if let Some(port) = management_port {
            lines.push("management.tcp.ip = 127.0.0.1".to_owned());
            lines.push(format!("management.tcp.port = {port}"));
        }
        lines.extend(self.conf.iter().cloned());
        lines.push(String::new());
        lines.join("\n")
    }
}
