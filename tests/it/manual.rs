//! Completions and manual pages: each command is in them.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result};
use bloodbank_audit::cli::Cli;
use clap::CommandFactory as _;

fn asks(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"));
    Ok(command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null()).output()?)
}

/// What it printed, without any configuration.
fn printed(arguments: &[&str]) -> Result<String> {
    let output = asks(arguments)?;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn commands() -> BTreeSet<String> {
    let names = Cli::command();
    let names = names.get_subcommands().map(|command| command.get_name().to_owned());
    names.collect()
}

#[test]
fn every_command_is_completed_in_every_shell() -> Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell])?;
        for command in commands() {
            assert!(script.contains(&command), "{command} is not completed by {shell}");
        }
        assert!(script.contains("--exact") || script.contains("-l exact"), "{shell}");
    }
    let mut bash = Command::new("bash").args(["-n", "-s"]).stdin(Stdio::piped()).spawn()?;
    bash.stdin.take().context("stdin")?.write_all(printed(&["completions", "bash"])?.as_bytes())?;
    assert!(bash.wait()?.success());
    assert_eq!(asks(&["completions", "bsh"])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn every_command_has_a_page() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path().join("man1");
    let out = directory.to_str().context("a path")?;
    assert_eq!(printed(&["man", "--out", out])?, "");
    let program = printed(&["man"])?;
    for command in commands() {
        let page = std::fs::read_to_string(directory.join(format!("bloodbank-audit-{command}.1")))?;
        let alone = printed(&["man", &command])?;
        for text in [&page, &alone] {
            assert!(
                text.contains(".SH NAME") && text.contains("Exit status:"),
                "{command}: {text}"
            );
            // Examples are not stretched.
            assert!(text.contains("\n.SH NOTES\n.ad l\n.nh\n"), "{command}: {text}");
        }
        // A hyphen in a page is written with a backslash.
        let escaped = command.replace('-', "\\-");
        assert!(
            program.contains(&format!("bloodbank\\-audit\\-{escaped}")),
            "{command}: {program}"
        );
    }
    assert!(directory.join("bloodbank-audit.1").exists());
    let mistyped = asks(&["man", "evnets"])?;
    let said = String::from_utf8(mistyped.stderr)?;
    assert_eq!(
        (mistyped.status.code(), said.contains("did you mean events?")),
        (Some(2), true),
        "{said}"
    );
    assert_eq!(asks(&["man", "--out", "/dev/null/man"])?.status.code(), Some(74));
    Ok(())
}
