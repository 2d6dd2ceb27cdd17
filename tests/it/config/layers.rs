//! Which layer wins, how text becomes a value, and where each value came from.

use std::path::Path;
use std::time::Duration;

use bloodbank_audit::config::{LogFormat, Malformed};
use bytesize::ByteSize;

use super::{Given, says};

#[test]
fn each_layer_wins_over_the_ones_below() {
    let prefetch = |given: &Given| given.config().ingest.prefetch;
    let given = Given::nothing();
    assert_eq!(prefetch(&given), 6000);
    let given = given.default_file("[ingest]\nprefetch = 1\n");
    assert_eq!(prefetch(&given), 1);
    let given = given.dotenv("BLOODBANK_AUDIT__INGEST__PREFETCH=2\n");
    assert_eq!(prefetch(&given), 2);
    let given = given.variable("BLOODBANK_AUDIT__INGEST__PREFETCH", "3");
    assert_eq!(prefetch(&given), 3);
    let given = given.credential("ingest.prefetch", "4\n");
    assert_eq!(prefetch(&given), 4);
    let given = given.set("ingest.prefetch=5");
    assert_eq!(prefetch(&given), 5);
}

#[test]
fn a_credential_is_a_file_named_like_its_key() {
    let given = Given::nothing()
        .credential("rabbitmq.url", "amqps://u:p%20w@broker/bus\n")
        .credential("tls.key", "somebody else's")
        // A path, and a file that a path would lead to.
        .credential("rabbitmq.tls_client_cert", "/etc/client.pem")
        .credential("rabbitmq.tls_client_key", "-----BEGIN PRIVATE KEY-----\n")
        .credential("ledger.key_file", "# mine\nPRIVATE+KEY+a+c74f20a3+AYEK\n");
    assert_eq!(given.config().rabbitmq.url.host, "broker");
    let key = given.path("credentials/ledger.key_file");
    assert_eq!(given.config().ledger.key_file, Some(key));
    let path = Given::nothing().credential("ledger.key_file", "/etc/mine.key\n");
    assert_eq!(path.config().ledger.key_file, Some("/etc/mine.key".into()));
    assert_eq!(given.config().rabbitmq.url.password.expose(), "p w");
    let given = Given::nothing().credential("postgres.url", b"postgres://u:secret\xff@db/x");
    let said = given.refusal();
    assert!(said.contains("postgres.url") && said.contains("line 1 is not UTF-8"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_named_file_replaces_the_default_one() {
    let given = Given::nothing().default_file("[ingest]\nbatch_events = 7\n");
    let given = given.file("[ingest]\nprefetch = 9\n");
    assert_eq!(given.config().ingest.prefetch, 9);
    assert_eq!(given.config().ingest.batch_events, 2000);
}

#[test]
fn the_daemons_own_variable_wins_over_the_shared_one_of_the_same_layer_only() {
    let given = Given::nothing()
        .dotenv("BLOODBANK_AUDIT__RABBITMQ__EXCHANGE=own-dotenv\nEXCHANGE_NAME=shared-dotenv\n");
    assert_eq!(given.config().rabbitmq.exchange, "own-dotenv");
    let given = given.variable("EXCHANGE_NAME", "shared");
    assert_eq!(given.config().rabbitmq.exchange, "shared");
    let given = given.variable("BLOODBANK_AUDIT__RABBITMQ__EXCHANGE", "own");
    assert_eq!(given.config().rabbitmq.exchange, "own");
}

#[test]
fn set_wins_over_the_flag_of_a_key_and_the_later_set_over_the_earlier() {
    let given = Given::nothing().flag("--queue", "rabbitmq.queue", "flag");
    assert_eq!(given.config().rabbitmq.queue, "flag");
    let given = given.set("rabbitmq.queue=one").set("rabbitmq.queue=two");
    assert_eq!(given.config().rabbitmq.queue, "two");
}

#[test]
fn the_shared_variables_set_both_urls_and_the_exchange_and_others_are_ignored() {
    let given = Given::nothing()
        .dotenv("RABBIT_URL=amqp://a:b@dotenv/\nREDIS_HOST=redis\n")
        .variable("DATABASE_URL", "postgres://db/history")
        .variable("REDIS_PORT", "6379")
        .variable("PATH", "/bin");
    assert_eq!(given.config().rabbitmq.url.host, "dotenv");
    assert_eq!(given.config().postgres.url.expose(), "postgres://db/history");
}

#[test]
fn text_is_read_by_the_kind_of_its_key() {
    let config = Given::nothing()
        .variable("BLOODBANK_AUDIT__RABBITMQ__QUEUE", "123")
        .variable("BLOODBANK_AUDIT__RABBITMQ__EXCHANGE", "true")
        .variable("BLOODBANK_AUDIT__RABBITMQ__BINDINGS", r#"["a.#","b.#"]"#)
        .variable("BLOODBANK_AUDIT__RABBITMQ__HEARTBEAT", "1m")
        .variable("BLOODBANK_AUDIT__POSTGRES__MIGRATE", "false")
        .variable("BLOODBANK_AUDIT__INGEST__BATCH_BYTES", "65536")
        .variable("BLOODBANK_AUDIT__INGEST__MALFORMED", "dead-letter")
        .variable("BLOODBANK_AUDIT__LOG__DIRECTORY", "/var/log/1")
        .config();
    assert_eq!(config.rabbitmq.queue, "123");
    assert_eq!(config.rabbitmq.exchange, "true");
    assert_eq!(config.rabbitmq.bindings, ["a.#", "b.#"]);
    assert_eq!(config.rabbitmq.heartbeat, Duration::from_secs(60));
    assert!(!config.postgres.migrate);
    assert_eq!(config.ingest.batch_bytes, ByteSize::kib(64));
    assert_eq!(config.ingest.malformed, Malformed::DeadLetter);
    assert_eq!(config.log.directory.as_deref(), Some(Path::new("/var/log/1")));
}

#[test]
fn a_list_may_be_separated_by_commas() {
    let config = Given::nothing()
        .variable("BLOODBANK_AUDIT__RABBITMQ__BINDINGS", "a.#, b.#")
        .set("envelope.event_id=/id,property:message_id,header:x-id")
        .set("envelope.source=[]")
        .config();
    assert_eq!(config.rabbitmq.bindings, ["a.#", "b.#"]);
    let places = ["/id", "property:message_id", "header:x-id"].map(|place| place.parse().unwrap());
    assert_eq!(config.envelope.event_id, Some(places.to_vec()));
    assert_eq!(config.envelope.source, Some(vec![]));
}

#[test]
fn sizes_are_readable() {
    for (text, bytes) in
        [("64 MiB", 64 << 20), ("500 kB", 500_000), ("2048", 2048), ("1.5MiB", 3 << 19)]
    {
        let given = Given::nothing().file(format!("[ingest]\nbatch_bytes = {text:?}\n"));
        assert_eq!(given.config().ingest.batch_bytes, ByteSize::b(bytes), "{text}");
    }
    let given = Given::nothing().file("[ingest]\nbatch_bytes = 4096\n");
    assert_eq!(given.config().ingest.batch_bytes, ByteSize::b(4096));
}

#[test]
fn an_empty_text_unsets_what_has_no_default() {
    let given =
        Given::nothing().file("[log]\ndirectory = \"/var/log\"\n[envelope]\nsource = [\"/a\"]\n");
    assert!(given.config().log.directory.is_some());
    let given = given.variable("BLOODBANK_AUDIT__LOG__DIRECTORY", "").set("envelope.source=");
    assert_eq!(given.config().log.directory, None);
    assert_eq!(given.config().envelope.source, None);
    let given = Given::nothing().file("[log]\nmax_size = \"1 MiB\"\n");
    assert_eq!(given.config().log.max_size, Some(ByteSize::mib(1)));
    assert_eq!(given.set("log.max_size=").config().log.max_size, None);
}

#[test]
fn a_dotenv_may_quote_comment_export_and_begin_with_a_byte_order_mark() {
    let given = Given::nothing().dotenv(
        "\u{feff}RABBIT_URL='amqp://u:p$ss@h/' # the bus\nexport EXCHANGE_NAME=\"ex\"\n\nEXCHANGE_NAME=later\n",
    );
    assert_eq!(given.config().rabbitmq.url.password.expose(), "p$ss");
    assert_eq!(given.config().rabbitmq.exchange, "later");
}

#[test]
fn a_python_environment_named_dotenv_is_no_file_of_variables() {
    let given = Given::nothing();
    std::fs::create_dir(given.path(".env")).unwrap();
    given.config();
}

#[test]
fn the_effective_configuration_names_every_source() {
    let given = Given::nothing()
        .file("[ingest]\nprefetch = 10\n[log]\nformat = \"json\"\n")
        .dotenv("RABBIT_URL=amqp://user:hunter2@h/v\n")
        .variable("BLOODBANK_AUDIT__LOG__LEVEL", "debug")
        .variable("EXCHANGE_NAME", "events")
        .flag("--queue", "rabbitmq.queue", "mine")
        .set("reconnect.max=1m")
        .set("log.directory=");
    let toml = given.loaded().to_toml();
    let file = given.path("given.toml");
    says(
        &toml,
        &[
            &format!("prefetch = 10  # file {}\n", file.display()),
            "url = \"amqp://user:***@h:5672/v\"  # .env RABBIT_URL\n",
            "level = \"debug\"  # environment BLOODBANK_AUDIT__LOG__LEVEL\n",
            "exchange = \"events\"  # environment EXCHANGE_NAME\n",
            "queue = \"mine\"  # flag --queue\n",
            "max = \"1m\"  # flag --set reconnect.max\n",
            "# directory is not set  # flag --set log.directory\n",
            "initial = \"500ms\"  # default\n",
        ],
    );
}

#[test]
fn the_effective_configuration_can_be_loaded_again() {
    let given = Given::nothing()
        .file("[envelope]\nevent_id = [\"/a~1b\", \"header:\\\"q\\\"\"]\nsource = []\n")
        .set("log.directory=/tmp/a b#c")
        .set("log.format=json")
        .set("rabbitmq.queue=quote\"back\\slash")
        .set("ingest.batch_bytes=1 MiB");
    let first = given.loaded();
    let mut again = Given::nothing().file(first.to_toml()).config();
    assert_eq!(again.log.format, LogFormat::Json);
    // The masks are all that is not the same.
    assert_ne!(again.rabbitmq.url, first.config.rabbitmq.url);
    again.rabbitmq.url = first.config.rabbitmq.url.clone();
    assert_eq!(again, first.config);
}
