//! `bloodbank-audit keys`: private keys that nobody else gets to see, and their public side.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use bloodbank_audit::ledger::{Endorsement, KeyFile, VerifierKey};

use crate::support::{Answer, PROGRAM};

/// A directory of keys, and the program in it.
struct Keys {
    directory: tempfile::TempDir,
}

impl Keys {
    fn none() -> Result<Keys> {
        Ok(Keys { directory: tempfile::tempdir()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("keys").args(arguments).env_clear().stdin(Stdio::null());
        command.current_dir(self.directory.path());
        command
    }

    fn asks(&self, arguments: &[&str]) -> Result<Answer> {
        answer(&mut self.command(arguments))
    }

    /// Makes a key, and tells its public one.
    fn made(&self, arguments: &[&str]) -> Result<VerifierKey> {
        let made = self.asks(&[&["generate"], arguments].concat())?;
        assert_eq!(made.status, 0, "{}", made.stderr);
        let text = String::from_utf8(made.stdout)?;
        let line = text.strip_suffix('\n').context("no line")?;
        Ok(line.parse()?)
    }

    fn refuses(&self, arguments: &[&str], status: i32, words: &[&str]) -> Result<()> {
        let refused = self.asks(arguments)?;
        assert_eq!((refused.status, &*refused.stdout), (status, &b""[..]), "{}", refused.stderr);
        for word in words {
            assert!(refused.stderr.contains(word), "no {word:?} in: {}", refused.stderr);
        }
        assert!(!refused.stderr.contains("PRIVATE+KEY+a"), "{}", refused.stderr);
        Ok(())
    }
}

fn answer(command: &mut Command) -> Result<Answer> {
    let output = command.output()?;
    Ok(Answer {
        status: output.status.code().context("a signal ended it")?,
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.mode() & 0o7777)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

#[test]
fn a_new_key_is_its_owners_alone_and_its_public_side_is_told() -> Result<()> {
    let keys = Keys::none()?;
    let made = keys.asks(&["generate", "--out", "a.key", "--name", "example.org/a"])?;
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert_eq!(mode(&keys.path("a.key"))?, 0o600);
    assert!(
        made.stderr.contains("a.key") && made.stderr.contains("a safe place"),
        "{}",
        made.stderr
    );
    let text = fs::read_to_string(keys.path("a.key"))?;
    let key = KeyFile::parse(&text)?;
    assert_eq!(made.stdout, format!("{}\n", key.signer().verifier()).into_bytes());
    assert_eq!(key.signer().verifier().name().as_str(), "example.org/a");
    assert!(key.endorsement().is_none());
    let private: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(private, [&**key.signer().text()]);
    let shown = keys.asks(&["show", "--key", "a.key"])?;
    assert_eq!((shown.status, &*shown.stderr, shown.stdout), (0, "", made.stdout));
    Ok(())
}

#[test]
fn no_two_keys_are_alike_and_the_name_is_the_hosts_unless_one_is_given() -> Result<()> {
    let keys = Keys::none()?;
    let (one, two) = (keys.made(&["--out", "1"])?, keys.made(&["--out", "2"])?);
    assert_ne!(one.bytes(), two.bytes());
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(one.name().as_str(), format!("bloodbank-audit/{}", host.trim()));
    for wrong in ["", "a b", "a+b", "a\u{a0}b"] {
        let name = format!("--name={wrong}");
        keys.refuses(&["generate", "--out", "3", &name], 2, &["white space", "plus sign"])?;
    }
    assert!(!keys.path("3").exists());
    Ok(())
}

#[test]
fn a_key_is_never_written_over() -> Result<()> {
    let keys = Keys::none()?;
    keys.made(&["--out", "a.key", "--name", "a"])?;
    let before = fs::read(keys.path("a.key"))?;
    keys.refuses(&["generate", "--out", "a.key"], 1, &["a.key", "exists", "name another one"])?;
    keys.refuses(&["generate", "--out", "a.key", "--rotates", "a.key"], 1, &["exists"])?;
    assert_eq!(fs::read(keys.path("a.key"))?, before);
    symlink("elsewhere", keys.path("link"))?;
    keys.refuses(&["generate", "--out", "link"], 1, &["link", "exists"])?;
    assert!(!keys.path("elsewhere").exists());
    keys.refuses(&["generate", "--out", "no/such/a.key"], 1, &["no/such/a.key", "No such file"])?;
    Ok(())
}

#[test]
fn an_old_key_vouches_for_the_one_that_follows_it() -> Result<()> {
    let keys = Keys::none()?;
    let old = keys.made(&["--out", "old.key", "--name", "example.org/a"])?;
    let new = keys.made(&["--out", "new.key", "--rotates", "old.key"])?;
    let named = keys.made(&["--out", "named.key", "--rotates", "new.key", "--name", "b"])?;
    assert_eq!((new.name(), named.name().as_str()), (old.name(), "b"));
    assert_ne!(new.id(), old.id());
    for (file, new, old) in [("new.key", &new, &old), ("named.key", &named, &new)] {
        assert_eq!(mode(&keys.path(file))?, 0o600);
        let shown = String::from_utf8(keys.asks(&["show", "--key", file])?.stdout)?;
        let (key, endorsement) =
            shown.trim_end().split_once("\nendorsed-by ").context(shown.clone())?;
        let endorsement: Endorsement = endorsement.parse()?;
        assert_eq!((key, endorsement.by()), (&*new.to_string(), old));
        endorsement.check(new)?;
    }
    // An endorsement of another key does not make this one the old one's heir.
    let [heir, other] = ["new.key", "named.key"].map(|name| fs::read_to_string(keys.path(name)));
    let forged: String = heir?
        .lines()
        .filter(|line| line.starts_with("endorsed-by"))
        .chain(other?.lines().filter(|line| line.starts_with("PRIVATE")))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(keys.path("forged"), forged)?;
    set_mode(&keys.path("forged"), 0o600)?;
    let said = ["forged is no key file", "line 1 is no endorsement of this key"];
    keys.refuses(&["show", "--key", "forged"], 1, &said)?;
    keys.refuses(&["generate", "--out", "x", "--rotates", "forged"], 1, &said)?;
    keys.refuses(
        &["generate", "--out", "x", "--rotates", "nothing"],
        1,
        &["nothing", "No such file"],
    )?;
    assert!(!keys.path("x").exists());
    Ok(())
}

#[test]
fn what_others_may_use_is_not_read_unless_it_is_a_credential() -> Result<()> {
    let keys = Keys::none()?;
    let public = keys.made(&["--out", "a.key", "--name", "a"])?;
    for wrong in [0o640, 0o604, 0o620, 0o602, 0o644] {
        set_mode(&keys.path("a.key"), wrong)?;
        let said = [&*format!("mode {wrong:04o}"), "chmod 600", "a.key"];
        keys.refuses(&["show", "--key", "a.key"], 1, &said)?;
        keys.refuses(&["generate", "--out", "b.key", "--rotates", "a.key"], 1, &said)?;
    }
    let credentials = keys.path("credentials");
    fs::create_dir(&credentials)?;
    fs::copy(keys.path("a.key"), credentials.join("ledger.key_file"))?;
    set_mode(&credentials.join("ledger.key_file"), 0o440)?;
    let key = "credentials/ledger.key_file";
    keys.refuses(&["show", "--key", key], 1, &["mode 0440"])?;
    let mut command = keys.command(&["show", "--key", key]);
    let shown = answer(command.env("CREDENTIALS_DIRECTORY", &credentials))?;
    assert_eq!((shown.status, shown.stdout), (0, format!("{public}\n").into_bytes()));
    let mut command = keys.command(&["show", "--key", "credentials/../a.key"]);
    let beside = answer(command.env("CREDENTIALS_DIRECTORY", &credentials))?;
    assert_eq!(beside.status, 1, "{}", beside.stderr);
    for right in [0o600, 0o400] {
        set_mode(&keys.path("a.key"), right)?;
        assert_eq!(keys.asks(&["show", "--key", "a.key"])?.status, 0);
    }
    Ok(())
}

#[test]
fn what_is_no_key_file_is_told_where_and_why() -> Result<()> {
    let keys = Keys::none()?;
    let public = keys.made(&["--out", "a.key", "--name", "a"])?.to_string();
    let whole = fs::read_to_string(keys.path("a.key"))?;
    let cut = whole.trim_end().strip_suffix('=').unwrap_or(whole.trim_end());
    let cut = &cut[..cut.len() - 4];
    for (text, words) in [
        (b"".as_slice(), ["no key file", "no private key is in it"]),
        (public.as_bytes(), ["line 1 is no private key", "it is a public key"]),
        (cut.as_bytes(), ["line 2 is no private key", "behind the id"]),
        (b"\xff", ["no key file", "not UTF-8"]),
        (&[b'#'; 65_537], ["file", "too large"]),
    ] {
        let file = keys.path("b.key");
        fs::write(&file, text)?;
        set_mode(&file, 0o600)?;
        keys.refuses(&["show", "--key", "b.key"], 1, &["b.key", words[0], words[1]])?;
    }
    keys.refuses(&["show", "--key", "."], 1, &["private key"])?;
    keys.refuses(&["show", "--key", "nothing"], 1, &["nothing", "No such file"])?;
    Ok(())
}

#[test]
fn a_key_whose_public_side_cannot_be_told_is_kept() -> Result<()> {
    let keys = Keys::none()?;
    let mut command = keys.command(&["generate", "--out", "a.key"]);
    let full = command.stdout(File::options().write(true).open("/dev/full")?);
    let full = full.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let said = String::from_utf8(full.stderr)?;
    assert_eq!(full.status.code(), Some(74), "{said}");
    assert!(said.contains("cannot write to stdout"), "{said}");
    assert_eq!(keys.asks(&["show", "--key", "a.key"])?.status, 0);
    Ok(())
}
