//! What the management interface tells, which AMQP does not.

use super::{
    super::{Setup, finding::Finding, shell::word},
    AREA, in_vhost,
    limits::Effective,
    permissions, policies, queue,
};
use crate::broker::{
    Declare, ExchangeView, Fault, Kind, Management, NodeView, PermissionsView, UserView,
};

/// Looks at all that it tells; and at how long the broker lets a consumer hold a delivery of the queue, where the queue says so.
pub async fn check(setup: &Setup) -> (Vec<Finding>, Option<Effective>) {
    let Some(address) = &setup.management else {
        return (vec![not_allowed(setup)], None);
    };
    let management = match Management::new(address.clone(), setup.broker.connect_timeout) {
        Ok(management) => management,
        Err(fault) => return (vec![unusable(setup, &fault)], None),
    };
    let (me, version) = match (management.who_am_i().await, management.version().await) {
        (Ok(me), Ok(version)) => (me, version),
        (Err(fault), _) | (_, Err(fault)) => return (vec![unusable(setup, &fault)], None),
    };
    let found = format!("RabbitMQ {version}, asked as '{}'", me.name);
    let mut findings = vec![Finding::ok(AREA, "management", found)];
    let base = &address.base;
    let near = |host: &str| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    };
    if base.scheme() == "http" && !base.host_str().is_some_and(near) {
        findings.push(
            Finding::warning(
                AREA,
                "management encryption",
                format!("its password goes to {base} as plain text"),
            )
            .advise("set rabbitmq.management_url to https://"),
        );
    }
    let broker = &setup.broker;
    let vhost = &*broker.address.vhost;
    let (user, rights) = user(&management, setup, me).await;
    findings.push(user);
    findings.extend(rights);
    let topology = &broker.topology;
    if let Some(finding) = asked(
        "exchange type",
        setup,
        management.exchange_view(vhost, &topology.exchange).await,
        exchange,
    ) {
        findings.push(finding);
    }
    let (of_queue, effective) = queue::check(&management, setup).await;
    findings.extend(of_queue);
    findings.extend(queue::dead_letters(&management, setup).await);
    findings.push(match management.nodes().await {
        Ok(found) => nodes(&found),
        Err(fault) => Finding::unknown(AREA, "nodes", fault.message)
            .advise("let the user of rabbitmq.management_url see them, or look on the broker:")
            .command("rabbitmqctl cluster_status"),
    });
    (findings, effective)
}

/// How to allow looking.
fn not_allowed(setup: &Setup) -> Finding {
    let found = "rabbitmq.management_url is not set: nothing is known of the user's tags and permissions, the exchange's type, \
                 the queues' arguments, limits, dead-lettering, bindings and consumers, of policies, and of the nodes";
    Finding::unknown(AREA, "management", found)
        .advise(
            "make a user for looking on the broker, and set rabbitmq.management_url = \"http://USER:PASSWORD@HOST:15672\"; only an \
             administrator sees permissions:",
        )
        .command("rabbitmq-plugins enable rabbitmq_management")
        .command("rabbitmqctl add_user bloodbank_check")
        .command("rabbitmqctl set_user_tags bloodbank_check administrator")
        .command(format!("rabbitmqctl set_permissions {} bloodbank_check '^$' '^$' '.*'", in_vhost(setup)))
}

fn unusable(setup: &Setup, fault: &Fault) -> Finding {
    let finding = Finding::fault(AREA, "management", fault.message.clone());
    let Some(address) = &setup.management else { return finding };
    finding
        .advise("correct rabbitmq.management_url, or unset it: recording does not need it. On the broker:")
        .command("rabbitmq-plugins enable rabbitmq_management")
        .command(format!("rabbitmqctl set_user_tags {} monitoring", word(&address.user)))
}

/// A finding about an answer; unknown where it was refused.
pub fn asked<T>(
    check: &'static str,
    setup: &Setup,
    answer: Result<Option<T>, Fault>,
    judge: impl FnOnce(&Setup, &T) -> Finding,
) -> Option<Finding> {
    match answer {
        Ok(Some(answer)) => Some(judge(setup, &answer)),
        // What is missing has been said.
        Ok(None) => None,
        Err(fault) => Some(refused(check, setup, &fault)),
    }
}

/// What could not be asked, and how to allow it.
pub fn refused(check: &'static str, setup: &Setup, fault: &Fault) -> Finding {
    let finding = Finding::unknown(AREA, check, fault.message.clone());
    match (&setup.management, fault.kind) {
        (Some(address), Kind::Refused) => finding
            .advise("let the user of rabbitmq.management_url look at it; on the broker:")
            .command(format!(
                "rabbitmqctl set_permissions {} {} '^$' '^$' '.*'",
                in_vhost(setup),
                word(&address.user)
            )),
        _ => finding,
    }
}

