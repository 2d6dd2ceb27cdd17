//! The real binary: exit codes, and what it prints where.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use bloodbank_audit::config::DEFAULTS;
use tempfile::TempDir;

use super::says;

/// The binary without any variable, in a directory of its own.
fn binary(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"));
    command.env_clear().current_dir(directory).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = TempDir::new().unwrap();
    outcome(binary(directory.path()).args(arguments).output().unwrap())
}

fn outcome(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_are_answers() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    says(&stdout, &["Exit status:", "75  a stop was cut short", "78  the configuration is wrong"]);
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!(
        (code, &*stdout),
        (Some(0), concat!("bloodbank-audit ", env!("CARGO_PKG_VERSION"), "\n"))
    );
}

#[test]
fn a_wrong_command_line_exits_2() {
    for arguments in
        [&[][..], &["--queue", "x"], &["walk"], &["run", "--fast"], &["config", "--log-level"]]
    {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, &*stdout), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains("Usage: ") || stderr.contains("--help"), "{stderr}");
    }
    let (code, _, stderr) = run(&["run", "amqp://u:hunter2@h/"]);
    assert_eq!(code, Some(2));
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn config_prints_what_is_in_effect() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join(".env"), "DATABASE_URL=postgres://u:hunter2@h/db\n")
        .unwrap();
    let mut command = binary(directory.path());
    command.env("RABBIT_URL", "amqp://u:hunter2@h/").args(["config", "--queue", "mine"]);
    let (code, stdout, stderr) = outcome(command.output().unwrap());
    assert_eq!((code, &*stderr), (Some(0), ""));
    says(
        &stdout,
        &[
            "[rabbitmq]\nurl = \"amqp://u:***@h:5672/%2F\"  # environment RABBIT_URL\n",
            "queue = \"mine\"  # flag --queue\n",
            "url = \"postgres://u:***@h/db\"  # .env DATABASE_URL\n",
        ],
    );
}

#[test]
fn config_defaults_prints_the_shipped_file_even_where_the_configuration_is_wrong() {
    let (code, stdout, _) = run(&["--set", "ingest.prefetch=0", "config", "--defaults"]);
    assert_eq!((code, &*stdout), (Some(0), DEFAULTS));
}

#[test]
fn a_wrong_configuration_exits_78_from_every_subcommand() {
    for subcommand in ["run", "migrate", "config"] {
        let (code, stdout, stderr) =
            run(&[subcommand, "--set", "ingest.prefetch=0", "--rabbit-url", "x://u:hunter2@h"]);
        assert_eq!((code, &*stdout), (Some(78), ""), "{subcommand}");
        says(
            &stderr,
            &[
                "bloodbank-audit: the configuration has 2 problems:\n",
                "  rabbitmq.url: the scheme is neither amqp nor amqps; allowed: amqp://user:password@host",
                "(from flag --rabbit-url)\n",
                "  ingest.prefetch: 0 is out of range",
            ],
        );
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn a_log_directory_that_cannot_be_written_exits_78() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = binary(directory.path());
    command.args(["run", "--set"]).arg(format!("log.directory={}/logs", file.display()));
    let (code, _, stderr) = outcome(command.output().unwrap());
    assert_eq!(code, Some(78));
    says(
        &stderr,
        &[
            "log.directory: cannot write log files in",
            "/file/logs: ",
            "create it, or give it to this user\n",
        ],
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let directory = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = binary(directory.path()).arg("config").stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
