//! Files, variables and flags that cannot even be read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{Given, says};

#[test]
fn a_section_that_is_a_value_and_a_value_that_is_a_section() {
    let text = Given::nothing().file("rabbitmq = 5\n").refusal();
    says(&text, &["rabbitmq: it is a section, written [rabbitmq]", "(from file DIR/given.toml)"]);
}

#[test]
fn a_file_that_is_not_toml_says_where() {
    let text = Given::nothing().file("[rabbitmq]\nqueue = \"é\" x\n").refusal();
    says(&text, &["file DIR/given.toml: not valid TOML at line 2, column 13"]);
    let text = Given::nothing().file("[log]\nlevel = \"a\"\nlevel = \"b\"\n").refusal();
    says(&text, &["file DIR/given.toml: not valid TOML at line 3", "duplicate key"]);
    let text = Given::nothing().file(b"[log]\nlevel = \"\xff\"\n").refusal();
    says(&text, &["DIR/given.toml: line 2 is not UTF-8"]);
}

#[test]
fn a_named_file_must_exist_and_be_a_file() {
    let mut given = Given::nothing();
    let absent = given.path("absent.toml");
    given.flags = given.flags.with_file(absent);
    says(&given.refusal(), &["DIR/absent.toml: the file does not exist (from flag --config)"]);
    given.flags = given.flags.with_file(given.directory.path());
    says(&given.refusal(), &["DIR: it is a directory, not a file (from flag --config)"]);
}

#[test]
fn a_broken_dotenv_says_the_line_and_not_its_content() {
    let text = Given::nothing().dotenv("A=1\n\nsecret words hunter2\n").refusal();
    says(&text, &["DIR/.env: line 3 is not NAME=value"]);
    assert!(!text.contains("hunter2"), "{text}");
    says(&Given::nothing().dotenv(b"A=\xff\n").refusal(), &["DIR/.env: line 1 is not UTF-8"]);
}

#[test]
fn a_variable_that_is_not_utf8_is_named() {
    let mut given = Given::nothing();
    let value = OsStr::from_bytes(b"amqp://\xff");
    given.environment =
        given.environment.with_variable("RABBIT_URL", value).with_variable("OTHER", value);
    says(
        &given.refusal(),
        &["rabbitmq.url: the variable's value is not UTF-8 (from environment RABBIT_URL)"],
    );
}

#[test]
fn a_set_without_a_key_is_refused_and_not_quoted() {
    for assignment in ["amqp://u:hunter2@h/", "=x", "amqp://u:hunter2@h/?a=b", "ingest prefetch=1"]
    {
        let text = Given::nothing().set(assignment).refusal();
        says(
            &text,
            &["flag --set: not section.key=value", "for example --set ingest.prefetch=500"],
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}
