//! What must hold between keys; what holds for one key alone is checked where it is declared.

use super::{Ack, Auth, Config, RabbitMq};
use crate::event::topic_matches;

/// Every pair that clashes: the key to change, and why.
pub(super) fn clashes(config: &Config) -> Vec<(&'static str, String)> {
    let mut clashes = Vec::new();
    let rabbitmq = &config.rabbitmq;
    if rabbitmq.dead_letter_exchange == rabbitmq.exchange {
        clashes.push((
            "rabbitmq.dead_letter_exchange",
            "it is rabbitmq.exchange as well, so every rejected event would come back to be recorded again".to_owned(),
        ));
    }
    if rabbitmq.dead_letter_queue == rabbitmq.queue {
        clashes.push((
            "rabbitmq.dead_letter_queue",
            "it is rabbitmq.queue as well, so every rejected event would come back to be recorded again".to_owned(),
        ));
    }
    let canary = &config.canary;
    let fits = |binding: &String| topic_matches(&canary.routing_key, binding);
    if canary.every.is_some() && !rabbitmq.bindings.iter().any(fits) {
        clashes.push((
            "canary.routing_key",
            format!(
                "{:?} fits none of rabbitmq.bindings: no canary would ever come back",
                canary.routing_key
            ),
        ));
    }
    clashes.extend(of_certificates(rabbitmq));
    let hold = rabbitmq.consumer_timeout / 2;
    // Each host may take as long.
    let hosts = u32::try_from(config.postgres.url.hosts()).unwrap_or(u32::MAX);
    let attempt =
        config.postgres.connect_timeout.saturating_mul(hosts) + config.postgres.statement_timeout;
    if attempt > hold {
        let [attempt, hold] = [attempt, hold].map(humantime::format_duration);
        clashes.push((
            "rabbitmq.consumer_timeout",
            format!(
                "half of it, {hold}, is less than postgres.connect_timeout for each host and postgres.statement_timeout together, \
                 {attempt}: the broker would take deliveries back while one attempt to store them is under way"
            ),
        ));
    }
    let ingest = &config.ingest;
    if ingest.max_body.as_u64() > ingest.memory.as_u64() / 4 {
        clashes.push((
            "ingest.max_body",
            format!(
                "{} is more than a quarter of ingest.memory, {}: while it is sent to the database it is in memory \
                 several times",
                ingest.max_body, ingest.memory
            ),
        ));
    }
    if let Some(keep) = config.retention.keep {
        let compared = [
            ("storage.dedupe_overlap", config.storage.dedupe_overlap),
            ("rabbitmq.consumer_timeout", rabbitmq.consumer_timeout),
        ];
        for (key, within) in compared.into_iter().filter(|&(_, within)| keep < within) {
            let [keep, within] = [keep, within].map(humantime::format_duration);
            clashes.push((
                "retention.keep",
                format!(
                    "{keep} is less than {key}, {within}: an event that comes again could have been dropped, and would \
                     be stored anew"
                ),
            ));
        }
    }
    let ledger = &config.ledger;
    if ledger.key_file.is_none()
        && let Some(key) = ledger.sinks().next()
    {
        let why = "no checkpoint is signed without a key: make one with `bloodbank-audit keys generate`, and set ledger.key_file";
        clashes.push((key, why.to_owned()));
    }
    clashes.extend(of_sealed_acks(config));
    if ledger.export_within <= ledger.checkpoint_every {
        let [within, every] =
            [ledger.export_within, ledger.checkpoint_every].map(humantime::format_duration);
        clashes.push((
            "ledger.export_within",
            format!("{within} is not more than ledger.checkpoint_every, {every}: every seal would be overdue"),
        ));
    }
    let reconnect = &config.reconnect;
    if reconnect.max < reconnect.initial {
        let [max, initial] = [reconnect.max, reconnect.initial].map(humantime::format_duration);
        clashes.push(("reconnect.max", format!("{max} is less than reconnect.initial, {initial}")));
    }
    clashes
}

/// What acknowledgements need that wait for a checkpoint.
fn of_sealed_acks(config: &Config) -> Option<(&'static str, String)> {
    let Config { ledger, rabbitmq, .. } = config;
    if config.ingest.ack != Ack::Sealed {
        return None;
    }
    let clash = |what: &str| {
        Some((
            "ingest.ack",
            format!("\"sealed\" acknowledges what is in a checkpoint outside, and {what}"),
        ))
    };
    if !ledger.enabled {
        return clash(
            "nothing is sealed: set ledger.enabled = true, or ingest.ack = \"committed\"",
        );
    }
    if ledger.sinks().next().is_none() {
        return clash(
            "none goes out: set ledger.key_file, and one of ledger.checkpoint_file, checkpoint_log, checkpoint_exchange and \
             checkpoint_webhook",
        );
    }
    let (hold, wait) = (rabbitmq.consumer_timeout / 2, ledger.seal_every + ledger.checkpoint_every);
    if wait >= hold {
        let [hold, wait] = [hold, wait].map(humantime::format_duration);
        return clash(&format!(
            "the next one may take ledger.seal_every and ledger.checkpoint_every together, {wait}: that is not less than half of \
             rabbitmq.consumer_timeout, {hold}, after which all in hand goes back to the queue"
        ));
    }
    None
}

fn of_certificates(rabbitmq: &RabbitMq) -> Option<(&'static str, String)> {
    let clash = |key, what: &str| Some((key, what.to_owned()));
    match (&rabbitmq.tls_client_cert, &rabbitmq.tls_client_key) {
        (Some(_), None) => clash(
            "rabbitmq.tls_client_cert",
            "it needs its private key: set rabbitmq.tls_client_key",
        ),
        (None, Some(_)) => clash(
            "rabbitmq.tls_client_key",
            "it needs the certificate it is of: set rabbitmq.tls_client_cert",
        ),
        (None, None) if rabbitmq.auth == Auth::External => clash(
            "rabbitmq.auth",
            "\"external\" is a login by certificate: set rabbitmq.tls_client_cert and rabbitmq.tls_client_key",
        ),
        _ if rabbitmq.auth == Auth::External && !rabbitmq.url.tls => clash(
            "rabbitmq.auth",
            "\"external\" is a login by certificate, which is shown under TLS alone: let rabbitmq.url begin with amqps://",
        ),
        _ => None,
    }
}
