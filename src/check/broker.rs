//! The broker: the way there, what is to be there, what the user may, and what policies make of the queues.

mod alarms;
mod limits;
mod management;
mod permissions;
mod policies;
mod queue;
mod reach;
mod things;

use std::time::Duration;

use super::{
    Setup,
    finding::{Area, Finding, Verdict},
    network::addresses,
    shell::word,
};

use crate::broker as amqp;

const AREA: Area = Area::RabbitMq;

/// What is looked at by AMQP once there is a connection, in this order.
const AFTER_LOGIN: &[&str] =
    &["exchange", "dead-letter exchange", "queue", "dead-letter queue", "alarms"];

/// What is said of the way there, as far as plain text goes.
pub async fn plain_text(settings: &amqp::Settings) -> Option<Finding> {
    let amqp::Settings { address, connect_timeout, .. } = settings;
    for address in address.each() {
        let there = addresses((&address.host, address.port), *connect_timeout).await;
        let said = there.and_then(|there| reach::encryption(&address, &there));
        if said.as_ref().is_some_and(|one| one.verdict == Verdict::Warning) {
            return said;
        }
    }
    None
}

/// Looks at all of it.
pub async fn check(setup: &Setup) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut reached = false;
    for address in setup.broker.address.each() {
        reached |= reach::reach(setup, &address, &mut findings).await;
    }
    if reached {
        findings = findings.into_iter().map(Finding::with_another_host).collect();
        findings.extend(things::check(setup).await);
        findings.push(alarms::check(setup).await);
    } else {
        let because = findings
            .iter()
            .rev()
            .find(|finding| finding.verdict == Verdict::Fault)
            .map_or("login", |finding| finding.check);
        let skipped = AFTER_LOGIN.iter().map(|check| Finding::skipped(AREA, check, because));
        findings.extend(skipped.collect::<Vec<_>>());
    }
    let (told, effective) = management::check(setup).await;
    findings.extend(told);
    findings.push(consumer_timeout(setup, effective.and_then(|one| one.consumer_timeout())));
    findings
}

/// Shorter than this, an outage of the database that nobody would notice makes deliveries go back.
const SHORT: Duration = Duration::from_secs(5 * 60);

/// What the daemon goes by, and what the queue says. What the broker goes by else, it shows nobody who is not on its
/// machine.
fn consumer_timeout(setup: &Setup, queue: Option<(u64, String)>) -> Finding {
    let here = humantime::format_duration(setup.consumer_timeout);
    if let Some((millis, whose)) = queue {
        let there = Duration::from_millis(millis);
        let found = format!("{whose} is {}", humantime::format_duration(there));
        if there < setup.consumer_timeout {
            return Finding::fault(
                AREA,
                "consumer timeout",
                format!(
                    "{found}, and the daemon goes by rabbitmq.consumer_timeout = {here}: from RabbitMQ 3.12 on the broker would \
                     take back what is being stored"
                ),
            )
            .advise(format!(
                "set rabbitmq.consumer_timeout = \"{}\"",
                humantime::format_duration(there)
            ));
        }
    }
    if setup.consumer_timeout < SHORT {
        let half = humantime::format_duration(setup.consumer_timeout / 2);
        return Finding::warning(
            AREA,
            "consumer timeout",
            format!(
                "rabbitmq.consumer_timeout is {here}: an outage of the database of {half} makes all in hand go back, which the \
                 queue counts"
            ),
        )
        .advise("let the broker wait longer, in its rabbitmq.conf, and set rabbitmq.consumer_timeout to the same:")
        .command("consumer_timeout = 1800000");
    }
    Finding::unknown(
        AREA,
        "consumer timeout",
        format!("RabbitMQ does not tell how long it waits; the daemon goes by rabbitmq.consumer_timeout, {here}"),
    )
    .advise("it must not be longer than what this prints, on the broker, in milliseconds:")
    .command("rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'")
}

/// `-p VHOST`, for rabbitmqctl.
fn in_vhost(setup: &Setup) -> String {
    format!("-p {}", word(&setup.broker.address.vhost))
}
