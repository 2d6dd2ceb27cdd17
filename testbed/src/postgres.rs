//! A private PostgreSQL server.

mod installation;
mod options;
mod standby;
mod tools;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

pub use options::PostgresOptions;

pub(crate) use installation::{BIN_VARIABLE, is_installed};

use crate::directory::Directory;
use crate::process::tail;
use crate::seat::Seat;
use crate::{Deadline, Port};
use installation::Installation;

/// How long a server may take to stop when asked to, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// A PostgreSQL server of our own: its port, its socket, its data; `fsync` and `synchronous_commit` on.
///
/// All methods take `&self`, so one test task can break the server while another talks to it. Dropped, it
/// is killed and its directory removed.
#[derive(Debug)]
pub struct Postgres {
    // Dropped before the directory below it.
    seat: Seat,
    directory: Directory,
    installation: Installation,
    port: Port,
    options: PostgresOptions,
}

impl Postgres {
    /// Creates a cluster, starts it and returns once it answers.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the server ends or is not ready in time; then with the last
    /// lines of its log.
    pub async fn start(options: PostgresOptions) -> Result<Self> {
        let installation = Installation::find()?;
        let directory = Directory::create("postgres", options.keep)?;
        let port = Port::free()?;
        let postgres = Self {
            seat: Seat::new(format!("PostgreSQL on port {}", port.number())),
            directory,
            installation,
            port,
            options,
        };
        postgres.create_cluster().await?;
        postgres.start_again().await?;
        Ok(postgres)
    }

    /// Starts the server again after [`stop`](Self::stop) or [`kill`](Self::kill), on the same port and data.
    ///
    /// # Errors
    /// When it runs already, ends at once or is not ready in time.
    pub async fn start_again(&self) -> Result<()> {
        self.seat.vacate()?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data_dir());
        command.stdin(Stdio::null()).stdout(self.log()?).stderr(self.log()?);
        self.installation.run_as_server(&mut command);
        self.seat.start(command, self.directory.path())?;
        self.wait_ready(self.options.start_within).await
    }

    /// Waits until the server answers a query.
    ///
    /// # Errors
    /// When it ends first or the time runs out; then with the last lines of its log.
    pub async fn wait_ready(&self, within: Duration) -> Result<()> {
        let deadline = Deadline::after(within);
        let ready = async {
            deadline
                .until("PostgreSQL's lock file says ready", || async { self.lock_file_ready() })
                .await?;
            deadline
                .until("PostgreSQL answers", || async {
                    self.sql("postgres", "select 1").await.map(drop)
                })
                .await
        };
        self.seat.alive_until(ready, deadline).await.with_context(|| {
            format!(
                "PostgreSQL on port {} is not ready; its log:\n{}",
                self.port(),
                tail(&self.log_file())
            )
        })
    }

    /// The lock file's first line is the server's process id, its eighth the server's state.
    fn lock_file_ready(&self) -> Result<(), String> {
        let lock =
            std::fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<_> = lock.lines().map(str::trim).collect();
        let ours = self.pid().is_some_and(|pid| lines.first() == Some(&pid.to_string().as_str()));
        if ours && lines.get(7).is_some_and(|state| ["ready", "standby"].contains(state)) {
            Ok(())
        } else {
            Err(format!("{lines:?}"))
        }
    }

    /// Stops the server as an operator would (fast shutdown: clients are disconnected), and waits for its end.
    ///
    /// # Errors
    /// When it did not stop when asked to; it is killed then.
    pub async fn stop(&self) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        // A paused one could not answer.
        self.resume();
        self.seat.signal(Signal::SIGINT)?;
        let ended = self.seat.ended(Deadline::after(STOP_LIMIT)).await;
        self.kill();
        ended.with_context(|| format!("stop {}; it was killed", self.seat.name()))
    }

    /// Kills the server with SIGKILL, all backends with it, and waits for their end.
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

    /// The loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The URL of a database, as the superuser `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port(), database)
    }

    /// The same URL through another port, that of a proxy.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        let password =
            self.options.password.as_ref().map(|word| format!(":{word}")).unwrap_or_default();
        format!("postgres://postgres{password}@127.0.0.1:{port}/{database}")
    }

    /// The URL of the database `postgres`, from which others are created.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }

    /// The `psql` that belongs to this server.
    #[must_use]
    pub fn psql(&self) -> PathBuf {
        self.installation.program("psql")
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The server's log file.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The directory of this server: data, log, socket.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the postmaster, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.seat.pid()
    }

    fn log(&self) -> Result<File> {
        let path = self.log_file();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))
    }
}
