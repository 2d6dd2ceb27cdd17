//! The daemon: the real binary, as a child process.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::eventually;

use super::PATIENCE;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_bloodbank-audit");

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Mutex<Child>,
    log: Arc<Mutex<Vec<String>>>,
    reader: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Daemon {
    /// Starts `bloodbank-audit` with these arguments and this environment, and no other configuration.
    pub fn spawn(arguments: &[&str], environment: &[(String, String)]) -> Result<Daemon> {
        Daemon::spawn_by(Command::new(PROGRAM), arguments, environment)
    }

    /// The same by a command that becomes the program, whose arguments follow its own.
    pub fn spawn_by(
        mut command: Command,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Daemon> {
        let mut child = command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start the daemon")?;
        let stderr = child.stderr.take().context("the daemon's stderr")?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        // Ends when the daemon does, which closes the pipe.
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Ok(Daemon { child: Mutex::new(child), log, reader: Mutex::new(Some(reader)) })
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many lines of the log hold that text.
    pub fn said(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// Awaits the `times`-th line of the log that holds that text.
    pub async fn says(&self, text: &str, times: usize) -> Result<()> {
        eventually(&format!("the daemon says {text:?} {times} time(s)"), PATIENCE, async || {
            if self.said(text) >= times {
                return Ok(Ok(()));
            }
            match self.exited() {
                Some(status) => Ok(Err(anyhow::anyhow!("the daemon ended with {status}"))),
                None => Err(format!("its log:\n{}", self.log().join("\n"))),
            }
        })
        .await?
        .with_context(|| format!("awaiting {text:?}; its log:\n{}", self.log().join("\n")))
    }

    /// Awaits that it consumes from its queue, for the `times`-th time.
    pub async fn consumes(&self, times: usize) -> Result<()> {
        self.says("\"consuming\"", times).await
    }

    /// Awaits that it serves health and metrics, and tells where.
    pub async fn serves_at(&self) -> Result<SocketAddr> {
        self.says("serving /healthz", 1).await?;
        let log = self.log();
        let line = log.iter().find(|line| line.contains("serving /healthz"));
        let line: serde_json::Value = serde_json::from_str(line.context("no such line")?)?;
        Ok(line["address"].as_str().context("no address")?.parse()?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        kill(Pid::from_raw(child.id().try_into()?), signal)
            .with_context(|| format!("send {signal}"))
    }

    /// Stops it in its tracks, whatever it is at; SIGCONT lets it go on.
    pub async fn freezes(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let pid = self.child.lock().unwrap_or_else(PoisonError::into_inner).id();
        eventually("every thread of the daemon has stopped", PATIENCE, async || {
            testbed::is_stopped(pid).then_some(()).ok_or_else(|| format!("process {pid}"))
        })
        .await
    }

    /// The most bytes of memory it had so far.
    pub fn peak_memory(&self) -> Result<usize> {
        let pid = self.child.lock().unwrap_or_else(PoisonError::into_inner).id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        Ok(kilobytes.context("no VmHWM")?.trim().parse::<usize>()? * 1024)
    }

    /// Its status, if it has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    /// Awaits its end, and tells its exit code.
    pub async fn ends(&self) -> Result<i32> {
        let status = eventually("the daemon ends", PATIENCE, async || {
            self.exited().ok_or_else(|| format!("its log:\n{}", self.log().join("\n")))
        })
        .await?;
        // What it said last may not have been read yet.
        if let Some(reader) = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reader.join().ok().context("the reader of the log")?;
        }
        status.code().with_context(|| format!("the daemon ended with {status}"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    /// Asks it to stop and expects that it does so cleanly.
    pub async fn stops_cleanly(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let code = self.ends().await?;
        if code != 0 {
            bail!("the daemon ended with {code}; its log:\n{}", self.log().join("\n"));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}
