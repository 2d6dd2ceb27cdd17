//! What is kept of a run that failed: the logs, and the schedule.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Plan;
use crate::cargo;
use crate::screen::Screen;
use crate::stage::Stage;

/// Copies the logs to a directory below `target`, and says where.
pub fn keep(screen: &Screen, stage: &Stage, plan: &Plan) {
    let directory = cargo::root().join("target/soak").join(format!("seed-{}", plan.seed));
    match copy(&directory, stage, plan) {
        Ok(()) => screen.line(format!("  logs: {}", directory.display())),
        Err(error) => screen.line(format!("  the logs could not be kept: {error:#}")),
    }
}

fn copy(directory: &Path, stage: &Stage, plan: &Plan) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let logs: [(PathBuf, &str); 3] = [
        (stage.daemon.log(), "daemon.log"),
        (stage.rabbitmq.log_file(), "rabbitmq.log"),
        (stage.postgres.log_file(), "postgres.log"),
    ];
    for (log, name) in logs {
        fs::copy(&log, directory.join(name)).with_context(|| format!("copy {}", log.display()))?;
    }
    fs::write(directory.join("schedule"), plan.schedule.to_string()).context("write the schedule")
}
