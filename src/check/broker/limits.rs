//! What arguments and policies together make of a queue: whether it loses messages.

use serde_json::{Map, Value};

use super::{
    super::{
        Setup,
        finding::Finding,
        shell::{pattern, word},
    },
    AREA, in_vhost,
};
use crate::broker::{QueueType, QueueView};

/// With fewer redeliveries than this a message is given up that a few restarts have brought back.
const FEW: u64 = 20;

/// A policy that is made for one queue alone has to win over the others.
const PRIORITY: u32 = 1000;

/// What a queue was declared with, and what policies add to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effective {
    /// What it was declared with.
    pub arguments: Map<String, Value>,
    /// What policies set.
    pub definition: Map<String, Value>,
    /// The policy that does.
    pub policy: Option<String>,
    /// The operator's policy that does.
    pub operator_policy: Option<String>,
}

/// Where something that applies to a queue was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Argument,
    Policy,
}

impl Effective {
    /// Of a queue that is there.
    pub fn of(queue: &QueueView) -> Effective {
        Effective {
            arguments: queue.arguments.clone(),
            definition: queue.effective_policy_definition.clone(),
            policy: queue.policy.clone().filter(|name| !name.is_empty()),
            operator_policy: queue.operator_policy.clone().filter(|name| !name.is_empty()),
        }
    }

    fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments.get(&format!("x-{name}"))
    }

    /// Of a number, the lower one applies.
    fn lower(&self, name: &str) -> Option<(u64, Source)> {
        let argument = self.argument(name).and_then(Value::as_u64);
        let policy = self.definition.get(name).and_then(Value::as_u64);
        let found = [(argument, Source::Argument), (policy, Source::Policy)];
        found
            .into_iter()
            .filter_map(|(number, source)| Some((number?, source)))
            .min_by_key(|(number, _)| *number)
    }

    /// Of a word, the argument applies.
    fn word(&self, name: &str) -> Option<(&str, Source)> {
        let argument = self.argument(name).and_then(Value::as_str);
        let policy = self.definition.get(name).and_then(Value::as_str);
        argument
            .map(|word| (word, Source::Argument))
            .or_else(|| policy.map(|word| (word, Source::Policy)))
    }

    /// How long the broker lets a consumer hold a delivery, in milliseconds, and who says so.
    pub fn consumer_timeout(&self) -> Option<(u64, String)> {
        let (number, source) = self.lower("consumer-timeout")?;
        Some((number, self.whose(source, "consumer-timeout")))
    }

    fn whose(&self, source: Source, name: &str) -> String {
        match (source, &self.policy, &self.operator_policy) {
            (Source::Argument, ..) => format!("the queue's argument x-{name}"),
            (Source::Policy, Some(policy), None) => format!("{name} of the policy '{policy}'"),
            (Source::Policy, None, Some(policy)) => {
                format!("{name} of the operator's policy '{policy}'")
            }
            (Source::Policy, Some(policy), Some(operator)) => {
                format!("{name} of the policy '{policy}' or the operator's policy '{operator}'")
            }
            (Source::Policy, None, None) => format!("{name} of a policy"),
        }
    }

    /// How to undo it for this queue.
    fn undo(&self, finding: Finding, source: Source, setup: &Setup, queue: &str) -> Finding {
        let p = in_vhost(setup);
        if source == Source::Argument {
            return anew(finding, setup, queue);
        }
        let topology = &setup.broker.topology;
        let mut finding = finding;
        if self.policy.is_some() {
            // What says nothing new, since a policy has to say something.
            let harmless = if queue == topology.queue {
                serde_json::json!({ "dead-letter-exchange": topology.dead_letter_exchange })
            } else {
                serde_json::json!({ "queue-leader-locator": "client-local" })
            };
            finding = finding
                .advise(
                    "keep that policy from this queue, by one that wins over it; on the broker:",
                )
                .command(format!(
                    "rabbitmqctl set_policy {p} --priority {PRIORITY} --apply-to queues {} {} {}",
                    word(&format!("audit-{queue}")),
                    word(&format!("^{}$", pattern(queue))),
                    word(&harmless.to_string())
                ));
        }
        if let Some(policy) = &self.operator_policy {
            finding = finding
                .advise("the operator's policy is to leave this queue out: change its pattern, or on the broker:")
                .command(format!("rabbitmqctl clear_operator_policy {p} {}", word(policy)));
        }
        finding
    }
}

/// How to have a queue declared anew, which takes one that is empty.
pub fn anew(finding: Finding, setup: &Setup, queue: &str) -> Finding {
    finding
        .advise(
            "an argument cannot be changed: name another queue, or stop the daemon, delete this one once it is empty, and let the \
             daemon declare it; on the broker:",
        )
        .command(format!("rabbitmqctl delete_queue {} --if-empty {}", in_vhost(setup), word(queue)))
}

