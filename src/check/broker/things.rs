//! Exchanges and queues: whether they are there. AMQP tells no more than that without declaring anything.

use tokio::time::timeout;

use super::{
    super::{Setup, finding::Finding, shell::word},
    AREA,
};
use crate::broker::{Declare, Fault, Kind, Lookout};

/// Looks for the two exchanges and the two queues.
pub async fn check(setup: &Setup) -> Vec<Finding> {
    let broker = &setup.broker;
    let limit = broker.connect_timeout;
    let opening = Lookout::open(&broker.address, &broker.connection_name, limit).await;
    let mut lookout = match opening {
        Ok(lookout) => lookout,
        Err(fault) => return vec![Finding::fault(AREA, "exchange", fault.message)],
    };
    let topology = &broker.topology;
    let mut findings = Vec::new();
    for (check, name) in
        [("exchange", &topology.exchange), ("dead-letter exchange", &topology.dead_letter_exchange)]
    {
        let found = timeout(limit, lookout.find_exchange(name)).await;
        findings.push(thing(setup, check, name, found.map(|there| there.map(|()| None))));
    }
    for (check, name) in
        [("queue", &topology.queue), ("dead-letter queue", &topology.dead_letter_queue)]
    {
        let found = timeout(limit, lookout.depth(name)).await;
        findings.push(thing(setup, check, name, found.map(|there| there.map(Some))));
    }
    // Nothing depends on how it ends.
    let _ = timeout(limit, lookout.close()).await;
    findings
}

type Found = Result<Result<Option<u32>, Fault>, tokio::time::error::Elapsed>;

fn thing(setup: &Setup, check: &'static str, name: &str, found: Found) -> Finding {
    let fault = match found {
        Ok(Ok(None)) => return Finding::ok(AREA, check, format!("'{name}' is there")),
        Ok(Ok(Some(messages))) => return waiting(check, name, messages),
        Ok(Err(fault)) => fault,
        Err(_) => Fault {
            kind: Kind::Unreachable,
            message: format!(
                "'{name}': no answer within {}; a quorum queue without a leader answers nothing",
                humantime::format_duration(setup.broker.connect_timeout)
            ),
        },
    };
    if !fault.is_absence() {
        return Finding::fault(AREA, check, fault.message)
            .advise("on the broker:")
            .command("rabbitmq-diagnostics check_if_node_is_quorum_critical")
            .command("rabbitmqctl cluster_status");
    }
    let vhost = word(&setup.broker.address.vhost);
    let found = format!("'{name}' is not there");
    match setup.broker.topology.declare {
        Declare::Create if check == "exchange" => Finding::warning(
            AREA,
            check,
            format!("{found}: nobody publishes to it yet, and the daemon declares it at its start"),
        )
        .advise("see that rabbitmq.exchange is the exchange that the bus uses:")
        .command(format!("rabbitmqctl list_exchanges -p {vhost} name type")),
        Declare::Create => {
            Finding::ok(AREA, check, format!("{found} yet; the daemon declares it at its start"))
        }
        Declare::Verify => Finding::fault(AREA, check, format!("{found}, and rabbitmq.declare = \"verify\""))
            .advise("declare it, correct its name in the configuration, or set rabbitmq.declare = \"create\"")
            .command(declaration(setup, check, name)),
    }
}

/// What declares it as the daemon would.
fn declaration(setup: &Setup, check: &str, name: &str) -> String {
    let topology = &setup.broker.topology;
    let declare = format!("rabbitmqadmin -V {} declare", word(&setup.broker.address.vhost));
    let name = word(name);
    match check {
        "exchange" => format!("{declare} exchange name={name} type=topic durable=true"),
        "dead-letter exchange" => {
            format!("{declare} exchange name={name} type=fanout durable=true")
        }
        _ => {
            let all = topology.queue_declaration();
            let arguments: serde_json::Map<_, _> = all
                .into_iter()
                .filter(|(argument, _)| check == "queue" || *argument == "x-queue-type")
                .map(|(argument, value)| (argument.to_owned(), value))
                .collect();
            let arguments = serde_json::Value::Object(arguments).to_string();
            format!("{declare} queue name={name} durable=true arguments={}", word(&arguments))
        }
    }
}

/// What waits in a queue says whether anybody takes it.
fn waiting(check: &'static str, name: &str, messages: u32) -> Finding {
    let found = format!("'{name}' is there, {messages} message(s) wait in it");
    if check == "dead-letter queue" && messages > 0 {
        Finding::warning(AREA, check, format!("{found}: events that could not be recorded"))
            .advise("look at them, and send them again or discard them:")
            .command("bloodbank-audit dead-letters list")
    } else {
        Finding::ok(AREA, check, found)
    }
}
