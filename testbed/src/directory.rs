//! The directory of one server, and the watchdog that outlives us to clear it away.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::process::{self, Scope};

/// Unix socket paths end at 107 bytes; this leaves room for what stands below the directory.
const LONGEST_BASE: usize = 48;

/// A server's directory: its data, its logs, and by name all of its processes.
///
/// Dropped, it kills what still runs for it and removes itself.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    keep: bool,
    watchdog: Child,
}

impl Directory {
    /// Makes `testbed-<kind>-<random>` in the temporary directory, watched before it exists.
    pub(crate) fn create(kind: &str, keep: bool) -> Result<Self> {
        let keep = keep
            || std::env::var_os("TESTBED_KEEP")
                .is_some_and(|value| !value.is_empty() && value != "0");
        let path = base().join(format!("testbed-{kind}-{:016x}", rand::random::<u64>()));
        let watchdog = watch(&path, keep)?;
        let directory = Self { path, keep, watchdog };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory.path)
            .with_context(|| format!("create {}", directory.path.display()))?;
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path below this directory.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file below this directory and says which one when that fails.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Makes a directory below this one.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// A command whose process counts as one of this directory's: it dies with it.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(process::HOME_VARIABLE, process::marker(&self.path)).current_dir(&self.path);
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        process::kill_all(&self.path, Scope::Everything);
        process::remove_shared_memory(&self.path);
        if self.keep {
            eprintln!("testbed: kept {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
        // The word spares the watchdog its own search; without it, it does all this again.
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}

fn watch(path: &Path, keep: bool) -> Result<Child> {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(include_str!("watchdog.sh"))
        .arg("testbed-watchdog")
        .arg(path)
        .arg(if keep { "keep" } else { "remove" })
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group: a Ctrl-C at the terminal, or a kill of ours, is not for it.
        .process_group(0)
        .spawn()
        .context("start the watchdog, /bin/sh")
}

/// The temporary directory, when every user can pass through it and socket paths below it are short enough.
fn base() -> PathBuf {
    let own = std::env::temp_dir();
    let short = own.as_os_str().len() <= LONGEST_BASE;
    if short && own.is_absolute() && own.ancestors().all(passable) {
        own
    } else {
        PathBuf::from("/tmp")
    }
}

fn passable(directory: &Path) -> bool {
    std::fs::metadata(directory).is_ok_and(|meta| {
        meta.permissions().mode() & 0o001 != 0
            || meta.uid() == nix::unistd::geteuid().as_raw() && !nix::unistd::geteuid().is_root()
    })
}
