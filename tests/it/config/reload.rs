//! A configuration read again: what is taken over, what needs a restart, and what is no change.

use std::collections::BTreeMap;
use std::fs;

use bloodbank_audit::config::{Changes, DEFAULTS};

use super::{Given, defaults::known};

/// Every key, with another value than the default.
const OTHERS: &[(&str, &str)] = &[
    ("rabbitmq.url", "amqp://u:hunter2@other"),
    ("rabbitmq.management_url", "http://u:hunter2@other:15672"),
    ("rabbitmq.exchange", "other"),
    ("rabbitmq.queue", "other"),
    ("rabbitmq.queue_type", "classic"),
    ("rabbitmq.bindings", "a.#"),
    ("rabbitmq.dead_letter_exchange", "other"),
    ("rabbitmq.dead_letter_queue", "other"),
    ("rabbitmq.delivery_limit", "5"),
    ("rabbitmq.consumer_timeout", "40m"),
    ("rabbitmq.declare", "verify"),
    ("rabbitmq.heartbeat", "10s"),
    ("rabbitmq.connect_timeout", "1s"),
    ("rabbitmq.tls_ca_file", "/ca.pem"),
    ("rabbitmq.tls_client_cert", "/own.pem"),
    ("rabbitmq.tls_client_key", "/own.key"),
    ("rabbitmq.tls_server_name", "other"),
    ("rabbitmq.auth", "external"),
    ("postgres.url", "postgres://u:hunter2@other/d"),
    ("postgres.connect_timeout", "1s"),
    ("postgres.statement_timeout", "1s"),
    ("postgres.migrate", "false"),
    ("ingest.malformed", "dead-letter"),
    ("ingest.max_body", "1 MiB"),
    ("ingest.rejected_body", "2 MiB"),
    ("ingest.prefetch", "1"),
    ("ingest.memory", "256 MiB"),
    ("ingest.batch_events", "1"),
    ("ingest.batch_bytes", "1 MiB"),
    ("ingest.ack", "sealed"),
    ("envelope.preset", "plain"),
    ("envelope.event_id", "/x"),
    ("envelope.event_type", "/x"),
    ("envelope.event_time", "/x"),
    ("envelope.source", "/x"),
    ("envelope.correlation_ids", "/x"),
    ("envelope.expects", "any"),
    ("storage.partitions_ahead", "1"),
    ("storage.dedupe_overlap", "1h"),
    ("storage.instance", "other"),
    ("retention.keep", "400d"),
    ("retention.partition", "1h"),
    ("access_log.reads", "true"),
    ("ledger.enabled", "false"),
    ("ledger.key_file", "/own.key"),
    ("ledger.origin", "other"),
    ("ledger.seal_every", "10s"),
    ("ledger.checkpoint_file", "/checkpoints"),
    ("ledger.checkpoint_log", "true"),
    ("ledger.checkpoint_exchange", "other"),
    ("ledger.checkpoint_webhook", "https://other/hunter2"),
    ("ledger.checkpoint_every", "30s"),
    ("ledger.export_within", "1h"),
    ("reconnect.initial", "1s"),
    ("reconnect.max", "1m"),
    ("shutdown.grace", "1s"),
    ("canary.every", "30s"),
    ("canary.routing_key", "a.b"),
    ("http.listen", "off"),
    ("log.format", "json"),
    ("log.level", "debug"),
    ("log.filter", "sqlx=warn"),
    ("log.directory", "/other"),
    ("log.rotation", "never"),
    ("log.max_size", "1 MiB"),
    ("log.keep_files", "1"),
];

/// What is refused where it is alone.
const NOT_ALONE: &[&str] = &[
    "rabbitmq.tls_client_cert",
    "rabbitmq.tls_client_key",
    "rabbitmq.auth",
    "ingest.ack",
    "ledger.checkpoint_file",
    "ledger.checkpoint_log",
    "ledger.checkpoint_exchange",
    "ledger.checkpoint_webhook",
];

/// What only commands ask for, each time anew.
const IN_COMMANDS: &[&str] = &["rabbitmq.management_url", "access_log.reads"];

fn changed(before: &[&str], after: &[&str]) -> Changes {
    let given = |settings: &[&str]| {
        settings.iter().fold(Given::nothing(), |given, setting| given.set(setting)).loaded()
    };
    given(before).changed_to(&given(after))
}

/// Each key, and whether its comment in the shipped file speaks of SIGHUP.
fn documented() -> BTreeMap<String, bool> {
    let (mut section, mut comment) = (String::new(), String::new());
    let mut keys = BTreeMap::new();
    for line in DEFAULTS.lines() {
        let bare = line.trim_start_matches("# ");
        let name = bare.split(" = ").next().unwrap();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if bare.contains(" = ") && !name.contains(' ') {
            let both = format!("{section}.{name}");
            keys.insert(both, comment.contains("Changes on SIGHUP"));
            comment.clear();
        } else if line.is_empty() {
            comment.clear();
        } else {
            comment.push_str(bare);
        }
    }
    keys
}

