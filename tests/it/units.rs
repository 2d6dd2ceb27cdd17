//! The units: what systemd itself says of them, and that the one for a single bus and the template say the same.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Package, ensure_installed};

/// One bus, and an instance of the template for several.
const UNITS: [&str; 2] = ["bloodbank-audit.service", "bloodbank-audit@.service"];

/// The keys that say which instance it is, and only these may differ.
const OF_AN_INSTANCE: [&str; 6] = [
    "Description",
    "ExecStart",
    "LoadCredential",
    "StateDirectory",
    "LogsDirectory",
    "WorkingDirectory",
];

/// The highest exposure, in tenths, that `systemd-analyze security` may find.
const EXPOSURE: &str = "15";

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(file)
}

/// The lines of a unit that say something, each with its section.
fn settings(unit: &str) -> Result<Vec<String>> {
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in fs::read_to_string(shipped(unit))?.lines() {
        match line {
            "" => {}
            line if line.starts_with('#') => {}
            line if line.starts_with('[') => line.clone_into(&mut section),
            line => settings.push(format!("{section} {line}")),
        }
    }
    Ok(settings)
}

#[test]
fn both_units_say_the_same_but_for_the_instance() -> Result<()> {
    let of_an_instance = |line: &str| {
        let key = line.split_once("] ").and_then(|(_, line)| line.split_once('='));
        key.is_some_and(|(key, _)| OF_AN_INSTANCE.contains(&key))
    };
    let [single, template] = [settings(UNITS[0])?, settings(UNITS[1])?];
    let common = |lines: &[String]| {
        lines.iter().filter(|line| !of_an_instance(line)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(common(&single), common(&template));
    // What is of an instance is in both, and names it in the template.
    let own = |lines: &[String]| {
        lines.iter().filter(|line| of_an_instance(line)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(own(&single).len(), own(&template).len());
    for line in own(&template) {
        assert!(line.contains("%i"), "{line}");
    }
    Ok(())
}

#[test]
fn the_user_is_the_one_that_is_made() -> Result<()> {
    let made = fs::read_to_string(shipped("sysusers.conf"))?;
    let user = made.lines().find_map(|line| line.strip_prefix("u "));
    let user = user.and_then(|rest| rest.split(' ').next()).context("no user is made")?;
    for unit in UNITS {
        let settings = settings(unit)?;
        assert!(settings.contains(&format!("[Service] User={user}")), "{unit}: {settings:#?}");
        assert!(settings.contains(&format!("[Service] Group={user}")), "{unit}: {settings:#?}");
    }
    // What systemd would warn of: its directory's mode and the one that is made are the same.
    let directories = fs::read_to_string(shipped("tmpfiles.conf"))?;
    assert!(directories.contains(&format!("d /etc/{user} 0750 root {user}\n")), "{directories}");
    Ok(())
}

/// A root directory in which the units stand as a package installs them, and what they need of systemd.
struct Staged {
    root: tempfile::TempDir,
}

impl Staged {
    async fn new() -> Result<Staged> {
        ensure_installed(&[Package::Systemd]).await?;
        let staged = Staged { root: tempfile::tempdir()? };
        let units = staged.path("usr/lib/systemd/system");
        fs::create_dir_all(&units)?;
        let targets = ["/usr/lib/systemd/system", "/lib/systemd/system"].map(Path::new);
        let targets = targets.into_iter().find(|path| path.join("basic.target").exists());
        for entry in fs::read_dir(targets.context("no units of systemd")?)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "target") {
                fs::copy(&path, units.join(path.file_name().context("a name")?))?;
            }
        }
        for unit in UNITS {
            fs::copy(shipped(unit), units.join(unit))?;
        }
        // That they can be run is all that is asked of them.
        for program in ["usr/bin/bloodbank-audit", "bin/kill"] {
            let program = staged.path(program);
            fs::create_dir_all(program.parent().context("a directory")?)?;
            fs::write(&program, "#!/bin/sh\n")?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        }
        Ok(staged)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// What `systemd-analyze` says, and whether it is content.
    fn analyze(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg("--root")
            .arg(self.root.path())
            // Without colours, and with nobody's own settings.
            .env("SYSTEMD_LOG_COLOR", "0")
            .output()
            .context("run systemd-analyze")?;
        let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        Ok((output.status.success(), said))
    }

    /// What it finds wrong with a unit. The manual is the package's.
    fn verify(&self, unit: &str) -> Result<(bool, String)> {
        self.analyze(&["verify", "--man=no", unit])
    }
}

#[tokio::test]
async fn systemd_finds_nothing_wrong_with_them() -> Result<()> {
    let staged = Staged::new().await?;
    for unit in UNITS {
        assert_eq!(staged.verify(unit)?, (true, String::new()), "{unit}");
    }
    // It does find what is wrong.
    let unit = staged.path("usr/lib/systemd/system").join(UNITS[0]);
    let typo = fs::read_to_string(&unit)?.replace("\nRestartSec=", "\nRestartSecs=");
    fs::write(&unit, typo)?;
    let (_, said) = staged.verify(UNITS[0])?;
    assert!(said.contains("RestartSecs"), "{said}");
    Ok(())
}

#[tokio::test]
async fn they_are_exposed_to_little() -> Result<()> {
    let staged = Staged::new().await?;
    for unit in UNITS {
        let threshold = format!("--threshold={EXPOSURE}");
        let (content, said) =
            staged.analyze(&["security", "--offline=true", "--no-pager", &threshold, unit])?;
        assert!(content, "{unit}:\n{said}");
        assert!(said.contains("Overall exposure level"), "{unit}:\n{said}");
    }
    Ok(())
}

/// The drop-in is for those that know its keys; the others know everything else in it.
#[tokio::test]
async fn the_growing_delays_are_as_systemd_wants_them() -> Result<()> {
    let staged = Staged::new().await?;
    for unit in UNITS {
        let directory = staged.path("etc/systemd/system").join(format!("{unit}.d"));
        fs::create_dir_all(&directory)?;
        fs::copy(shipped("growing-delays.conf"), directory.join("growing-delays.conf"))?;
        let (content, said) = staged.verify(unit)?;
        let complaints: BTreeSet<&str> =
            said.lines().filter(|line| !unknown_before_254(line)).collect();
        ensure!(content && complaints.is_empty(), "{unit}:\n{said}");
    }
    Ok(())
}

fn unknown_before_254(line: &str) -> bool {
    line.contains("Unknown key")
        && ["'RestartSteps'", "'RestartMaxDelaySec'"].iter().any(|key| line.contains(key))
}
