//! Files and directories of this machine: who can read passwords, and whether log files can be written.

use std::{
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    Setup, disk,
    finding::{Area, Finding},
    shell::word,
};

const AREA: Area = Area::Files;

/// A file that holds a password or a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// Where it is.
    pub path: PathBuf,
    /// Which keys it sets.
    pub keys: Vec<String>,
}

/// The file of the key that signs the ledger, and what came of reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerKey {
    /// Where it is.
    pub path: PathBuf,
    /// Its public key; or why it cannot be used, in words.
    pub read: Result<String, String>,
}

/// Looks at all of them.
pub fn check(setup: &Setup) -> Vec<Finding> {
    // One that is not ends the command before anything is looked at.
    let mut findings = vec![Finding::ok(
        AREA,
        "configuration",
        "each key is understood, and none clashes with another",
    )];
    findings.extend(setup.secrets.iter().map(secret));
    if !setup.shown.is_empty() {
        findings.push(
            Finding::warning(
                AREA,
                "command line",
                format!(
                    "{} on the command line, where every user of this machine sees the password",
                    setup.shown.join(" and ")
                ),
            )
            .advise("write it into the environment, a credential of systemd, or a file that only the daemon's user can read"),
        );
    }
    findings.extend(setup.ledger_key.as_ref().map(ledger_key));
    if let Some(directory) = &setup.log_directory {
        findings.extend(logs(directory));
    }
    findings
}

/// A file with a password should be for its user, perhaps for its group, and for nobody else.
fn secret(file: &SecretFile) -> Finding {
    let SecretFile { path, keys } = file;
    let shown = path.display();
    let held = keys.join(", ");
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Finding::unknown(AREA, "modes", format!("{shown}: {error}"));
        }
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let chmod = |change: &str| format!("chmod {change} {}", word(&path.to_string_lossy()));
    let found = |what: &str| format!("{shown} (mode {mode:04o}) holds {held}: {what}");
    if mode & 0o022 != 0 {
        Finding::warning(AREA, "modes", found("others can change it"))
            .advise("let nobody but its owner write it, and nobody else read it")
            .command(chmod("go-w,o-r"))
    } else if mode & 0o004 != 0 {
        Finding::warning(AREA, "modes", found("every user of this machine can read it"))
            .advise("let only the daemon's user read it, or move what it holds into a credential")
            .command(chmod("o-rwx"))
    } else {
        Finding::ok(AREA, "modes", found("not for everybody to read"))
    }
}

/// A log file that this user cannot write on, as where somebody else ran the daemon to try it out.
fn not_ours(directory: &Path) -> Option<PathBuf> {
    let of_logs = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("bloodbank-audit.") && name.ends_with(".log")
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(of_logs).find(|path| {
        let denied = [Errno::ACCESS, Errno::PERM, Errno::ROFS];
        access(path, Access::WRITE_OK).is_err_and(|error| denied.contains(&error))
    })
}

/// Anybody who can use the key can sign in the daemon's name.
fn ledger_key(key: &LedgerKey) -> Finding {
    let check = "ledger key";
    let said = match &key.read {
        Ok(public) => return Finding::ok(AREA, check, format!("the ledger is signed by {public}")),
        Err(said) => said,
    };
    let finding = Finding::fault(AREA, check, said.as_str());
    let path = word(&key.path.to_string_lossy()).into_owned();
    match std::fs::metadata(&key.path) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => finding
            .advise("let nobody but its owner use it, who is the daemon's user")
            .command(format!("chmod 600 {path}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => finding
            .advise("make one, as the daemon's user, or unset ledger.key_file")
            .command(format!("bloodbank-audit keys generate --out {path}")),
        _ => finding
            .advise("set ledger.key_file to a file that `bloodbank-audit keys generate` has made"),
    }
}

/// The daemon makes the directory where it is missing.
fn logs(directory: &Path) -> Vec<Finding> {
    let shown = directory.display();
    let written = word(&directory.to_string_lossy()).into_owned();
    let uid = rustix::process::geteuid().as_raw();
    let own = || format!("install -d -m 0750 -o {uid} {written}");
    let finding = match std::fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => {
            Finding::fault(AREA, "log directory", format!("{shown} is no directory"))
                .advise("set log.directory to a directory, or unset it")
        }
        Ok(metadata) => match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => match not_ours(directory) {
                None => Finding::ok(AREA, "log directory", format!("{shown} can be written to")),
                Some(file) => Finding::fault(
                    AREA,
                    "log directory",
                    format!(
                        "user {uid} cannot write to {}, as where another user has begun it",
                        file.display()
                    ),
                )
                .advise("give the log files to the user that the daemon runs as")
                .command(format!("chown -R {uid} {written}")),
            },
            Err(error) => Finding::fault(
                AREA,
                "log directory",
                format!(
                    "user {uid} cannot write to {shown} (owner {}, mode {:04o}): {}",
                    metadata.uid(),
                    metadata.mode() & 0o7777,
                    io::Error::from(error)
                ),
            )
            .advise("give it to the user that the daemon runs as")
            .command(format!("chown {uid} {written}")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = directory.ancestors().skip(1).find(|above| above.exists());
            match above.map(|above| access(above, Access::WRITE_OK | Access::EXEC_OK)) {
                Some(Ok(())) => Finding::ok(
                    AREA,
                    "log directory",
                    format!("{shown} is not there, and can be made by the daemon"),
                ),
                _ => Finding::fault(
                    AREA,
                    "log directory",
                    format!("{shown} is not there, and user {uid} cannot make it"),
                )
                .advise("make it for the user that the daemon runs as")
                .command(own()),
            }
        }
        Err(error) => Finding::fault(AREA, "log directory", format!("{shown}: {error}"))
            .advise(
                "set log.directory to a directory that the daemon's user can write to, or make one",
            )
            .command(own()),
    };
    let mut findings = vec![finding];
    if let Some(there) = directory.ancestors().find(|above| above.exists()) {
        findings.push(disk::check(AREA, "log disk", there));
    }
    findings
}
