//! Broken on this machine: passwords that others can read, logs that cannot be written, a configuration that is wrong.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::Checked;
use crate::support::{
    Answer, Bed, PROGRAM, Scene,
    authority::{Authority, Issued, VALID},
};

/// Checks what that file configures, and these arguments.
fn checks(file: &Path, more: &[&str]) -> Result<Answer> {
    let output = Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"))
        .args(["check", "--json", "--config"])
        .arg(file)
        .args(more)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    Ok(Answer {
        status: output.status.code().context("a signal ended it")?,
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr)?,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_others_can_read_are_named_and_mended() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("config.toml");
    let url = bed.rabbitmq.amqp_url();
    let text = format!("rabbitmq.url = \"{url}\"\npostgres.url = \"{}\"\n", scene.database_url());
    fs::write(&file, text)?;
    let modes = ("files", "modes");
    for (mode, said, command) in [
        (0o644, "every user of this machine can read it", "chmod o-rwx"),
        (0o660, "others can change it", "chmod go-w,o-r"),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        let checked = Checked::by(&checks(&file, &[])?)?;
        let commands = checked.finds(modes, "warning", said, command);
        ensure!(checked.all(modes.0, modes.1)[0]["found"].as_str().is_some_and(|found| {
            found.contains("rabbitmq.url") && !found.contains("postgres.url")
        }));
        ensure!(Command::new("sh").args(["-c", &commands[0]]).status()?.success());
        Checked::by(&checks(&file, &[])?)?.is_well("files", "modes");
    }
    // A file of its own that a key names holds it no safer.
    let apart = directory.path().join("broker");
    fs::write(&apart, &url)?;
    fs::set_permissions(&apart, fs::Permissions::from_mode(0o644))?;
    let named = format!("rabbitmq.url_file={}", apart.display());
    let checked = Checked::by(&checks(Path::new("/dev/null"), &["--set", &named])?)?;
    let commands =
        checked.finds(modes, "warning", "every user of this machine can read", "chmod o-rwx");
    assert!(commands[0].contains(&*apart.display().to_string()), "{commands:?}");
    // Nor is a private key.
    let authority = Authority::new(directory.path(), "house")?;
    let Issued { certificate, key } = authority.issues("client", "audit", &[], VALID)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let certificate = format!("rabbitmq.tls_client_cert={}", certificate.display());
    let named = format!("rabbitmq.tls_client_key={}", key.display());
    let keyed = checks(Path::new("/dev/null"), &["--set", &certificate, "--set", &named])?;
    let said = "holds rabbitmq.tls_client_key: every user of this machine can read it";
    Checked::by(&keyed)?.finds(modes, "warning", said, "chmod o-rwx");
    let answer = checks(&file, &["--rabbit-url", &url])?;
    let shown = ("files", "command line");
    let checked = Checked::by(&answer)?;
    checked.finds(shown, "warning", "rabbitmq.url on the command line", "a credential of systemd");
    assert!(!String::from_utf8_lossy(&answer.stdout).contains("guest:guest"), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_ledger_that_cannot_be_used_is_named_and_mended() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let directory = tempfile::tempdir()?;
    let key = directory.path().join("a.key");
    let ledger_key = ("files", "ledger key");
    let scene = scene.with("ledger.key_file", key.display().to_string());
    let typed = |commands: &[String]| -> Result<()> {
        let program = Path::new(PROGRAM).parent().context("a directory")?;
        let command = format!("PATH={}:$PATH; {}", program.display(), commands[0]);
        ensure!(Command::new("sh").args(["-c", &command]).output()?.status.success());
        Checked::of(&scene)?.is_well(ledger_key.0, ledger_key.1);
        Ok(())
    };
    let checked = Checked::of(&scene)?;
    typed(&checked.finds(ledger_key, "fault", "No such file", "bloodbank-audit keys generate"))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640))?;
    typed(&Checked::of(&scene)?.finds(ledger_key, "fault", "mode 0640", "chmod 600"))?;
    fs::write(&key, "nothing")?;
    let said = "does not begin with PRIVATE+KEY+";
    Checked::of(&scene)?.finds(ledger_key, "fault", said, "set ledger.key_file");
    let off = Checked::of(&scene.with("ledger.enabled", "false".to_owned()))?;
    ensure!(off.all(ledger_key.0, ledger_key.1).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_directory_that_cannot_be_written_is_named() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let directory = tempfile::tempdir()?;
    let logs = ("files", "log directory");
    let at = |path: &Path| scene.clone().with("log.directory", path.display().to_string());

    let file = directory.path().join("file");
    fs::write(&file, "")?;
    Checked::of(&at(&file))?.finds(logs, "fault", "is no directory", "set log.directory");
    Checked::of(&at(&file.join("logs")))?.finds(logs, "fault", "Not a directory", "install -d");

    let new = directory.path().join("new");
    let checked = Checked::of(&at(&new))?;
    checked.is_well("files", "log directory");
    assert_eq!(checked.all("files", "log disk").len(), 1);
    assert!(!new.exists());
    Ok(())
}

/// Root may write to every file, so this one is on a file system that nobody may write to.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_file_of_another_user_is_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bloodbank-audit.2026-11-29.log");
    fs::write(&file, "")?;
    // What is not there yet can be made.
    std::os::unix::fs::symlink("nowhere", directory.path().join("bloodbank-audit.log"))?;
    let scene = Scene::set(Bed::shared().await?).await?;
    let scene = scene.with("log.directory", directory.path().display().to_string());
    Checked::of(&scene)?.is_well("files", "log directory");
    let seen = r#"mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@""#;
    let output = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", seen])
        .arg(&file)
        .args([env!("CARGO_BIN_EXE_bloodbank-audit"), "check", "--json"])
        .env_clear()
        .envs(scene.environment())
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    let answer = Answer {
        status: output.status.code().context("a signal ended it")?,
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr)?,
    };
    let said = "bloodbank-audit.2026-11-29.log, as where another user has begun it";
    Checked::by(&answer)?.finds(("files", "log directory"), "fault", said, "chown -R");
    Ok(())
}

#[test]
fn a_wrong_configuration_is_said_and_nothing_else_is_looked_at() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("config.toml");
    fs::write(&file, "[rabbitmq]\nqueu = \"x\"\n")?;
    let answer = checks(&file, &[])?;
    answer.refuses(78, "queu");
    assert_eq!(checks(&file, &["--no-such-flag"])?.status, 2);
    Ok(())
}