#[test]
fn each_key_changes_when_the_shipped_file_says_so() {
    let known: Vec<_> =
        known().into_iter().map(|(section, name)| format!("{section}.{name}")).collect();
    let others: Vec<_> = OTHERS.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(known, others);
    let documented = documented();
    for (key, value) in OTHERS.iter().filter(|(key, _)| !NOT_ALONE.contains(key)) {
        let Changes { running, taken_over, need_restart } =
            changed(&[], &[&format!("{key}={value}")]);
        match (IN_COMMANDS.contains(key), documented[*key]) {
            (true, _) => assert!(taken_over.is_empty() && need_restart.is_empty(), "{key}"),
            (false, true) => {
                assert_eq!((&taken_over[..], &need_restart[..]), (&[*key][..], &[][..]));
                let again = Given::nothing().set(&format!("{key}={value}")).loaded();
                assert_eq!(running.config, again.config, "{key}");
            }
            (false, false) => {
                assert_eq!((&taken_over[..], &need_restart[..]), (&[][..], &[*key][..]));
                assert_eq!(running.config, Given::nothing().config(), "{key}");
            }
        }
    }
}

#[test]
fn of_a_url_the_login_alone_is_taken_over() {
    let before =
        ["rabbitmq.url=amqp://u:one@h/v", "postgres.url=postgres://u:one@h,i:1/d?sslmode=require"];
    for (url, other) in [
        ("rabbitmq.url", "amqp://w:two@h:5672/v"),
        ("postgres.url", "postgres://w:two@h,i:1/d?sslmode=require"),
        ("postgres.url", "postgres://h,i:1/d?user=w&sslmode=require&password=two"),
    ] {
        let mut after = before.map(str::to_owned).to_vec();
        after.push(format!("{url}={other}"));
        let after: Vec<_> = after.iter().map(String::as_str).collect();
        let Changes { taken_over, need_restart, .. } = changed(&before, &after);
        assert_eq!((&taken_over[..], &need_restart[..]), (&[url][..], &[][..]), "{other}");
    }
    for (url, other) in [
        ("rabbitmq.url", "amqp://w:two@h/other"),
        ("rabbitmq.url", "amqps://w:two@h/v"),
        ("postgres.url", "postgres://w:two@h,j:1/d?sslmode=require"),
        ("postgres.url", "postgres://w:two@h,i:1/d"),
        ("postgres.url", "postgres://w:two@h,i:1?sslmode=require"),
    ] {
        let mut after = before.map(str::to_owned).to_vec();
        after.push(format!("{url}={other}"));
        let after: Vec<_> = after.iter().map(String::as_str).collect();
        let Changes { taken_over, need_restart, .. } = changed(&before, &after);
        assert_eq!((&taken_over[..], &need_restart[..]), (&[][..], &[url][..]), "{other}");
    }
    // Without a name it is the user's.
    let Changes { taken_over, .. } =
        changed(&["postgres.url=postgres://u@h"], &["postgres.url=postgres://w@h"]);
    assert!(taken_over.is_empty());
}

#[test]
fn other_words_for_the_same_are_no_change() {
    let Changes { taken_over, need_restart, .. } = changed(
        &["retention.keep=48h", "ingest.memory=128 MiB", "rabbitmq.url=amqp://h"],
        &[
            "retention.keep=2d",
            "ingest.memory=134217728",
            "rabbitmq.url=amqp://guest:guest@h:5672/",
        ],
    );
    assert!(taken_over.is_empty() && need_restart.is_empty(), "{taken_over:?} {need_restart:?}");
}

#[test]
fn what_went_back_is_no_change_any_more() {
    let before = Given::nothing().loaded();
    let other = Given::nothing().set("log.level=debug").set("ingest.prefetch=1").loaded();
    let changes = before.changed_to(&other);
    assert_eq!(changes.need_restart, ["ingest.prefetch"]);
    let again = changes.running.changed_to(&other);
    assert!(again.taken_over.is_empty());
    assert_eq!(again.need_restart, ["ingest.prefetch"]);
    let back = again.running.changed_to(&before);
    assert_eq!(back.taken_over, ["log.level"]);
    assert!(back.need_restart.is_empty());
    assert_eq!(back.running.config, before.config);
}

#[test]
fn what_clashes_with_what_waits_for_a_restart_waits_too() {
    let Changes { running, taken_over, need_restart } = changed(
        &["storage.dedupe_overlap=10h"],
        &["storage.dedupe_overlap=1h", "retention.keep=2h"],
    );
    assert!(taken_over.is_empty());
    assert_eq!(need_restart, ["storage.dedupe_overlap", "retention.keep"]);
    assert_eq!(running.config.retention.keep, None);
}

#[test]
fn several_problems_make_one_line_where_one_is_wanted() {
    let given = Given::nothing().default_file("[ingest]\nprefetch = 0\nbatch_events = 0\n");
    let error = bloodbank_audit::config::Config::load(&given.flags, &given.environment);
    let error = error.expect_err("it is accepted");
    assert_eq!(error.to_string().lines().count(), 3);
    let line = format!("{error:#}");
    assert!(line.contains("ingest.prefetch") && line.contains("ingest.batch_events"), "{line}");
    assert_eq!(line.lines().count(), 1);
    fs::remove_file(given.path("default.toml")).unwrap();
}
