//! The place of a server's process, which is empty while the server is stopped.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;

use crate::Deadline;
use crate::process::ServerProcess;

/// Holds at most one process at a time; all methods take `&self`, for handles that are shared.
#[derive(Debug)]
pub(crate) struct Seat {
    /// What the server is called in errors: its kind and port.
    name: String,
    process: Mutex<Option<ServerProcess>>,
}

impl Seat {
    pub(crate) fn new(name: String) -> Self {
        Self { name, process: Mutex::new(None) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn process(&self) -> MutexGuard<'_, Option<ServerProcess>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears the seat for a new process, refusing while one runs.
    ///
    /// One that died on its own is reaped here, children included: a destructor that ran later would take
    /// its successor for it.
    pub(crate) fn vacate(&self) -> Result<()> {
        if self.is_running() {
            bail!("{} runs already", self.name);
        }
        self.kill();
        Ok(())
    }

    pub(crate) fn start(&self, command: Command, directory: &Path) -> Result<()> {
        self.vacate()?;
        *self.process() = Some(ServerProcess::spawn(command, directory)?);
        Ok(())
    }

    /// SIGKILL to the whole server; returns when nothing of it is left.
    pub(crate) fn kill(&self) {
        let process = self.process().take();
        drop(process);
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.process().as_ref().with_context(|| format!("{} is not running", self.name))?.pause()
    }

    pub(crate) fn resume(&self) {
        if let Some(process) = self.process().as_ref() {
            process.resume();
        }
    }

    /// Signals the server's first process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process()
            .as_ref()
            .with_context(|| format!("{} is not running", self.name))?
            .signal(signal)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process().as_ref().filter(|process| process.exited().is_none()).map(ServerProcess::pid)
    }

    /// Waits until the process has ended, however it did.
    pub(crate) async fn ended(&self, deadline: Deadline) -> Result<()> {
        let what = format!("{} ends", self.name);
        deadline
            .until(&what, || async { if self.is_running() { Err("running") } else { Ok(()) } })
            .await
    }

    /// Waits for `ready`, but no longer than the process lives.
    pub(crate) async fn alive_until(
        &self,
        ready: impl Future<Output = Result<()>>,
        deadline: Deadline,
    ) -> Result<()> {
        tokio::select! {
            outcome = ready => outcome,
            Ok(()) = self.ended(deadline) => Err(anyhow!("{} ended", self.name)),
        }
    }
}
