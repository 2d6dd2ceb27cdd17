//! Programs of the distribution.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Whether there is a program of this name.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Makes sure that these are there.
///
/// # Errors
/// Names those that are not, and the Debian package of each.
pub fn needed(programs: &[&str]) -> Result<()> {
    let missing: Vec<String> = programs
        .iter()
        .filter(|program| !is_there(program))
        .map(|program| format!("{program} (Debian: {})", debian(program)))
        .collect();
    if missing.is_empty() { Ok(()) } else { bail!("missing: {}", missing.join(", ")) }
}

fn debian(program: &str) -> &str {
    match program {
        "dpkg-deb" => "dpkg",
        "md5sum" => "coreutils",
        "strip" => "binutils",
        "musl-gcc" => "musl-tools",
        same => same,
    }
}

/// What a program writes to stdout; stderr is ours.
///
/// # Errors
/// When it cannot be started, fails, or writes no UTF-8.
pub fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S], directory: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {program} says"))
}
