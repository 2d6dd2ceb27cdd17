//! Bad values and unknown keys: what is said names the key, the source and what is allowed.

use super::{Given, says};

/// `--set` this; the refusal names the key and the flag besides these words.
#[track_caller]
fn refused(assignment: &str, words: &[&str]) {
    let key = assignment.split('=').next().unwrap();
    let text = Given::nothing().set(assignment).refusal();
    says(&text, &[&format!("{key}: "), &format!("(from flag --set {key})")]);
    says(&text, words);
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_value_out_of_range() {
    refused("ingest.prefetch=0", &["0 is out of range; allowed: a whole number from 1 to 65535"]);
    refused("ingest.prefetch=65536", &["65536 is out of range"]);
    refused("ingest.prefetch=-1", &["-1 is out of range"]);
    refused("ingest.batch_events=10001", &["allowed: a whole number from 1 to 10000"]);
    refused("ingest.batch_bytes=0", &["out of range; allowed: a size from 1 KiB to 256 MiB"]);
    refused("ingest.max_body=600 MiB", &["allowed: a size from 1 KiB to 512 MiB"]);
    refused("ingest.rejected_body=1 GiB", &["allowed: a size from 0 to 512 MiB"]);
    refused("ingest.batch_bytes=-5", &["-5 is out of range"]);
    refused("storage.partitions_ahead=1001", &["allowed: a whole number from 1 to 1000"]);
    refused("storage.dedupe_overlap=2y", &["out of range; allowed: a duration from 0s to 365d"]);
    for keep in ["59m", "forever", "101y", ""] {
        let allowed = "allowed: a duration from 1h to 36500d, such as \"400d\", or \"never\"";
        refused(&format!("retention.keep={keep}"), &[allowed]);
    }
    refused("log.keep_files=0", &["allowed: a whole number from 1 to 10000"]);
    refused(
        "rabbitmq.heartbeat=1s",
        &["1s is out of range; allowed: whole seconds from 2s to 65535s"],
    );
    refused("rabbitmq.heartbeat=65536s", &["18h 12m 16s is out of range"]);
    refused("rabbitmq.heartbeat=2500ms", &["not a whole number of seconds"]);
    refused("reconnect.initial=0s", &["0s is out of range; allowed: a duration from 1ms to 1d"]);
    refused("shutdown.grace=400d", &["is out of range"]);
    for every in ["99ms", "61m"] {
        refused(&format!("ledger.seal_every={every}"), &["a duration from 100ms to 1h"]);
    }
    for origin in ["a b", "a+b", "a\tb"] {
        refused(&format!("ledger.origin={origin}"), &["is no origin; allowed: a name without"]);
    }
}

#[test]
fn a_value_of_the_wrong_type() {
    refused("ingest.prefetch=many", &["the string \"many\" is not a whole number"]);
    refused("ingest.prefetch=1.5", &["the string \"1.5\" is not a whole number"]);
    refused(
        "postgres.migrate=yes",
        &["the string \"yes\" is not true or false; allowed: true, false"],
    );
    refused("rabbitmq.heartbeat=30", &["\"30\": time unit needed", "allowed: whole seconds"]);
    refused("rabbitmq.heartbeat=soon", &["\"soon\": "]);
    refused(
        "ingest.batch_bytes=8 floppies",
        &["\"8 floppies\" is not a size", "such as \"8 MiB\""],
    );
    refused("rabbitmq.bindings=[1]", &["is not a list of strings"]);
    refused("rabbitmq.bindings=[\"a", &["is not a list of strings"]);
}

#[test]
fn a_value_of_the_wrong_type_in_a_file() {
    for (toml, key, what) in [
        ("[rabbitmq]\nqueue = 5", "rabbitmq.queue", "the number 5 is not a string"),
        (
            "[rabbitmq]\nqueue_type = 0",
            "rabbitmq.queue_type",
            "the number 0 is not a string; allowed: \"quorum\", \"classic\"",
        ),
        (
            "[rabbitmq]\nbindings = \"#\"",
            "rabbitmq.bindings",
            "the string \"#\" is not a list of strings",
        ),
        (
            "[rabbitmq]\nheartbeat = 30",
            "rabbitmq.heartbeat",
            "the number 30 is not a duration with its unit, in quotes",
        ),
        ("[ingest]\nprefetch = \"5\"", "ingest.prefetch", "the string \"5\" is not a whole number"),
        ("[ingest]\nprefetch = 1.5", "ingest.prefetch", "the number 1.5 is not a whole number"),
        ("[postgres]\nmigrate = 1", "postgres.migrate", "the number 1 is not true or false"),
        ("[log]\nlevel = 2026-01-01", "log.level", "is not a string"),
        ("[log.level]\na = 1", "log.level", "is not a string"),
        ("[rabbitmq]\nurl = 5", "rabbitmq.url", "is not a string"),
    ] {
        let text = Given::nothing().file(toml).refusal();
        says(&text, &[&format!("{key}: "), what, "; allowed: ", "(from file DIR/given.toml)"]);
    }
}

#[test]
fn a_word_that_is_no_choice() {
    refused(
        "rabbitmq.queue_type=quorom",
        &[
            "\"quorom\" is not one of the choices (did you mean `quorum`?); allowed: \"quorum\", \"classic\"",
        ],
    );
    refused("rabbitmq.declare=no", &["allowed: \"create\", \"verify\""]);
    refused("ingest.malformed=Store", &["did you mean `store`?"]);
    refused(
        "envelope.preset=custom",
        &["\"bloodbank\", \"cloudevents\", \"masstransit\", \"plain\", \"binary\""],
    );
    refused("envelope.expects=xml", &["\"object\", \"json\", \"any\""]);
    refused("retention.partition=1w", &["\"1d\", \"1h\""]);
    refused("log.format=auto", &["\"human\", \"json\""]);
    refused("log.rotation=minutely", &["\"daily\", \"hourly\", \"never\""]);
}

#[test]
fn a_name_that_amqp_cannot_carry_or_the_broker_keeps() {
    let long = "x".repeat(256);
    refused(&format!("rabbitmq.queue={long}"), &["256 bytes long", "a name of 1 to 255 bytes"]);
    refused("rabbitmq.exchange=", &["the name is empty"]);
    for key in ["queue", "dead_letter_exchange", "dead_letter_queue"] {
        refused(
            &format!("rabbitmq.{key}=amq.x"),
            &["reserved by the broker", "does not start with \"amq.\""],
        );
    }
    assert_eq!(
        Given::nothing().set("rabbitmq.exchange=amq.topic").config().rabbitmq.exchange,
        "amq.topic"
    );
    refused("rabbitmq.bindings=", &["the list is empty"]);
    refused("rabbitmq.bindings=[\"\"]", &["a pattern is empty"]);
    refused(&format!("rabbitmq.bindings=a,{long}"), &["a pattern is 256 bytes long"]);
}

#[test]
fn a_place_that_is_no_place() {
    for (place, what) in [
        ("id", "is neither a JSON pointer"),
        ("/a~2", "\"~\" is written \"~0\""),
        ("/a~", "\"~\" is written \"~0\""),
        ("property:headers", "no such property; AMQP has content_type"),
        ("header:", "needs the name of a header"),
    ] {
        refused(
            &format!("envelope.event_id=/ok,{place}"),
            &[what, "allowed: a list of JSON pointers"],
        );
    }
    Given::nothing().set("envelope.event_id=/a~0b~1c,/,property:cluster_id,header:a:b").config();
}

#[test]
fn a_log_filter_with_a_typo_would_silence_everything() {
    refused("log.level=inof", &["\"inof\" is no level (did you mean `info`?)"]);
    refused("log.level=info,sqlx", &["\"sqlx\" is no level"]);
    refused("log.level=info,sqlx=loud", &["error parsing level filter"]);
    refused("log.level=amqp://h=info", &["\"amqp://h\" is no target"]);
    refused("log.level=", &["the filter is empty"]);
    Given::nothing()
        .set("log.level=WARN,bloodbank_audit::broker=debug,sqlx[q{a=1}]=off,[s]=3")
        .config();
    refused("log.max_size=4095", &["out of range; allowed: a size from 4 KiB to 1 TiB"]);
    refused("log.filter=sqlx", &["\"sqlx\" is not target=level"]);
    refused("log.filter=sqlx=wran", &["\"wran\" is no level (did you mean `warn`?)"]);
    refused("log.filter=debug", &["\"debug\" is not target=level"]);
    refused("log.filter=[\"sqlx=warn,a=b\"]", &["is not target=level"]);
    refused("log.filter=a b/c=info", &["is no target"]);
    let given = Given::nothing().set("log.filter=sqlx=warn, bloodbank_audit::broker=debug");
    assert_eq!(given.config().log.filter, ["sqlx=warn", "bloodbank_audit::broker=debug"]);
}

#[test]
fn keys_that_clash() {
    refused(
        "rabbitmq.dead_letter_exchange=bloodbank.events.v1",
        &["it is rabbitmq.exchange as well"],
    );
    refused("rabbitmq.dead_letter_queue=bloodbank.audit", &["it is rabbitmq.queue as well"]);
    refused("retention.keep=90m", &["1h 30m is less than storage.dedupe_overlap, 2h"]);
    refused("reconnect.max=100ms", &["100ms is less than reconnect.initial, 500ms"]);
    refused(
        "rabbitmq.tls_client_cert=/c.pem",
        &["needs its private key: set rabbitmq.tls_client_key"],
    );
    refused("rabbitmq.tls_client_key=/c.key", &["needs the certificate it is of"]);
    refused("rabbitmq.auth=external", &["a login by certificate: set rabbitmq.tls_client_cert"]);
    refused("rabbitmq.tls_server_name=a b", &["neither a host name nor an IP address"]);
    let text = Given::nothing()
        .set("rabbitmq.tls_client_cert=/c.pem")
        .set("rabbitmq.tls_client_key=/c.key")
        .set("rabbitmq.auth=external")
        .refusal();
    says(&text, &["rabbitmq.auth: ", "let rabbitmq.url begin with amqps://"]);
}

#[test]
fn acks_that_wait_for_a_checkpoint_need_one() {
    refused("ingest.ack=sealed", &["none goes out: set ledger.key_file, and one of"]);
    let sealed = || Given::nothing().set("ingest.ack=sealed").set("ledger.checkpoint_log=true");
    says(&sealed().refusal(), &["ledger.checkpoint_log: no checkpoint is signed without a key"]);
    let signed = || sealed().set("ledger.key_file=/own.key");
    signed().config();
    let off = signed().set("ledger.enabled=false").refusal();
    says(&off, &["ingest.ack: ", "nothing is sealed: set ledger.enabled = true, or"]);
    let late = signed()
        .set("ledger.seal_every=10m")
        .set("ledger.checkpoint_every=5m")
        .set("ledger.export_within=1h")
        .refusal();
    says(
        &late,
        &["ingest.ack: ", "15m: that is not less than half of rabbitmq.consumer_timeout, 15m"],
    );
}

#[test]
fn an_unknown_key_in_every_layer_with_what_was_meant() {
    let text = Given::nothing()
        .file("top = 1\n[rabbitmq]\nquue = \"a\"\n[rabbit]\nurl = \"b\"\n")
        .dotenv("BLOODBANK_AUDIT__INGEST__PREFECTH=1\n")
        .variable("BLOODBANK_AUDIT__QUEUE", "x")
        .variable("BLOODBANK_AUDIT__RABBITMQ__PREFETCH", "1")
        .set("log.levle=info")
        .refusal();
    says(
        &text,
        &[
            "the configuration has 7 problems:",
            "\n  top: unknown section; allowed: rabbitmq, postgres, ingest,",
            "\n  rabbitmq.quue: unknown key (did you mean `rabbitmq.queue`?); allowed: url, url_file, management_url,",
            "\n  rabbit: unknown section (did you mean `rabbitmq`?)",
            "(from file DIR/given.toml)",
            "\n  ingest.prefecth: unknown key (did you mean `ingest.prefetch`?)",
            "(from .env BLOODBANK_AUDIT__INGEST__PREFECTH)",
            "\n  queue: unknown section (did you mean `rabbitmq.queue`?)",
            "(from environment BLOODBANK_AUDIT__QUEUE)",
            "\n  rabbitmq.prefetch: unknown key (did you mean `ingest.prefetch`?)",
            "\n  log.levle: unknown key (did you mean `log.level`?)",
            "(from flag --set log.levle)",
        ],
    );
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_keys() {
    let text = Given::nothing()
        .file("[rabbitmq]\nqueue_type = \"x\"\nheartbeat = \"1s\"\nqueue = \"\"\n[nope]\n")
        .variable("BLOODBANK_AUDIT__INGEST__PREFETCH", "0")
        .variable("RABBIT_URL", "http://h")
        .set("reconnect.max=1ms")
        .refusal();
    let subjects: Vec<_> =
        text.lines().skip(1).map(|line| line.trim().split(':').next().unwrap()).collect();
    assert_eq!(
        subjects,
        [
            "nope",
            "rabbitmq.url",
            "rabbitmq.queue",
            "rabbitmq.queue_type",
            "rabbitmq.heartbeat",
            "ingest.prefetch",
            "reconnect.max"
        ]
    );
}

#[test]
fn a_value_that_a_higher_layer_replaces_is_no_problem() {
    Given::nothing().file("[ingest]\nprefetch = 0\n").set("ingest.prefetch=1").config();
}
