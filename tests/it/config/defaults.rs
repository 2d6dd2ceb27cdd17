//! The shipped file is the sole source of defaults, and says everything.

use std::time::Duration;

use bloodbank_audit::config::{Config, DEFAULTS, Declare, Environment, Flags, QueueType};
use bloodbank_audit::event::Preset;
use bytesize::ByteSize;

use super::Given;

#[test]
fn nothing_given_is_a_valid_configuration() {
    let config = Config::load(&Flags::default(), &Environment::empty()).unwrap().config;
    assert_eq!(config.rabbitmq.exchange, "bloodbank.events.v1");
    assert_eq!(config.rabbitmq.bindings, ["#"]);
    assert_eq!(config.rabbitmq.queue_type, QueueType::Quorum);
    assert_eq!(config.rabbitmq.declare, Declare::Create);
    assert_eq!(config.rabbitmq.heartbeat, Duration::from_secs(30));
    assert_eq!(config.rabbitmq.tls_ca_file, None);
    assert!(config.postgres.migrate);
    assert_eq!(config.ingest.prefetch, 6000);
    assert_eq!(config.ingest.batch_bytes, ByteSize::mib(8));
    assert_eq!(config.envelope.preset, Preset::Bloodbank);
    assert_eq!(config.envelope.event_id, None);
    assert!(config.ledger.enabled);
    assert_eq!((config.ledger.key_file, config.ledger.origin), (None, None));
    assert_eq!(config.ledger.seal_every, Duration::from_secs(1));
    assert_eq!(config.reconnect.initial, Duration::from_millis(500));
    assert_eq!(config.log.level, "info");
}

/// The keys that `config` prints, which are all that are known.
pub(super) fn known() -> Vec<(String, String)> {
    let toml = Given::nothing().loaded().to_toml();
    let mut section = String::new();
    let mut known = Vec::new();
    for line in toml.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else {
            let name = line.trim_start_matches("# ").split(' ').next().unwrap();
            known.push((section.clone(), name.to_owned()));
        }
    }
    known
}

#[test]
fn every_known_key_is_documented_in_the_shipped_file_in_the_same_order() {
    let mut section = String::new();
    let mut documented = Vec::new();
    let mut comment = false;
    for line in DEFAULTS.lines() {
        let bare = line.trim_start_matches("# ");
        let name = bare.split(" = ").next().unwrap();
        let is_key = bare.contains(" = ")
            && known().iter().any(|(of, known)| *of == section && known == name)
            && !name.contains(' ');
        if let Some(name) = line.strip_prefix('[') {
            assert!(comment, "[{name} has no comment");
            section = name.trim_end_matches(']').to_owned();
            comment = false;
        } else if is_key {
            // dead_letter_queue shares its comment with the exchange above it.
            assert!(comment || name == "dead_letter_queue", "{section}.{name} has no comment");
            documented.push((section.clone(), name.to_owned()));
            comment = false;
        } else if line.starts_with('#') {
            comment = true;
        }
    }
    assert_eq!(documented, known());
}

#[test]
fn every_key_of_the_shipped_file_is_known_also_those_commented_out() {
    let uncommented: String = DEFAULTS
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => {
                rest
            }
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = Given::nothing().file(uncommented).config();
    assert!(config.rabbitmq.tls_ca_file.is_some());
    assert!(config.ledger.key_file.is_some() && config.ledger.origin.is_some());
    assert!(config.log.directory.is_some());
    assert!(config.envelope.correlation_ids.is_some());
    assert!(config.envelope.expects.is_some());
}
