//! The optimised build: of the daemon, and of this program, which publishes and consumes beside it.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// Builds both where they are not up to date.
///
/// # Errors
/// When they do not build; what the compiler says is on stderr.
pub fn build() -> Result<()> {
    let mut build = cargo::command();
    build
        .args(["build", "--quiet", "--release"])
        .args(["--package", "xtask", "--package", "bloodbank-audit"])
        .args(["--bin", "xtask", "--bin", "bloodbank-audit"]);
    let status = build.status().context("run cargo build")?;
    if !status.success() {
        bail!("cargo build --release ended with {status}");
    }
    Ok(())
}

/// Builds both and becomes the optimised one, with the same arguments.
///
/// # Errors
/// When they do not build.
pub fn run_again() -> Result<ExitCode> {
    build()?;
    let program = target()?.join("release/xtask");
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}

/// The daemon's program, beside ours.
///
/// # Errors
/// When nobody knows where we are.
pub fn daemon() -> Result<PathBuf> {
    Ok(std::env::current_exe().context("find this program")?.with_file_name("bloodbank-audit"))
}

/// Cargo's target directory.
///
/// # Errors
/// When nobody knows where we are.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    Ok(program.ancestors().nth(2).context("this program is nowhere")?.to_owned())
}
