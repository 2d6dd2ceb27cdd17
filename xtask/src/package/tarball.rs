//! The tarball with a program that needs no library of the machine it runs on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::stage::Stage;
use super::{NAME, Release, files, tool};

/// Makes it; where it is.
///
/// # Errors
/// When a step fails, with which.
pub fn make(release: &Release, program: &Path) -> Result<PathBuf> {
    let name = format!("{NAME}-{}-x86_64-linux-musl", release.version);
    let stage = Stage::new(release.out.join("tar"))?;
    let inside = |path: &str| format!("{name}/{path}");
    let program_bytes = fs::read(program).context("read the program")?;
    stage.program(&inside(&format!("bin/{NAME}")), program_bytes)?;
    stage.file(&inside("etc/bloodbank-audit/config.toml"), files::configuration())?;
    for (page, text) in files::manual(program, &release.out)? {
        stage.file(&inside(&format!("share/man/man1/{page}")), text)?;
    }
    for (shell, file, script) in files::completions(program)? {
        stage.file(&inside(&format!("share/completions/{shell}/{file}")), script)?;
    }
    let of_systemd =
        ["bloodbank-audit.service", "bloodbank-audit@.service", "sysusers.conf", "tmpfiles.conf"];
    let of_systemd = of_systemd.into_iter().map(|file| ("systemd", file));
    for (directory, file) in of_systemd.chain(files::EXAMPLES) {
        let path = format!("{directory}/{file}");
        stage.file(&inside(&path), files::of_repository(&path)?)?;
    }
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
    for file in top.map(str::to_owned).into_iter().chain(files::documents()?) {
        stage.file(&inside(&file), files::of_repository(&file)?)?;
    }
    let tar = format!("{name}.tar");
    let time = format!("--mtime=@{}", release.epoch);
    let whose = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--format=gnu"];
    let path = release.out.join(&tar);
    let file = path.to_str().context("a path that is no UTF-8")?;
    let arguments = [&whose[..], &[&time, "-cf", file, &name]].concat();
    tool::output("tar", &arguments, stage.root())?;
    tool::output("gzip", &["-9nf", &tar], &release.out)?;
    Ok(release.out.join(format!("{tar}.gz")))
}
