//! Which PostgreSQL programs to run, and as whom.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};

/// The variable that names another installation.
pub(crate) const BIN_VARIABLE: &str = "TESTBED_POSTGRES_BIN";

/// Whether one of the distribution's packages is there.
pub(crate) fn is_installed() -> bool {
    newest().is_some()
}

/// The directory of the server's programs, and the user to run them as.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    bin: PathBuf,
    user: Option<User>,
}

impl Installation {
    /// `TESTBED_POSTGRES_BIN`, else the newest below `/usr/lib/postgresql`.
    pub(crate) fn find() -> Result<Self> {
        let bin = match std::env::var_os(BIN_VARIABLE) {
            Some(bin) => {
                let bin = PathBuf::from(bin);
                if !complete(&bin) {
                    bail!("{BIN_VARIABLE}={} holds no initdb, postgres and psql", bin.display());
                }
                bin
            }
            None => newest().with_context(|| {
                format!("PostgreSQL is not installed: install the package postgresql, or name another installation in {BIN_VARIABLE}")
            })?,
        };
        let user = if geteuid().is_root() {
            // PostgreSQL refuses to run as root, so it runs as the user that its package makes.
            let user = User::from_name("postgres").context("look up the user postgres")?;
            Some(user.context(
                "PostgreSQL refuses to run as root, and there is no user postgres to run it as",
            )?)
        } else {
            None
        };
        Ok(Self { bin, user })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Makes the command run as the server's user, in that user's primary group and no other.
    pub(crate) fn run_as_server(&self, command: &mut Command) {
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            command.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name);
        }
    }

    /// Gives a file or directory to the server's user.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        match &self.user {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("give {} to {}", path.display(), user.name)),
            None => Ok(()),
        }
    }
}

fn complete(bin: &Path) -> bool {
    ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).is_file())
}

fn newest() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .flatten()
        .filter_map(|version| {
            Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path().join("bin")))
        })
        .filter(|(_, bin)| complete(bin))
        .max()
        .map(|(_, bin)| bin)
}
