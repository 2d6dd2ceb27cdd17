//! The directory, ports and environment of one RabbitMQ server.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::RabbitMqOptions;
use super::distribution::Distribution;
use super::layout::Layout;
use crate::Port;
use crate::directory::Directory;

/// What the Erlang node of the server on that port is called.
pub(super) fn node_name(amqp: &Port) -> String {
    format!("testbed-{}@localhost", amqp.number())
}

/// Everything a server and its tools need to find one another, and nobody else.
#[derive(Debug)]
pub(super) struct Files {
    // Dropped before the directory in which its process may run.
    pub(super) distribution: Arc<Distribution>,
    pub(super) directory: Directory,
    pub(super) node: String,
    layout: Layout,
    amqp: Port,
    dist: Port,
    management: Option<Port>,
}

impl Files {
    pub(super) fn create(
        options: RabbitMqOptions,
        amqp: Port,
        distribution: Arc<Distribution>,
    ) -> Result<Self> {
        let layout = Layout::find()?;
        let directory = Directory::create("rabbitmq", options.keep)?;
        let management = if options.management { Some(Port::free()?) } else { None };
        for name in ["home", "mnesia", "log", "schema", "generated", "conf.d"] {
            directory.make(name)?;
        }
        let cookie = directory.write("home/.erlang.cookie", distribution.cookie())?;
        std::fs::set_permissions(&cookie, PermissionsExt::from_mode(0o400))
            .context("protect the Erlang cookie")?;
        directory.write("rabbitmq-env.conf", "")?;
        directory
            .write("rabbitmq.conf", options.conf_file(management.as_ref().map(Port::number)))?;
        directory.write("advanced.config", &options.advanced)?;
        let management_plugin = options.management.then_some("rabbitmq_management");
        let plugins: Vec<_> =
            management_plugin.into_iter().chain(options.plugins.iter().map(|one| &**one)).collect();
        directory.write("enabled_plugins", format!("[{}].\n", plugins.join(",")))?;
        Ok(Self {
            distribution,
            node: node_name(&amqp),
            directory,
            layout,
            amqp,
            dist: Port::free()?,
            management,
        })
    }

    pub(super) fn amqp_port(&self) -> u16 {
        self.amqp.number()
    }

    pub(super) fn dist_port(&self) -> u16 {
        self.dist.number()
    }

    pub(super) fn management_port(&self) -> Option<u16> {
        self.management.as_ref().map(Port::number)
    }

    /// What the server and its port mapper print before logging begins.
    pub(super) fn output_path(&self) -> PathBuf {
        self.directory.join("log/output")
    }

    fn output(&self) -> Result<File> {
        let path = self.output_path();
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))
    }

    /// The server itself.
    pub(super) fn server(&self) -> Result<Command> {
        self.as_daemon(self.command("rabbitmq-server"))
    }

    /// The port mapper.
    pub(super) fn epmd(&self) -> Result<Command> {
        self.as_daemon(self.directory.command("epmd"))
    }

    fn as_daemon(&self, mut command: Command) -> Result<Command> {
        command.stdin(Stdio::null()).stdout(self.output()?).stderr(self.output()?);
        Ok(command)
    }

    /// One of RabbitMQ's scripts, told about this server and about no other on the machine.
    pub(super) fn command(&self, script: &str) -> Command {
        let path = |name: &str| self.directory.join(name);
        let mut command = self.directory.command(self.layout.script(script));
        for (name, _) in std::env::vars_os() {
            let foreign = ["RABBITMQ_", "ERL_", "NOTIFY_SOCKET"];
            if name
                .to_str()
                .is_some_and(|name| foreign.iter().any(|prefix| name.starts_with(prefix)))
            {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", path("home"))
            .env("LC_ALL", "C.UTF-8")
            .env("ERL_CRASH_DUMP", path("log/erl_crash.dump"))
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.distribution.port().to_string())
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.amqp_port().to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port().to_string())
            .env("RABBITMQ_HOME", &self.layout.home)
            .env("RABBITMQ_PLUGINS_DIR", self.layout.plugins())
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_SCHEMA_DIR", path("schema"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", path("generated"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_CONFIG_FILES", path("conf.d"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            // The script then becomes the Erlang machine instead of waiting for it as a child.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none -start_epmd false",
            )
            // Any free port: the default is a range of eleven, for all tools on the machine.
            .env("RABBITMQ_CTL_DIST_PORT_MIN", "0")
            .env("RABBITMQ_CTL_DIST_PORT_MAX", "0")
            .env(
                "RABBITMQ_CTL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none -start_epmd false",
            );
        command
    }
}
