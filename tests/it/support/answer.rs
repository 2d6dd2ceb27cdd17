//! A command that ends by itself: what it said, and its exit status.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};

use super::Scene;

/// What a command wrote, and how it ended.
#[derive(Debug)]
pub struct Answer {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Runs `bloodbank-audit` as this scene is configured.
    pub fn of(scene: &Scene, arguments: &[&str]) -> Result<Answer> {
        Answer::with(arguments, &scene.environment())
    }

    /// Runs it with this environment.
    pub fn with(arguments: &[&str], environment: &[(String, String)]) -> Result<Answer> {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .context("run bloodbank-audit")?;
        let text = |bytes| String::from_utf8(bytes).context("its output is not UTF-8");
        Ok(Answer { status: status.code(), out: text(stdout)?, err: text(stderr)? })
    }

    /// What it wrote, as JSON; it found something.
    pub fn json(&self) -> Result<serde_json::Value> {
        anyhow::ensure!(self.status == Some(0), "{self:?}");
        serde_json::from_str(&self.out).with_context(|| format!("{self:?}"))
    }
}
