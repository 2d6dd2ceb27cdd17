//! A program of the caller's own, such as the daemon, under the same watch as the servers.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::directory::Directory;
use crate::process::ServerProcess;

/// A directory, and at most one process at a time that runs for it in a process group of its own.
///
/// Dropped, or with this process however that dies, what runs for it is killed and the directory removed.
#[derive(Debug)]
pub struct Program {
    // Dropped before the directory below it.
    process: Option<ServerProcess>,
    directory: Directory,
}

impl Program {
    /// Makes the directory, whose name contains `name`; with `keep` it is left behind.
    ///
    /// # Errors
    /// When the directory cannot be made or the watchdog not started.
    pub fn create(name: &str, keep: bool) -> Result<Self> {
        Ok(Self { process: None, directory: Directory::create(name, keep)? })
    }

    /// The directory, for logs and whatever else the program wants.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A command that runs in the directory and, with all of its descendants, dies with this value.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.directory.command(program)
    }

    /// Starts one of [`command`](Self::command)'s as the program itself.
    ///
    /// # Errors
    /// When it runs already, or the operating system does not start it.
    pub fn start(&mut self, command: Command) -> Result<()> {
        if self.process.is_some() && self.exit_status().is_none() {
            bail!("the program of {} runs already", self.directory().display());
        }
        // What the one before has left running would be taken for part of its successor.
        self.process = None;
        self.process = Some(ServerProcess::spawn(command, self.directory.path())?);
        Ok(())
    }

    /// Its process id, once it has been started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.process.as_ref().and_then(ServerProcess::exited)
    }

    /// Asks it to stop (SIGTERM).
    ///
    /// # Errors
    /// When it does not run.
    pub fn terminate(&self) -> Result<()> {
        self.process.as_ref().context("the program was not started")?.signal(Signal::SIGTERM)
    }

    /// Kills it and its children with SIGKILL, and waits for their end.
    pub fn kill(&self) {
        if let Some(process) = &self.process {
            process.kill();
        }
    }
}
