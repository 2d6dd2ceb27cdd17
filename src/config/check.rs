//! What must hold between keys; what holds for one key alone is checked where it is declared.

use super::Config;

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
    let reconnect = &config.reconnect;
    if reconnect.max < reconnect.initial {
        let [max, initial] = [reconnect.max, reconnect.initial].map(humantime::format_duration);
        clashes.push(("reconnect.max", format!("{max} is less than reconnect.initial, {initial}")));
    }
    clashes
}
