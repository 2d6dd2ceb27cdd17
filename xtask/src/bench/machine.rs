//! The machine that a run was on, and the servers.

use anyhow::{Context as _, Result};
use bloodbank_audit::event;
use serde::Serialize;
use tokio::process::Command;

use super::scene::Scene;

/// What makes figures of different runs comparable, or not.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// In UTC.
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub postgres: String,
    pub rabbitmq: String,
    /// Processes that wanted to run, on average over the last minute, before anything was measured.
    pub load_before: f64,
    /// The commit that was measured.
    pub commit: String,
}

impl Machine {
    /// Looks around.
    ///
    /// # Errors
    /// When something does not say.
    pub async fn look(scene: &Scene) -> Result<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let meminfo = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
        let kibibytes: f64 = word(&meminfo, 1).parse().context("read the memory's size")?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .context("read the kernel's name")?;
        let load = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
        let now = event::now();
        let git = Command::new("git").args(["describe", "--always", "--dirty"]).output().await;
        let commit = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        Ok(Self {
            date: format!("{} {:02}:{:02}", now.date(), now.hour(), now.minute()),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_gib: (kibibytes / 1024.0 / 1024.0).round(),
            kernel: kernel.trim().to_owned(),
            postgres: scene.postgres.sql("postgres", "show server_version").await?,
            rabbitmq: scene.rabbitmq.ctl(&["version"]).await?.trim().to_owned(),
            load_before: word(&load, 0).parse().context("read the load")?,
            commit: commit.unwrap_or_default(),
        })
    }
}

fn word(text: &str, place: usize) -> &str {
    text.split_whitespace().nth(place).unwrap_or_default()
}
