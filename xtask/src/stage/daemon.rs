//! The daemon: the very binary, as a child with its configuration in the environment.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bloodbank_audit::broker::Address;
use testbed::{Deadline, Program};

use super::queue;
use crate::cargo;

/// How long it may take to migrate, connect and consume.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to stop: its own grace of 25 s, and a little.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often to look whether it still runs.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Lines of the log to show when something went wrong.
const TAIL: usize = 20;

/// The daemon's process and its directory.
pub struct Daemon {
    directory: PathBuf,
    process: Mutex<Process>,
}

struct Process {
    program: Program,
    /// Whether it is running as far as we know: started, and not ended by us.
    meant_to_run: bool,
}

/// How to start the daemon.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub binary: PathBuf,
    /// Where it finds the broker.
    pub rabbit_url: String,
    /// Where it finds the database.
    pub database_url: String,
    /// Configuration that differs from the defaults: `ingest.prefetch`, `500`.
    pub settings: Vec<(String, String)>,
}

impl Daemon {
    /// Makes the directory; nothing runs yet.
    ///
    /// # Errors
    /// When that cannot be made.
    pub fn prepare(keep: bool) -> Result<Self> {
        let program = Program::create("daemon", keep)?;
        Ok(Self {
            directory: program.directory().to_owned(),
            process: Mutex::new(Process { program, meant_to_run: false }),
        })
    }

    /// Builds the binary where it is not up to date, and says where it is. Cargo dies with us.
    ///
    /// # Errors
    /// When it does not build; what the compiler says is on stderr.
    pub async fn build(&self) -> Result<PathBuf> {
        let mut command = self.process().program.command(cargo::program());
        command
            // Together with this program: alone, it would be built with fewer features of the libraries that both use,
            // and those compiled a second time.
            .args(["build", "--quiet", "--package", "xtask", "--package", "bloodbank-audit"])
            .args(["--bin", "xtask", "--bin", "bloodbank-audit"])
            .arg("--message-format=json-render-diagnostics")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        cargo::at_root(&mut command);
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .context("run cargo build")?;
        if !output.status.success() {
            bail!("the daemon does not build: cargo build ended with {}", output.status);
        }
        let executable = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == "bloodbank-audit")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        executable.context("cargo build does not say where the daemon's binary is")
    }

    /// Starts it, and returns at once; its log goes on where one before it ended.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&self, launch: &Launch) -> Result<()> {
        // The machine's own /etc/bloodbank-audit/config.toml is not for this run.
        let file = self.config();
        std::fs::write(&file, "# Everything is set in the environment.\n")
            .with_context(|| format!("write {}", file.display()))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .context("open the daemon's log")?;
        let mut process = self.process();
        let mut command = process.program.command(&launch.binary);
        command.arg("run").arg("--config").arg(&file);
        // Several run on one machine, and none of them is watched over but by the screen.
        command.arg("--set").arg("http.listen=127.0.0.1:0");
        for (key, value) in &launch.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        leave_out_foreign_settings(&mut command);
        command
            .env("RABBIT_URL", &launch.rabbit_url)
            .env("DATABASE_URL", &launch.database_url)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the daemon's log")?)
            .stderr(log);
        process.program.start(command)?;
        process.meant_to_run = true;
        Ok(())
    }

    /// Returns once it consumes its queue.
    ///
    /// # Errors
    /// When it ends first or does not get there in time; then with the end of its log.
    pub async fn consumes(&self, address: &Address, queue: &str) -> Result<()> {
        let consuming = Deadline::after(START_LIMIT);
        let ready =
            consuming.until("the daemon consumes its queue", async || {
                match queue::depth(address, queue).await {
                    Ok(depth) if depth.consumers > 0 => Ok(()),
                    Ok(_) => Err("nobody consumes the queue".to_owned()),
                    Err(error) => Err(format!("{error:#}")),
                }
            });
        let outcome = tokio::select! {
            outcome = ready => outcome,
            status = self.ended() => Err(anyhow::anyhow!("the daemon ended with {status}")),
        };
        outcome.with_context(|| format!("start the daemon; its log ends:\n{}", self.log_tail()))
    }

    /// The binary as a command beside it, with nothing of what this shell sets for another one.
    pub fn command(&self, binary: &Path) -> Command {
        let mut command = self.process().program.command(binary);
        leave_out_foreign_settings(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// Its directory, which goes with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its configuration's file, there once it was started.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config.toml")
    }

    /// Where it logs to.
    pub fn log(&self) -> PathBuf {
        self.directory.join("daemon.log")
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.process().program.pid()
    }

    /// Whether it has been started and has not ended.
    pub fn is_running(&self) -> bool {
        let process = self.process();
        process.program.pid().is_some() && process.program.exit_status().is_none()
    }

    /// Returns when it has ended.
    pub async fn ended(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.process().program.exit_status() {
                return status;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns when it has ended without having been asked to, by this value at least.
    pub async fn ended_by_itself(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.process().ended_by_itself() {
                return status;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks it to stop and waits for its end; kills it when it takes too long.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn stop(&self) -> Result<ExitStatus> {
        {
            let mut process = self.process();
            // One that has just died by itself cannot be asked, and its status says so.
            if process.program.exit_status().is_none() {
                process.meant_to_run = false;
                process.program.terminate().context("stop the daemon")?;
            }
        }
        match tokio::time::timeout(STOP_LIMIT, self.ended()).await {
            Ok(status) => Ok(status),
            Err(_) => {
                let process = self.process();
                process.program.kill();
                process.program.exit_status().context("the daemon could not be killed")
            }
        }
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it has ended by itself before.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.process();
        if let Some(status) = process.ended_by_itself() {
            bail!("the daemon has ended by itself, with {status}");
        }
        process.meant_to_run = false;
        process.program.kill();
        Ok(())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let mut end = Vec::new();
        if let Ok(mut log) = File::open(self.log()) {
            let length = log.metadata().map_or(0, |meta| meta.len());
            let _ = log.seek(SeekFrom::Start(length.saturating_sub(16 << 10)));
            let _ = log.read_to_end(&mut end);
        }
        let text = String::from_utf8_lossy(&end);
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL)..];
        last.iter().map(|line| format!("    {line}\n")).collect()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    fn ended_by_itself(&self) -> Option<ExitStatus> {
        self.program.exit_status().filter(|_| self.meant_to_run)
    }
}

/// What this shell sets for another daemon, or for PostgreSQL's own clients, is not for this one.
fn leave_out_foreign_settings(command: &mut Command) {
    const PREFIXES: [&str; 2] = ["BLOODBANK_AUDIT__", "PG"];
    const NAMES: [&str; 5] =
        ["RABBIT_URL", "EXCHANGE_NAME", "DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC"];
    for (name, _) in std::env::vars_os() {
        let foreign = name.to_str().is_some_and(|name| {
            NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        });
        if foreign {
            command.env_remove(name);
        }
    }
}
