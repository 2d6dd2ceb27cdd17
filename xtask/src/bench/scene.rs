//! The servers, and the daemon's program: what every measurement uses, one after the other.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bloodbank_audit::broker::{Address, Auth, Trust};
use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

use super::bus::Bus;
use super::database::Database;
use super::release;
use crate::figures;
use crate::screen::Screen;
use crate::stage::{Daemon, Launch};

/// How they differ from the usual.
#[derive(Debug, clap::Args)]
// Clap names a group after the type, and those who take this in are called the same.
#[group(skip)]
pub struct Options {
    /// A configuration key of the daemon that differs from the default: `ingest.batch_events=500`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub settings: Vec<(String, String)>,
    /// A setting of PostgreSQL that differs from the default: `wal_compression=lz4`
    #[arg(long = "postgres", value_name = "NAME=VALUE", value_parser = key_and_value)]
    pub postgres: Vec<(String, String)>,
    /// SQL for each new database, to see what a change of the schema does: `drop index audit.events_event_type`
    #[arg(long, value_name = "STATEMENTS")]
    pub sql: Vec<String>,
    /// Tiny numbers and the debug build, to see that this works; the figures mean nothing
    #[arg(long)]
    pub quick: bool,
    /// Leave the servers' data and the logs behind
    #[arg(long)]
    pub keep: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A running broker, a running database server, and where the daemon is.
pub struct Scene {
    pub rabbitmq: RabbitMq,
    pub postgres: Postgres,
    /// The daemon's program.
    pub binary: PathBuf,
    /// Configuration of the daemon that differs from the defaults.
    pub settings: Vec<(String, String)>,
    /// Settings of PostgreSQL that differ from the defaults.
    pub server_settings: Vec<(String, String)>,
    /// SQL that each new database begins with, after the daemon's migrations.
    pub sql: Vec<String>,
    keep: bool,
}

impl Scene {
    /// Starts the servers, and builds the daemon where that is not done yet.
    ///
    /// # Errors
    /// The first thing that fails.
    pub async fn set(screen: &Screen, options: &Options) -> Result<Self> {
        let (mut rabbitmq, mut postgres) = (RabbitMqOptions::default(), PostgresOptions::default());
        if options.keep {
            (rabbitmq, postgres) = (rabbitmq.keep(), postgres.keep());
        }
        for (name, value) in &options.postgres {
            postgres = postgres.setting(name, value);
        }
        let started = Instant::now();
        let building = async {
            match options.quick {
                true => Daemon::prepare(false)?.build().await,
                false => tokio::task::spawn_blocking(release::build)
                    .await
                    .context("build")?
                    .and_then(|()| release::daemon()),
            }
        };
        let servers = async {
            tokio::try_join!(RabbitMq::start(rabbitmq), Postgres::start(postgres), building)
        };
        let status = || {
            let waited = figures::clock(started.elapsed());
            format!("  starting RabbitMQ and PostgreSQL, building the daemon  {waited}")
        };
        let (rabbitmq, postgres, binary) = screen.during(status, servers).await?;
        let settings = options.settings.clone();
        let server_settings = options.postgres.clone();
        let (sql, keep) = (options.sql.clone(), options.keep);
        Ok(Self { rabbitmq, postgres, binary, settings, server_settings, sql, keep })
    }

    /// The broker, as clients of the daemon's library name it.
    pub fn address(&self) -> Address {
        Address {
            host: "127.0.0.1".to_owned(),
            port: self.rabbitmq.port(),
            others: Vec::new(),
            renewed: bloodbank_audit::shared::Shared::default(),
            vhost: "/".to_owned(),
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            tls: false,
            trust: Trust::default(),
            server_name: None,
            auth: Auth::Plain,
        }
    }

    /// Starts a daemon between a bus and a database.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_daemon(&self, bus: &Bus, database: &Database) -> Result<Daemon> {
        self.start_daemon_with(bus, database, &[])
    }

    /// The same with these settings, before those that the run was told.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_daemon_with(
        &self,
        bus: &Bus,
        database: &Database,
        usual: &[(String, String)],
    ) -> Result<Daemon> {
        let daemon = Daemon::prepare(self.keep)?;
        let mut settings = bus.settings();
        settings.extend(usual.iter().cloned());
        settings.extend(self.settings.iter().cloned());
        daemon.start(&Launch {
            binary: self.binary.clone(),
            rabbit_url: self.rabbitmq.amqp_url(),
            database_url: database.url.clone(),
            settings,
        })?;
        Ok(daemon)
    }
}
