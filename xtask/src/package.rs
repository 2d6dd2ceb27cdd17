//! `cargo xtask package`: what is installed elsewhere, a Debian package and a tarball that needs no library.

mod build;
mod deb;
mod depends;
mod files;
mod stage;
mod tarball;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::cargo;
use build::Build;

/// The package's name, and the program's.
const NAME: &str = "bloodbank-audit";

/// Options of `cargo xtask package`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The Debian package; without this and --tar, both
    #[arg(long)]
    deb: bool,
    /// The tarball with a static program
    #[arg(long)]
    tar: bool,
    /// Where to
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    out: PathBuf,
    /// For tests: the program as it is built while developing, and nothing compressed
    #[arg(long)]
    quick: bool,
    /// For tests: as if Cargo.toml said this version
    #[arg(long, requires = "quick")]
    version: Option<String>,
}

/// What every package of one run has in common.
struct Release {
    version: String,
    /// The time that all files have, in seconds since 1970: the same commit makes the same package.
    epoch: u64,
    quick: bool,
    /// Where packages are made.
    out: PathBuf,
}

impl Options {
    /// Makes them, and says what was made.
    pub fn run(self) -> Result<ExitCode> {
        let both = !self.deb && !self.tar;
        let out = cargo::root().join(&self.out);
        fs::create_dir_all(&out).with_context(|| format!("create {}", out.display()))?;
        let version = match self.version {
            Some(version) => version,
            None => version_of_cargo_toml()?,
        };
        let release = Release { version, epoch: epoch()?, quick: self.quick, out };
        if self.deb || both {
            tool::needed(&["dpkg-deb", "md5sum", "gzip", "strip"])?;
            let program = Build::of_this_machine(&release).run()?;
            made(&deb::make(&release, &program)?)?;
        }
        if self.tar || both {
            match Build::without_libraries(&release) {
                Ok(build) => {
                    tool::needed(&["tar", "gzip", "strip"])?;
                    made(&tarball::make(&release, &build.run()?)?)?;
                }
                // Asked for, it is a failure; otherwise there is one package less.
                Err(missing) if both => println!("no tarball: {missing:#}"),
                Err(missing) => return Err(missing),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what was made: path, size and what it can be compared by.
fn made(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{}\n  {} bytes\n  sha256 {digest}", path.display(), bytes.len());
    Ok(())
}

fn version_of_cargo_toml() -> Result<String> {
    let path = cargo::root().join("Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let package = text.split("\n[package]\n").nth(1).context("Cargo.toml has no [package]")?;
    let version = package.lines().find_map(|line| line.strip_prefix("version = "));
    Ok(version.context("Cargo.toml has no version")?.trim_matches('"').to_owned())
}

/// The time of the commit, or what `SOURCE_DATE_EPOCH` says, which is how other builders say it.
fn epoch() -> Result<u64> {
    if let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let epoch = epoch.to_str().and_then(|epoch| epoch.parse().ok());
        return epoch.context("SOURCE_DATE_EPOCH is no number of seconds since 1970");
    }
    let said = tool::output("git", &["log", "-1", "--format=%ct"], &cargo::root()).context(
        "ask git for the time of the commit; outside of a repository, set SOURCE_DATE_EPOCH",
    )?;
    ensure!(!said.trim().is_empty(), "git names no commit; set SOURCE_DATE_EPOCH");
    said.trim().parse().context("read the time of the commit")
}