/// What the daemon's user is, and may.
async fn user(management: &Management, setup: &Setup, me: UserView) -> (Finding, Vec<Finding>) {
    let address = &setup.broker.address;
    let name = &*address.user;
    let of_itself = me.name == name;
    let user = if of_itself { Ok(Some(me)) } else { management.user(name).await };
    let unknown = |check, fault: Fault, command: String| {
        Finding::unknown(AREA, check, fault.message)
            .advise("only an administrator may look at that; on the broker:")
            .command(command)
    };
    let tags = match user {
        Ok(Some(user)) => permissions::tags(&user),
        Ok(None) => Finding::unknown(
            AREA,
            "user",
            format!("the broker does not keep '{name}' itself, and its tags are not known"),
        ),
        Err(fault) => unknown("user", fault, "rabbitmqctl list_users".to_owned()),
    };
    let found: Result<Option<PermissionsView>, Fault> =
        management.permissions(&address.vhost, name).await;
    let rights = match found {
        Ok(found) => permissions::check(setup, found.as_ref()),
        Err(fault) => {
            let command = format!("rabbitmqctl list_user_permissions {}", word(name));
            vec![unknown("permissions", fault, command)]
        }
    };
    (tags, rights)
}

fn exchange(setup: &Setup, found: &ExchangeView) -> Finding {
    let name = &setup.broker.topology.exchange;
    let vhost = word(&setup.broker.address.vhost);
    let mut wrong = Vec::new();
    if found.kind != "topic" {
        wrong.push(format!("is of type {}", found.kind));
    }
    if !found.durable {
        wrong.push("does not outlive the broker's end".to_owned());
    }
    if found.auto_delete {
        wrong.push("goes with its last binding".to_owned());
    }
    if wrong.is_empty() {
        return Finding::ok(AREA, "exchange type", format!("'{name}' is a durable topic exchange"));
    }
    let clash = match setup.broker.topology.declare {
        Declare::Create => "; the daemon asks for a durable topic exchange, and ends",
        Declare::Verify if found.kind == "topic" => "",
        Declare::Verify => "; the binding keys mean something else there, or nothing",
    };
    let words = format!("'{name}' {}{clash}", wrong.join(", "));
    let finding = if clash.is_empty() {
        Finding::warning(AREA, "exchange type", words)
    } else {
        Finding::fault(AREA, "exchange type", words)
    };
    finding
        .advise(
            "name the bus's exchange in rabbitmq.exchange, or delete this one if nothing uses it",
        )
        .command(format!("rabbitmqctl list_exchanges -p {vhost} name type durable auto_delete"))
        .command(format!("rabbitmqadmin -V {vhost} delete exchange name={}", word(name)))
}

fn nodes(nodes: &[NodeView]) -> Finding {
    if let Some(node) = nodes.iter().find(|node| !node.partitions.is_empty()) {
        let found = format!(
            "{} has lost {}, and has not joined again",
            node.name,
            node.partitions.join(", ")
        );
        return Finding::fault(AREA, "nodes", found)
            .advise("restart the nodes of the side that is to give way")
            .command("rabbitmqctl cluster_status");
    }
    let low = |node: &&NodeView| {
        let known = node.disk_free.zip(node.disk_free_limit);
        node.disk_free_alarm
            || node.mem_alarm
            || known.is_some_and(|(free, limit)| free / 2 < limit)
    };
    if let Some(node) = nodes.iter().find(low) {
        let free = node.disk_free.map_or(String::new(), |free| {
            format!(", {} free on its disk", bytesize::ByteSize::b(free))
        });
        let found = format!(
            "{} is short of {}{free}",
            node.name,
            if node.mem_alarm { "memory" } else { "disk" }
        );
        return Finding::warning(AREA, "nodes", found)
            .advise("a backlog lies there while the daemon or its database is away; give it room")
            .command("rabbitmq-diagnostics status");
    }
    if let Some(node) = nodes.iter().find(|node| !node.running) {
        return Finding::warning(AREA, "nodes", format!("{} is down", node.name))
            .command("rabbitmqctl cluster_status");
    }
    Finding::ok(AREA, "nodes", format!("{} up, with room", nodes.len()))
}

/// What policies would make of a queue that is not there yet.
pub async fn foreseen(
    management: &Management,
    setup: &Setup,
    name: &str,
) -> Result<Effective, Fault> {
    let kind = setup.broker.topology.queue_type;
    policies::applying(management, &setup.broker.address.vhost, (kind, name)).await
}
