//! The two queues, as the management interface shows them.

use serde_json::Value;

use super::{
    super::{Setup, finding::Finding, shell::word},
    AREA, in_vhost,
    limits::{Effective, anew, dead_lettering, deliveries, losses},
    management::{foreseen, refused},
};
use crate::broker::{Declare, Management, QueueType, QueueView, SourceView};

/// Arguments with which a queue is another one, beside those that the daemon declares it with.
const TELLING: &[&str] = &[
    "x-dead-letter-routing-key",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-message-ttl",
    "x-single-active-consumer",
];

/// Looks at the daemon's queue. What applies to it comes along.
pub async fn check(management: &Management, setup: &Setup) -> (Vec<Finding>, Option<Effective>) {
    let topology = &setup.broker.topology;
    let (vhost, name) = (&*setup.broker.address.vhost, &*topology.queue);
    let view = match management.queue(vhost, name).await {
        Ok(Some(view)) => view,
        Ok(None) => return (foresee(management, setup, name, "queue limits").await, None),
        Err(fault) => return (vec![refused("queue arguments", setup, &fault)], None),
    };
    let effective = Effective::of(&view);
    let mut findings = vec![arguments(setup, &view)];
    findings.push(dead_lettering(setup, &effective));
    findings.extend(losses(setup, "queue limits", name, &effective));
    findings.extend(deliveries(setup, &effective));
    findings.push(match management.queue_bindings(vhost, name).await {
        Ok(found) => bindings(setup, &found),
        Err(fault) => refused("bindings", setup, &fault),
    });
    findings.push(consumers(setup, &view));
    (findings, Some(effective))
}

/// Policies are there before the queue is.
async fn foresee(
    management: &Management,
    setup: &Setup,
    name: &str,
    check: &'static str,
) -> Vec<Finding> {
    let topology = &setup.broker.topology;
    if topology.declare == Declare::Verify {
        return Vec::new();
    }
    let mut effective = match foreseen(management, setup, name).await {
        Ok(effective) => effective,
        Err(fault) => {
            let found =
                format!("which policies will apply to '{name}' is not told: {}", fault.message);
            return vec![
                Finding::unknown(AREA, check, found)
                    .advise("on the broker:")
                    .command(format!("rabbitmqctl list_policies {}", in_vhost(setup))),
            ];
        }
    };
    if name != topology.queue {
        return losses(setup, check, name, &effective);
    }
    let declared = topology.queue_declaration();
    effective.arguments =
        declared.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut findings = losses(setup, check, name, &effective);
    findings.extend(deliveries(setup, &effective));
    findings
}

/// Whether the queue is the one that the daemon declares.
fn arguments(setup: &Setup, view: &QueueView) -> Finding {
    const CHECK: &str = "queue arguments";
    let topology = &setup.broker.topology;
    let name = &topology.queue;
    let shown = |value: Option<&Value>| value.map_or("not set".to_owned(), ToString::to_string);
    let mut wrong = Vec::new();
    let wanted = match topology.queue_type {
        QueueType::Quorum => "quorum",
        QueueType::Classic => "classic",
    };
    let kind = view.kind.as_deref().unwrap_or("classic");
    if kind != wanted {
        wrong.push(format!("its type is {kind}, and not {wanted}"));
    }
    if !view.durable || view.auto_delete {
        wrong.push("it does not outlive the broker's end, or its last consumer".to_owned());
    }
    let declared = topology.queue_declaration();
    for (argument, value) in &declared {
        let found = view.arguments.get(*argument);
        if *argument != "x-queue-type" && found != Some(value) {
            wrong.push(format!("{argument} is {}, and not {value}", shown(found)));
        }
    }
    let more =
        TELLING.iter().filter_map(|argument| Some((argument, view.arguments.get(*argument)?)));
    wrong.extend(more.map(|(argument, value)| format!("{argument} is {value}, and not set")));
    if wrong.is_empty() {
        return Finding::ok(AREA, CHECK, format!("'{name}' is as the daemon declares it, {kind}"));
    }
    let wrong = wrong.join("; ");
    if topology.declare == Declare::Verify {
        // What matters of them is looked at one by one.
        return Finding::ok(AREA, CHECK, format!("'{name}' is taken as it is: {wrong}"));
    }
    let found =
        format!("'{name}' is another queue than the daemon declares, and it will end: {wrong}");
    let mut finding = anew(Finding::fault(AREA, CHECK, found), setup, name);
    if let Some(advice) = &mut finding.advice {
        advice.insert_str(0, "set rabbitmq.declare = \"verify\" to take it as it is; ");
    }
    finding
}

