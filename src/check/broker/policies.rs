//! Which policies will apply to a queue that is not there yet. Of one that is there, the broker says so itself.

use regex::Regex;
use serde_json::Map;

use super::limits::Effective;
use crate::broker::{Fault, Management, PolicyView, QueueType};

/// What policies make of a queue of that kind and name, without arguments.
pub async fn applying(
    management: &Management,
    vhost: &str,
    (kind, name): (QueueType, &str),
) -> Result<Effective, Fault> {
    let users = management.policies(vhost, false).await?;
    let operators = management.policies(vhost, true).await?;
    let [policy, operator] = [&users, &operators].map(|policies| of(policies, kind, name));
    let mut definition = policy.map_or_else(Map::new, |policy| policy.definition.clone());
    // Where both set something, the operator's word is the last one.
    definition.extend(operator.iter().flat_map(|policy| policy.definition.clone()));
    Ok(Effective {
        arguments: Map::new(),
        definition,
        policy: policy.map(|policy| policy.name.clone()),
        operator_policy: operator.map(|policy| policy.name.clone()),
    })
}

/// The one with the highest priority of those that match; a pattern that is not understood here matches nothing.
fn of<'a>(policies: &'a [PolicyView], kind: QueueType, name: &str) -> Option<&'a PolicyView> {
    let of_others = match kind {
        QueueType::Quorum => "classic_queues",
        QueueType::Classic => "quorum_queues",
    };
    let not_for_it = ["exchanges", "streams", of_others];
    policies
        .iter()
        .filter(|policy| !not_for_it.contains(&&*policy.apply_to))
        .filter(|policy| Regex::new(&policy.pattern).is_ok_and(|pattern| pattern.is_match(name)))
        .max_by_key(|policy| policy.priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_with_the_highest_priority_applies() {
        let policy = |name: &str, pattern: &str, apply_to: &str, priority| PolicyView {
            name: name.to_owned(),
            pattern: pattern.to_owned(),
            apply_to: apply_to.to_owned(),
            priority,
            definition: Map::new(),
        };
        let policies = [
            policy("low", ".*", "all", 0),
            policy("high", "^blood", "queues", 5),
            policy("of others", "^other", "queues", 9),
            policy("of exchanges", ".*", "exchanges", 9),
            // RabbitMQ 3.12 and later.
            policy("of classic ones", "^blood", "classic_queues", 7),
        ];
        let of = |kind, queue| of(&policies, kind, queue).map(|policy| policy.name.as_str());
        assert_eq!(of(QueueType::Quorum, "bloodbank.audit"), Some("high"));
        assert_eq!(of(QueueType::Classic, "bloodbank.audit"), Some("of classic ones"));
        assert_eq!(of(QueueType::Quorum, "x"), Some("low"));
        assert_eq!(super::of(&policies[1..2], QueueType::Quorum, "x"), None);
    }
}
