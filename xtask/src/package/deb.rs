//! The Debian package.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::stage::Stage;
use super::{NAME, Release, depends, files, tool};
use crate::cargo;

/// What an administrator may change, and an upgrade asks before it replaces it.
const CONFFILE: &str = "etc/bloodbank-audit/config.toml";

/// Makes it; where it is.
///
/// # Errors
/// When a step fails, with which.
pub fn make(release: &Release, program: &Path) -> Result<PathBuf> {
    let stage = Stage::new(release.out.join("deb"))?;
    fill(&stage, release, program)?;
    let architecture = tool::output("dpkg", &["--print-architecture"], &cargo::root())?;
    let architecture = architecture.trim();
    control(&stage, release, program, architecture)?;
    let path = release.out.join(format!("{NAME}_{}_{architecture}.deb", release.version));
    let status = Command::new("dpkg-deb")
        .args(["--root-owner-group", if release.quick { "-Znone" } else { "-Zxz" }, "--build"])
        .args([stage.root(), &path])
        // Newer times than that become that.
        .env("SOURCE_DATE_EPOCH", release.epoch.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("run dpkg-deb")?;
    if !status.success() {
        bail!("dpkg-deb ended with {status}");
    }
    Ok(path)
}

/// The files that are installed.
fn fill(stage: &Stage, release: &Release, program: &Path) -> Result<()> {
    stage.program(&format!("usr/bin/{NAME}"), fs::read(program).context("read the program")?)?;
    for unit in [format!("{NAME}.service"), format!("{NAME}@.service")] {
        let content = files::of_repository(&format!("systemd/{unit}"))?;
        stage.file(&format!("usr/lib/systemd/system/{unit}"), content)?;
    }
    for kind in ["sysusers", "tmpfiles"] {
        let content = files::of_repository(&format!("systemd/{kind}.conf"))?;
        stage.file(&format!("usr/lib/{kind}.d/{NAME}.conf"), content)?;
    }
    stage.file(CONFFILE, files::configuration())?;
    for (name, page) in files::manual(program, &release.out)? {
        stage.compressed(&format!("usr/share/man/man1/{name}"), page)?;
    }
    for (shell, name, script) in files::completions(program)? {
        let directory = match shell {
            "zsh" => "zsh/vendor-completions",
            "fish" => "fish/vendor_completions.d",
            _ => "bash-completion/completions",
        };
        stage.file(&format!("usr/share/{directory}/{name}"), script)?;
    }
    let documents = format!("usr/share/doc/{NAME}");
    for name in ["README.md", "ARCHITECTURE.md"] {
        stage.file(&format!("{documents}/{name}"), files::of_repository(name)?)?;
    }
    for name in files::documents()? {
        stage.file(&format!("{documents}/{name}"), files::of_repository(&name)?)?;
    }
    stage.compressed(&format!("{documents}/changelog"), files::of_repository("CHANGELOG.md")?)?;
    for (directory, name) in files::EXAMPLES {
        let content = files::of_repository(&format!("{directory}/{name}"))?;
        stage.file(&format!("{documents}/examples/{name}"), content)?;
    }
    let copyright = files::of_repository("packaging/debian/copyright")?;
    stage.file(&format!("{documents}/copyright"), copyright)
}

/// What the package manager reads.
fn control(stage: &Stage, release: &Release, program: &Path, architecture: &str) -> Result<()> {
    let installed = stage.files()?;
    let mut bytes = 0;
    for file in &installed {
        bytes += fs::metadata(stage.root().join(file)).context("look at a staged file")?.len();
    }
    let summed: Vec<&str> =
        installed.iter().map(String::as_str).filter(|file| *file != CONFFILE).collect();
    let sums = tool::output("md5sum", &summed, stage.root())?;
    let mut control = String::new();
    for (field, value) in [
        ("Package", NAME),
        ("Version", &release.version),
        ("Architecture", architecture),
        ("Maintainer", "The bloodbank-audit developers <bloodbank-audit@localhost>"),
        ("Installed-Size", &bytes.div_ceil(1024).to_string()),
        ("Depends", &depends::of(program, &release.out)?),
        ("Recommends", "ca-certificates"),
        ("Suggests", "postgresql, rabbitmq-server"),
        ("Section", "database"),
        ("Priority", "optional"),
        ("Description", "complete history of a RabbitMQ event bus in PostgreSQL"),
    ] {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(control, "{field}: {value}");
    }
    for line in [
        "A daemon binds a durable queue to the topic exchange of a bus, stores every event",
        "byte for byte, acknowledges only what is committed, dead-letters what cannot be",
        "stored, and survives every outage of either side. Commands query, trace and replay",
        "the history.",
    ] {
        let _ = writeln!(control, " {line}");
    }
    stage.file("DEBIAN/control", control)?;
    stage.file("DEBIAN/md5sums", sums)?;
    stage.file("DEBIAN/conffiles", format!("/{CONFFILE}\n"))?;
    for script in ["postinst", "prerm", "postrm"] {
        let content = files::of_repository(&format!("packaging/debian/{script}"))?;
        stage.program(&format!("DEBIAN/{script}"), content)?;
    }
    Ok(())
}