/// Whether everything that is wanted reaches the queue.
fn bindings(setup: &Setup, found: &[SourceView]) -> Finding {
    const CHECK: &str = "bindings";
    let topology = &setup.broker.topology;
    let (exchange, queue) = (&*topology.exchange, &*topology.queue);
    let is_there =
        |key: &String| found.iter().any(|one| one.source == exchange && one.routing_key == *key);
    let missing: Vec<_> = topology.bindings.iter().filter(|key| !is_there(key)).collect();
    if let Some(first) = missing.first() {
        let keys: Vec<_> = missing.iter().map(|key| format!("'{key}'")).collect();
        let what = format!("'{queue}' is not bound to '{exchange}' with {}", keys.join(", "));
        let finding = match topology.declare {
            Declare::Create => Finding::warning(
                AREA,
                CHECK,
                format!("{what}: nothing is kept until the daemon binds it, at its start"),
            ),
            Declare::Verify => {
                Finding::fault(AREA, CHECK, format!("{what}: those events are not recorded"))
            }
        };
        return finding.advise("bind it:").command(bind(setup, exchange, queue, first));
    }
    if topology.bindings.iter().any(|key| key == "#") {
        Finding::ok(AREA, CHECK, format!("everything of '{exchange}' reaches '{queue}'"))
    } else {
        let keys = topology.bindings.join("', '");
        Finding::warning(
            AREA,
            CHECK,
            format!(
                "rabbitmq.bindings has no \"#\": what matches none of '{keys}' is not recorded"
            ),
        )
        .advise("set rabbitmq.bindings = [\"#\"], unless the history is to have those gaps")
    }
}

fn bind(setup: &Setup, exchange: &str, queue: &str, key: &str) -> String {
    let of = |name: &str, value: &str| word(&format!("{name}={value}")).into_owned();
    format!(
        "rabbitmqadmin -V {} declare binding {} {} {}",
        word(&setup.broker.address.vhost),
        of("source", exchange),
        of("destination", queue),
        of("routing_key", key)
    )
}

/// Whoever else consumes takes events away.
fn consumers(setup: &Setup, view: &QueueView) -> Finding {
    const CHECK: &str = "consumers";
    let us = &*setup.broker.address.user;
    let mut others: Vec<_> = view
        .consumer_details
        .iter()
        .filter_map(|consumer| consumer.user())
        .filter(|user| *user != us)
        .collect();
    others.sort_unstable();
    others.dedup();
    if others.is_empty() {
        let number = view.consumer_details.len();
        return Finding::ok(AREA, CHECK, format!("{number}, none of another user"));
    }
    let found = format!(
        "'{}' consumes from '{}' too: each event goes to one consumer alone",
        others.join("', '"),
        setup.broker.topology.queue
    );
    Finding::fault(AREA, CHECK, found)
        .advise("give that service a queue of its own; who it is, on the broker:")
        .command(format!("rabbitmqctl list_consumers {}", in_vhost(setup)))
        .command("rabbitmqctl list_connections user peer_host name client_properties")
}

/// Looks at the queue that takes what cannot be recorded.
pub async fn dead_letters(management: &Management, setup: &Setup) -> Vec<Finding> {
    const LIMITS: &str = "dead-letter queue limits";
    let topology = &setup.broker.topology;
    let (vhost, name) = (&*setup.broker.address.vhost, &*topology.dead_letter_queue);
    let view = match management.queue(vhost, name).await {
        Ok(Some(view)) => view,
        Ok(None) => return foresee(management, setup, name, LIMITS).await,
        Err(fault) => return vec![refused(LIMITS, setup, &fault)],
    };
    let mut findings = losses(setup, LIMITS, name, &Effective::of(&view));
    findings.push(match management.queue_bindings(vhost, name).await {
        Ok(found) => {
            let exchange = &*topology.dead_letter_exchange;
            if found.iter().any(|one| one.source == exchange) {
                Finding::ok(AREA, "dead-letter binding", format!("'{exchange}' leads to '{name}'"))
            } else {
                let what =
                    format!("'{name}' is not bound to '{exchange}': what is rejected goes nowhere");
                let finding = match topology.declare {
                    Declare::Create => Finding::warning(
                        AREA,
                        "dead-letter binding",
                        format!("{what} until the daemon binds it, at its start"),
                    ),
                    Declare::Verify => Finding::fault(AREA, "dead-letter binding", what),
                };
                finding.advise("bind it:").command(bind(setup, exchange, name, "#"))
            }
        }
        Err(fault) => refused("dead-letter binding", setup, &fault),
    });
    findings
}
