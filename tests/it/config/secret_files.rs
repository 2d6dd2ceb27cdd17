//! Secrets in files that a key names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Given, says};

const VARIABLE: &str = "BLOODBANK_AUDIT__RABBITMQ__URL_FILE";

impl Given {
    /// A file with a secret in it, and its path.
    fn secret(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

#[test]
fn the_content_of_the_file_is_the_value_and_config_says_where_it_came_from() {
    let given = Given::nothing();
    let rabbitmq = given.secret("rabbitmq", "amqp://u:p%20w@broker/bus\n");
    let postgres = given.secret("postgres", "postgres://u:secret@db/history\r\n\n");
    let management = given.secret("management", "https://u:secret@broker/");
    let text = format!("[postgres]\nurl_file = {postgres:?}\n");
    let given = given
        .file(text)
        .variable(VARIABLE, &rabbitmq)
        .set(&format!("rabbitmq.management_url_file={management}"));
    let config = given.config();
    assert_eq!(config.rabbitmq.url.password.expose(), "p w");
    assert_eq!(config.postgres.url.expose(), "postgres://u:secret@db/history");
    assert!(config.rabbitmq.management_url.is_some());
    let toml = given.loaded().to_toml();
    says(
        &toml,
        &[
            &format!(
                "url = \"amqp://u:***@broker:5672/bus\"  # {rabbitmq}, which environment {VARIABLE} names\n"
            ),
            &format!("# {postgres}, which file {} names\n", given.path("given.toml").display()),
            &format!("# {management}, which flag --set rabbitmq.management_url_file names\n"),
        ],
    );
    assert!(!toml.contains("secret@"), "{toml}");
    // What is shown can be loaded again.
    Given::nothing().file(toml).config();
}

#[test]
fn a_file_ranks_with_the_layer_that_names_it_and_one_that_does_not_count_is_not_read() {
    let host = |given: &Given| given.config().rabbitmq.url.host.clone();
    let given = Given::nothing();
    let [low, high] = ["low", "high"].map(|host| given.secret(host, format!("amqp://u:p@{host}/")));
    let given = given.default_file(format!("[rabbitmq]\nurl_file = {low:?}\n"));
    assert_eq!(host(&given), "low");
    let given = given.dotenv("RABBIT_URL=amqp://u:p@dotenv/\n");
    assert_eq!(host(&given), "dotenv");
    fs::remove_file(&low).unwrap();
    assert_eq!(host(&given), "dotenv");
    // The daemon's own variable wins over the shared one of its layer, as with the URL itself.
    let given = given.variable("RABBIT_URL", "amqp://u:p@shared/").variable(VARIABLE, &high);
    assert_eq!(host(&given), "high");
    let given = given.credential("rabbitmq.url", "amqp://u:p@credential/");
    assert_eq!(host(&given), "credential");
    let given = given.set(&format!("rabbitmq.url_file={high}"));
    assert_eq!(host(&given), "high");
    // An empty path is none, and the later flag counts.
    let given = given.set("rabbitmq.url_file=");
    assert_eq!(host(&given), "credential");
}

#[test]
fn an_empty_path_unsets_the_file_of_a_lower_layer() {
    let given = Given::nothing().dotenv(format!("{VARIABLE}=/absent\n")).variable(VARIABLE, "");
    assert_eq!(given.config().rabbitmq.url.host, "localhost");
    let given = Given::nothing()
        .dotenv("BLOODBANK_AUDIT__RABBITMQ__MANAGEMENT_URL_FILE=/absent\n")
        .variable("BLOODBANK_AUDIT__RABBITMQ__MANAGEMENT_URL", "");
    assert_eq!(given.config().rabbitmq.management_url, None);
}

#[test]
fn both_in_one_layer_are_refused() {
    let given = Given::nothing()
        .file("[postgres]\nurl = \"postgres://u:hunter2@h/x\"\nurl_file = \"/x\"\n");
    let said = given.refusal();
    says(
        &said,
        &[
            "postgres.url_file: postgres.url is given beside it; leave out one of the two",
            "(from file DIR/given.toml)",
        ],
    );
    assert!(!said.contains("hunter2"), "{said}");
    let given = Given::nothing()
        .variable("BLOODBANK_AUDIT__RABBITMQ__URL", "amqp://u:hunter2@h/")
        .variable(VARIABLE, "/x");
    let said = given.refusal();
    says(
        &said,
        &[&format!("environment BLOODBANK_AUDIT__RABBITMQ__URL and environment {VARIABLE})")],
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_file_that_cannot_give_it_is_named_with_its_key() {
    const ALLOWED: &str = "; allowed: the absolute path of a file that holds rabbitmq.url and that the user \
                           of this process may read (from environment BLOODBANK_AUDIT__RABBITMQ__URL_FILE)";
    let refusal = |path: &str| Given::nothing().variable(VARIABLE, path).refusal();
    let given = Given::nothing();
    says(
        &refusal("/absent/file"),
        &[&format!("rabbitmq.url_file: /absent/file: the file does not exist{ALLOWED}")],
    );
    let empty = given.secret("empty", " \n");
    says(&refusal(&empty), &["rabbitmq.url_file: ", "/empty: the file is empty", ALLOWED]);
    let directory = given.path("").display().to_string();
    says(&refusal(&directory), &["it is a directory, not a file", ALLOWED]);
    let bytes = given.secret("bytes", b"amqp://u:hunter2\xff@h/");
    let said = refusal(&bytes);
    says(&said, &["/bytes: line 1 is not UTF-8", ALLOWED]);
    assert!(!said.contains("hunter2"), "{said}");
    let unreadable = given.secret("unreadable", "amqp://u:hunter2@h/");
    fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads it none the less.
    if fs::read(&unreadable).is_err() {
        says(&refusal(&unreadable), &["cannot be read: Permission denied", ALLOWED]);
    }
    let given = Given::nothing().file("[rabbitmq]\nurl_file = 5\n");
    says(
        &given.refusal(),
        &["rabbitmq.url_file: it is not a string; allowed: the absolute path of a file"],
    );
}

#[test]
fn a_wrong_value_is_reported_with_its_file_and_without_its_password() {
    let given = Given::nothing();
    let path = given.secret("url", "amqp://u:hunter2@h:port/\n");
    let given = given.variable(VARIABLE, &path);
    let said = given.refusal();
    says(&said, &["rabbitmq.url: ", &format!("DIR/url, which environment {VARIABLE} names")]);
    assert!(!said.contains("hunter2"), "{said}");
    // The URL itself in the place of a path.
    let said = Given::nothing().variable(VARIABLE, "amqp://u:hunter2@h/").refusal();
    says(&said, &["rabbitmq.url_file: it does not begin with /"]);
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn only_a_secret_has_a_file() {
    let said = Given::nothing().set("rabbitmq.queue_file=/x").refusal();
    says(&said, &["rabbitmq.queue_file: unknown key", "url, url_file, management_url"]);
}