/// What makes a queue lose messages by age, number or size.
pub fn losses(
    setup: &Setup,
    check: &'static str,
    queue: &str,
    effective: &Effective,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let overflow = effective.word("overflow").map_or("drop-head", |(word, _)| word);
    for (name, what) in [
        ("message-ttl", "messages go after that many milliseconds in it"),
        (
            "expires",
            "it is deleted, with all in it, after that many milliseconds without the daemon",
        ),
        ("max-length", "it holds no more than that many messages"),
        ("max-length-bytes", "it holds no more than that many bytes"),
    ] {
        let Some((number, source)) = effective.lower(name) else { continue };
        let then = match (name.starts_with("max-"), overflow) {
            (false, _) => "",
            (true, "drop-head") => ", and then drops the oldest (overflow drop-head)",
            (true, _) => ", and then refuses what is published",
        };
        let whose = effective.whose(source, name);
        let found = format!("'{queue}': {whose} is {number}: {what}{then}");
        findings.push(effective.undo(Finding::fault(AREA, check, found), source, setup, queue));
    }
    if findings.is_empty() {
        let found = format!("'{queue}' drops nothing for its age, number or size");
        findings.push(Finding::ok(AREA, check, found));
    }
    findings
}

/// After how many redeliveries the queue gives a message up.
pub fn deliveries(setup: &Setup, effective: &Effective) -> Option<Finding> {
    let topology = &setup.broker.topology;
    if topology.queue_type == QueueType::Classic {
        return None;
    }
    const CHECK: &str = "delivery limit";
    let Some((limit, source)) = effective.lower("delivery-limit") else {
        let found = format!(
            "'{}' has none: a message that the client cannot parse ends each session, for ever",
            topology.queue
        );
        return Some(anew(Finding::warning(AREA, CHECK, found), setup, &topology.queue));
    };
    let whose = effective.whose(source, "delivery-limit");
    let configured = u64::from(topology.delivery_limit);
    if limit < configured {
        let found = format!(
            "{whose} is {limit}, and the daemon goes by rabbitmq.delivery_limit = {configured}: it would not see when a message is \
             about to be given up"
        );
        let finding = Finding::fault(AREA, CHECK, found);
        return Some(effective.undo(finding, source, setup, &topology.queue));
    }
    if limit < FEW {
        let found = format!("{whose} is {limit}: after so many outages a message is a dead letter");
        let finding = Finding::warning(AREA, CHECK, found).advise(format!(
            "{FEW} is usual: set rabbitmq.delivery_limit = {FEW}, and have the queue declared anew once it is empty; on the broker:"
        ));
        return Some(finding.command(format!(
            "rabbitmqctl delete_queue {} --if-empty {}",
            in_vhost(setup),
            word(&topology.queue)
        )));
    }
    Some(Finding::ok(AREA, CHECK, format!("{limit} redeliveries")))
}

/// Where the queue sends what is rejected.
pub fn dead_lettering(setup: &Setup, effective: &Effective) -> Finding {
    const CHECK: &str = "dead-lettering";
    let topology = &setup.broker.topology;
    let wanted = &*topology.dead_letter_exchange;
    match effective.word("dead-letter-exchange") {
        Some((exchange, _)) if exchange == wanted => {
            Finding::ok(AREA, CHECK, format!("what is rejected goes to '{wanted}'"))
        }
        Some((exchange, source)) => {
            let whose = effective.whose(source, "dead-letter-exchange");
            let found = format!(
                "{whose} is '{exchange}', where the daemon does not look for what it rejected"
            );
            let finding = Finding::fault(AREA, CHECK, found);
            match source {
                Source::Argument => anew(finding, setup, &topology.queue),
                Source::Policy => by_policy(finding, setup),
            }
        }
        None => {
            let found = format!(
                "'{}' has no dead-letter exchange: what cannot be recorded is gone",
                topology.queue
            );
            by_policy(Finding::fault(AREA, CHECK, found), setup)
        }
    }
}

/// What gives a queue its dead-letter exchange that has none by its arguments.
fn by_policy(finding: Finding, setup: &Setup) -> Finding {
    let topology = &setup.broker.topology;
    let definition = serde_json::json!({ "dead-letter-exchange": topology.dead_letter_exchange });
    finding
        .advise("have the queue declared anew by the daemon once it is empty, or give it one by a policy; on the broker:")
        .command(format!(
            "rabbitmqctl set_policy {} --priority {PRIORITY} --apply-to queues {} {} {}",
            in_vhost(setup),
            word(&format!("audit-{}", topology.queue)),
            word(&format!("^{}$", pattern(&topology.queue))),
            word(&definition.to_string())
        ))
}
