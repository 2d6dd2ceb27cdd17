//! A private RabbitMQ server.

mod cluster;
mod distribution;
mod files;
mod layout;
mod options;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

pub use options::RabbitMqOptions;

pub(crate) use layout::{ROOT_VARIABLE, is_installed};

use crate::process::tail;
use crate::seat::Seat;
use crate::{Deadline, Port};
use distribution::Distribution;
use files::Files;

/// How long one `rabbitmqctl` may take: half a second alone, more while the machine is busy.
const CTL_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to stop when asked to, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A RabbitMQ server of our own: its ports, its data, its Erlang port mapper, all on loopback.
///
/// All methods take `&self`, so one test task can break the server while another talks to it. Dropped, it
/// is killed and its directory removed.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped in this order: the server, then its port mapper and the directory below both.
    seat: Seat,
    files: Files,
    start_within: Duration,
}

impl RabbitMq {
    /// Starts a server and returns once it accepts connections.
    ///
    /// # Errors
    /// When RabbitMQ is not installed, or the server ends or is not ready in time; then with the last
    /// lines of its log.
    pub async fn start(options: RabbitMqOptions) -> Result<Self> {
        let rabbitmq = Self::prepare(options, Port::free()?, Arc::new(Distribution::new()?))?;
        rabbitmq.start_again().await?;
        Ok(rabbitmq)
    }

    /// A server that has yet to be started.
    fn prepare(
        options: RabbitMqOptions,
        amqp: Port,
        distribution: Arc<Distribution>,
    ) -> Result<Self> {
        let start_within = options.start_within;
        let files = Files::create(options, amqp, distribution)?;
        let seat = Seat::new(format!("RabbitMQ on port {}", files.amqp_port()));
        Ok(Self { seat, files, start_within })
    }

    /// Starts the server again after [`stop`](Self::stop) or [`kill`](Self::kill), on the same ports and data.
    ///
    /// # Errors
    /// When it runs already, ends at once or is not ready in time.
    pub async fn start_again(&self) -> Result<()> {
        self.seat.vacate()?;
        let deadline = Deadline::after(self.start_within);
        self.files.distribution.start(|| self.files.epmd(), deadline).await?;
        self.seat.start(self.files.server()?, self.files.directory.path())?;
        self.wait_ready(self.start_within).await
    }

    /// Waits until the server has booted and answers.
    ///
    /// # Errors
    /// When it ends first or the time runs out; then with the last lines of its log.
    pub async fn wait_ready(&self, within: Duration) -> Result<()> {
        let deadline = Deadline::after(within);
        let ready = async {
            deadline
                .until("RabbitMQ's distribution port opens", || async {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, self.files.dist_port()))
                        .await
                        .map(drop)
                })
                .await?;
            deadline
                .until("rabbitmqctl await_startup", || async {
                    self.ctl(&["await_startup"]).await.map(drop)
                })
                .await?;
            deadline
                .until("RabbitMQ's AMQP port opens", || async {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).await.map(drop)
                })
                .await
        };
        self.seat.alive_until(ready, deadline).await.with_context(|| {
            format!(
                "{} is not ready; its output:\n{}\nits log:\n{}",
                self.seat.name(),
                tail(&self.files.output_path()),
                tail(&self.log_file())
            )
        })
    }

    /// Stops the server as an operator would, with `rabbitmqctl stop`, and waits for its end.
    ///
    /// # Errors
    /// When it did not stop when asked to; it is killed then.
    pub async fn stop(&self) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        // A paused one could not answer.
        self.resume();
        let asked = self.ctl_within(&["stop"], STOP_LIMIT).await;
        let ended = self.seat.ended(Deadline::after(STOP_LIMIT));
        let outcome = if asked.is_ok() { ended.await } else { asked.map(drop) };
        self.kill();
        outcome.with_context(|| format!("stop {}; it was killed", self.seat.name()))
    }

    /// Kills the server with SIGKILL, the Erlang machine and its children, and waits for their end.
    ///
    /// The port mapper stays: it forgets the node when its connection breaks.
    pub fn kill(&self) {
        self.seat.kill();
    }

    /// [`stop`](Self::stop), then [`start_again`](Self::start_again).
    ///
    /// # Errors
    /// Those of the two.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Stops every process of the server in its tracks (SIGSTOP): connections stay open and say nothing.
    ///
    /// # Errors
    /// When the server does not run.
    pub fn pause(&self) -> Result<()> {
        self.seat.pause()
    }

    /// Lets a paused server go on (SIGCONT).
    pub fn resume(&self) {
        self.seat.resume();
    }

    /// Whether the server's process lives, paused or not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.seat.is_running()
    }

    /// Runs `rabbitmqctl` on this server and returns what it printed.
    ///
    /// ```no_run
    /// # async fn example(rabbitmq: testbed::RabbitMq) -> anyhow::Result<()> {
    /// rabbitmq.ctl(&["add_user", "auditor", "secret"]).await?;
    /// rabbitmq.ctl(&["set_permissions", "-p", "/", "auditor", "", "", ".*"]).await?;
    /// rabbitmq.ctl(&["change_password", "auditor", "other"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it fails, with what it said, or takes longer than 60 s.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        self.ctl_within(arguments, CTL_LIMIT).await
    }

    async fn ctl_within(&self, arguments: &[&str], limit: Duration) -> Result<String> {
        let words = arguments.join(" ");
        let mut command = self.files.command("rabbitmqctl");
        command.args(["--quiet", "--node", &self.files.node]).args(arguments).stdin(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let output = tokio::time::timeout(limit, command.kill_on_drop(true).output())
            .await
            .with_context(|| format!("rabbitmqctl {words} did not return within {limit:?}"))?
            .with_context(|| format!("run rabbitmqctl {words}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "rabbitmqctl {words}: {}: {}{said}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(said)
    }

    /// The AMQP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.files.amqp_port()
    }

    /// The port of the management plugin, where that is enabled.
    #[must_use]
    pub fn management_port(&self) -> Option<u16> {
        self.files.management_port()
    }

    /// The URL of the default virtual host, as `guest`.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        self.amqp_url_at(self.port())
    }

    /// The same URL through another port, that of a proxy.
    #[must_use]
    pub fn amqp_url_at(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// The Erlang node's name, as `rabbitmqctl --node` takes it.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.files.node
    }

    /// Where the server writes its logs.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.files.directory.join("log")
    }

    /// The server's log file.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.log_dir().join(format!("{}.log", self.files.node))
    }

    /// The directory of this server: data, logs, configuration.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.files.directory.path()
    }

    /// The process id of the Erlang machine, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.seat.pid()
    }
}
