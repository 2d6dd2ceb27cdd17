//! What the user may on the virtual host, and what it may beside.

use regex::Regex;

use super::{
    super::{
        Setup,
        finding::Finding,
        shell::{pattern, word},
    },
    AREA,
};
use crate::broker::{Declare, PermissionsView, UserView};

/// The name under which permissions for the default exchange go. The daemon hears of alarms by publishing nothing to it.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// A name that nobody has: who may do something to it may do so to anything.
const ANYTHING: &str = "bloodbank-audit.no-such-thing";

/// The names that the daemon needs to configure, to write to, and to read from.
struct Needed<'a> {
    configure: Vec<&'a str>,
    write: Vec<&'a str>,
    read: Vec<&'a str>,
}

impl<'a> Needed<'a> {
    fn of(setup: &'a Setup) -> Needed<'a> {
        let topology = &setup.broker.topology;
        let [exchange, queue] = [&*topology.exchange, &*topology.queue];
        let [dlx, dlq] = [&*topology.dead_letter_exchange, &*topology.dead_letter_queue];
        let mut needed = match topology.declare {
            Declare::Create => Needed {
                configure: vec![exchange, queue, dlx, dlq],
                write: vec![queue, dlx, dlq, DEFAULT_EXCHANGE],
                read: vec![exchange, queue, dlx, dlq],
            },
            Declare::Verify => Needed {
                configure: Vec::new(),
                write: vec![DEFAULT_EXCHANGE],
                read: vec![queue, dlq],
            },
        };
        if setup.canaries {
            needed.write.push(exchange);
        }
        needed
    }
}

/// The same with the command that gives the user what the daemon needs, and no more.
pub fn grant(finding: Finding, setup: &Setup) -> Finding {
    let needed = Needed::of(setup);
    let patterns = [needed.configure, needed.write, needed.read].map(|names| {
        let names: Vec<_> = names.into_iter().map(pattern).collect();
        format!("'^({})$'", names.join("|").replace('\'', r"'\''"))
    });
    let address = &setup.broker.address;
    finding.command(format!(
        "rabbitmqctl set_permissions -p {} {} {}",
        word(&address.vhost),
        word(&address.user),
        patterns.join(" ").replace("'^()$'", "'^$'")
    ))
}

/// What the user lacks, and what it has too much of.
pub fn check(setup: &Setup, permissions: Option<&PermissionsView>) -> Vec<Finding> {
    let user = &setup.broker.address.user;
    let Some(permissions) = permissions else {
        let found = format!("'{user}' has none on '{}'", setup.broker.address.vhost);
        let finding = Finding::fault(AREA, "permissions", found).advise("on the broker:");
        return vec![grant(finding, setup)];
    };
    let needed = Needed::of(setup);
    let mut lacked = Vec::new();
    let mut too_much = Vec::new();
    for (what, names, allowed) in [
        ("configure", &needed.configure, &permissions.configure),
        ("write to", &needed.write, &permissions.write),
        ("read from", &needed.read, &permissions.read),
    ] {
        let Some(matcher) = matcher(allowed) else {
            let found = format!("{what} '{allowed}' is a pattern that is not understood here");
            return vec![Finding::unknown(AREA, "permissions", found)];
        };
        lacked.extend(
            names
                .iter()
                .filter(|name| !matcher.is_match(name))
                .map(|name| format!("{what} '{name}'")),
        );
        if matcher.is_match(ANYTHING) {
            too_much.push(what);
        }
    }
    let first = if lacked.is_empty() {
        Finding::ok(AREA, "permissions", format!("'{user}' may what the daemon needs"))
    } else {
        let found = format!("'{user}' may not {}", lacked.join(", "));
        grant(Finding::fault(AREA, "permissions", found).advise("on the broker:"), setup)
    };
    let second = if too_much.is_empty() {
        Finding::ok(AREA, "privileges", "only on what is the daemon's own, and the bus")
    } else {
        let found = format!(
            "'{user}' may {} anything on '{}', other services' queues among it",
            too_much.join(", "),
            setup.broker.address.vhost
        );
        let finding = Finding::warning(AREA, "privileges", found);
        grant(finding.advise("let it do what the daemon needs, and no more; on the broker:"), setup)
    };
    vec![first, second]
}

/// As RabbitMQ reads it: an empty pattern is nobody's name.
fn matcher(allowed: &str) -> Option<Regex> {
    Regex::new(if allowed.is_empty() { "^$" } else { allowed }).ok()
}

/// What the user is beside a user.
pub fn tags(user: &UserView) -> Finding {
    let more: Vec<_> =
        user.tags.iter().filter(|tag| *tag == "administrator" || *tag == "policymaker").collect();
    let Some(tag) = more.first() else {
        return Finding::ok(AREA, "user", format!("'{}' is no administrator", user.name));
    };
    let found =
        format!("'{}' is {tag}: whoever gets hold of its password rules the broker", user.name);
    Finding::warning(AREA, "user", found)
        .advise("recording takes no tag; on the broker:")
        .command(format!("rabbitmqctl set_user_tags {}", word(&user.name)))
}
