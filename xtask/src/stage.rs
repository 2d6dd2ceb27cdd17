//! Everything that a run consists of, brought up together: the two servers and the daemon between them.

mod daemon;
pub mod evidence;
pub mod queue;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bloodbank_audit::broker::{Address, Auth, Trust};
use bloodbank_audit::config::{Config, Environment, Flags};
use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

use crate::figures;
use crate::screen::Screen;
pub use daemon::{Daemon, Launch};
use evidence::Evidence;

/// The database's name.
pub const DATABASE: &str = "bloodbank_audit";

/// A running bus, a running history, and the daemon. Dropped, all of it is killed and removed, daemon first.
pub struct Stage {
    pub daemon: Daemon,
    pub rabbitmq: RabbitMq,
    pub postgres: Postgres,
    /// The names on the bus, as the daemon takes them by default.
    pub names: Names,
    binary: PathBuf,
}

/// Names on the bus.
pub struct Names {
    pub exchange: String,
    pub queue: String,
    pub dead_letter_queue: String,
}

impl Stage {
    /// Brings everything up, the daemon too, with its defaults, a key and a file of checkpoints, and nothing between it
    /// and the servers.
    ///
    /// # Errors
    /// The first thing that fails, with the end of its log.
    pub async fn start(screen: &Screen, keep: bool) -> Result<(Self, Evidence)> {
        let stage = Self::set(screen, keep).await?;
        let evidence = stage.evidence()?;
        let launch = Launch { settings: evidence.settings(), ..stage.launch() };
        stage.start_daemon(screen, &launch).await?;
        Ok((stage, evidence))
    }

    /// Starts the servers and builds the daemon, all at once; that does not run yet.
    ///
    /// # Errors
    /// The first thing that fails, with the end of its log.
    pub async fn set(screen: &Screen, keep: bool) -> Result<Self> {
        let defaults = Config::load(&Flags::default(), &Environment::empty())
            .context("load the daemon's defaults")?
            .config
            .rabbitmq;
        let names = Names {
            exchange: defaults.exchange,
            queue: defaults.queue,
            dead_letter_queue: defaults.dead_letter_queue,
        };
        let daemon = Daemon::prepare(keep)?;
        let started = Instant::now();
        let servers = async {
            tokio::try_join!(
                ready(screen, "RabbitMQ", RabbitMq::start(rabbitmq_options(keep))),
                ready(screen, "PostgreSQL", postgres(keep)),
                ready(screen, "daemon built", daemon.build()),
            )
        };
        let status = || {
            let waited = figures::clock(started.elapsed());
            format!("  starting RabbitMQ and PostgreSQL, building the daemon  {waited}")
        };
        let (rabbitmq, postgres, binary) = screen.during(status, servers).await?;
        Ok(Self { daemon, rabbitmq, postgres, names, binary })
    }

    /// How to start the daemon, directly on the servers.
    pub fn launch(&self) -> Launch {
        Launch {
            binary: self.binary.clone(),
            rabbit_url: self.rabbitmq.amqp_url(),
            database_url: self.database_url(),
            settings: Vec::new(),
        }
    }

    /// Makes a key for the daemon, before it is started.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn evidence(&self) -> Result<Evidence> {
        Evidence::make(&self.daemon, &self.binary)
    }

    /// The daemon's program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts the daemon and returns once it consumes its queue.
    ///
    /// # Errors
    /// When it ends first or does not get there in time; then with the end of its log.
    pub async fn start_daemon(&self, screen: &Screen, launch: &Launch) -> Result<()> {
        let starting = async {
            self.daemon.start(launch)?;
            self.daemon.consumes(&self.address(), &self.names.queue).await
        };
        let status = || "  starting the daemon: schema, exchange, queues".to_owned();
        screen.during(status, ready(screen, "daemon running", starting)).await
    }

    /// The broker, as clients of the daemon's library name it.
    pub fn address(&self) -> Address {
        address(&self.rabbitmq)
    }

    /// The database's URL.
    pub fn database_url(&self) -> String {
        self.postgres.url(DATABASE)
    }

    /// Stops the servers as an operator would, so that their data can be used again.
    pub async fn stop_servers(&self) -> Result<()> {
        let (rabbitmq, postgres) = tokio::join!(self.rabbitmq.stop(), self.postgres.stop());
        rabbitmq.and(postgres)
    }
}

fn address(rabbitmq: &RabbitMq) -> Address {
    Address {
        host: "127.0.0.1".to_owned(),
        port: rabbitmq.port(),
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

fn rabbitmq_options(keep: bool) -> RabbitMqOptions {
    let options = RabbitMqOptions::default();
    if keep { options.keep() } else { options }
}

async fn postgres(keep: bool) -> Result<Postgres> {
    let options = PostgresOptions::default();
    let options = if keep { options.keep() } else { options };
    let postgres = Postgres::start(options).await?;
    postgres.create_database(DATABASE).await?;
    Ok(postgres)
}

/// Says when something is ready, and after how long.
async fn ready<T>(
    screen: &Screen,
    what: &str,
    start: impl Future<Output = Result<T>>,
) -> Result<T> {
    let started = Instant::now();
    let outcome = start.await?;
    let took = Duration::from_millis(u64::try_from(started.elapsed().as_millis())?);
    screen.line(format!("  {what:<16}{}", screen.dim(&format!("{:>5.1} s", took.as_secs_f64()))));
    Ok(outcome)
}
