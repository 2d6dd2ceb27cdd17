//! What lets anybody check the history: the daemon's key, and its checkpoints in a file outside the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, bail};

use super::daemon::Daemon;

/// The public key's file, in the daemon's directory.
pub const PUBLIC_KEY: &str = "ledger.pub";
/// The file to which checkpoints are appended, in the daemon's directory.
pub const CHECKPOINTS: &str = "checkpoints";
const PRIVATE_KEY: &str = "ledger.key";

/// Where key and checkpoints are. They go with the daemon's directory.
pub struct Evidence {
    directory: PathBuf,
}

impl Evidence {
    /// Makes the key, by the daemon's own command.
    ///
    /// # Errors
    /// When that fails, with what it says.
    pub fn make(daemon: &Daemon, binary: &Path) -> Result<Self> {
        let evidence = Self { directory: daemon.directory().to_owned() };
        let mut command = daemon.command(binary);
        command.args(["keys", "generate", "--name", "demo.example.org/bus", "--out"]);
        let made = command.arg(evidence.at(PRIVATE_KEY)).output().context("make a key")?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            bail!("`keys generate` ended with {}: {why}", made.status);
        }
        let public = evidence.at(PUBLIC_KEY);
        fs::write(&public, made.stdout).with_context(|| format!("write {}", public.display()))?;
        Ok(evidence)
    }

    /// What the daemon is told, to sign and to hand out.
    pub fn settings(&self) -> Vec<(String, String)> {
        let files = [("ledger.key_file", PRIVATE_KEY), ("ledger.checkpoint_file", CHECKPOINTS)];
        files.map(|(key, name)| (key.to_owned(), self.at(name).display().to_string())).to_vec()
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Has the whole history checked against every checkpoint that went out, by `verify`.
    ///
    /// # Errors
    /// When it cannot be run. What it finds is in the output, and its status says whether all is as it was recorded.
    pub async fn verify(&self, daemon: &Daemon, binary: &Path, url: &str) -> Result<Output> {
        let mut command = daemon.command(binary);
        command.arg("verify").env("DATABASE_URL", url);
        command.arg("--config").arg(daemon.config());
        command.arg("--checkpoint").arg(self.at(CHECKPOINTS));
        command.arg("--key").arg(self.at(PUBLIC_KEY));
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true).output().await.context("run verify")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}
