//! `bloodbank-audit replay`: the events of the history go back onto a bus, as they were, and all of them.

mod coming_back;
mod dry_run;
mod killed;
mod leader_dies;
mod outages;
mod pace;
mod reach;
mod recipes;
mod refusals;
mod same_events;
mod stopping;
mod undelivered;

use std::{collections::BTreeMap, time::Duration};

use amqprs::{
    FieldTable, FieldValue as Theirs,
    channel::{QueueBindArguments, QueueDeclareArguments},
};
use anyhow::{Context as _, Result};
use bloodbank_audit::{
    broker::{Acker, Declare, QueueType, Session, Settings, Source as _, Topology},
    event::{Delivery, FieldValue},
};
use testbed::eventually;

use crate::support::{Answer, Bed, Daemon, PATIENCE, Scene, made_history};

/// Yesterday's events, all that `made_history` has made of it.
const YESTERDAY: [&str; 4] = ["--since", "yesterday", "--until", "today"];

/// A scene in which so many events came yesterday.
async fn history(bed: &Bed, events: i32) -> Result<Scene> {
    let scene = Scene::migrated(bed).await?;
    made_history(&mut scene.sql().await?, 1, events).await?;
    Ok(scene)
}

/// Replays in the foreground.
fn replays(scene: &Scene, arguments: &[&str]) -> Result<Answer> {
    scene.asks(&[&["replay"], arguments].concat())
}

/// Replays beside the test.
fn begins(scene: &Scene, arguments: &[&str]) -> Result<Daemon> {
    Daemon::spawn(&[&["replay"], arguments].concat(), &scene.environment())
}

/// The id of the only replay on record, or of the last one.
async fn last_replay(scene: &Scene) -> Result<String> {
    let mut sql = scene.sql().await?;
    let query = "select id::text from audit.replays order by created_at desc limit 1";
    Ok(sqlx::query_scalar(query).fetch_one(&mut sql).await?)
}

/// Declares a durable queue with these arguments, for the test alone.
async fn queue(scene: &Scene, name: &str, arguments: &[(&str, Theirs)]) -> Result<String> {
    let queue = format!("{}.{name}", scene.name);
    let (connection, channel) = scene.client().await?;
    let mut table = FieldTable::new();
    for (name, value) in arguments {
        table.insert((*name).try_into()?, value.clone());
    }
    let mut declare = QueueDeclareArguments::durable_client_named(&queue);
    declare.arguments(table);
    channel.queue_declare(declare).await?;
    connection.close().await?;
    Ok(queue)
}

/// A quorum queue.
async fn quorum_queue(scene: &Scene, name: &str) -> Result<String> {
    queue(scene, name, &[("x-queue-type", "quorum".into())]).await
}

async fn bind(scene: &Scene, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let (connection, channel) = scene.client().await?;
    channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await?;
    Ok(connection.close().await?)
}

/// Awaits that at least so many messages wait in a queue.
async fn waits_at_least(scene: &Scene, queue: &str, messages: usize) -> Result<()> {
    eventually(&format!("{messages} message(s) or more in {queue}"), PATIENCE, async || match scene
        .ready(queue)
        .await
    {
        Ok(found) if found >= messages => Ok(()),
        Ok(found) => Err(found.to_string()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}

/// Takes all that waits in a queue, as the daemon would decode it.
async fn taken(scene: &Scene, queue: &str) -> Result<Vec<Delivery>> {
    let waiting = scene.ready(queue).await?;
    let settings = Settings {
        address: scene.address()?,
        topology: Topology {
            exchange: "amq.topic".to_owned(),
            queue: queue.to_owned(),
            queue_type: QueueType::Quorum,
            bindings: Vec::new(),
            dead_letter_exchange: "amq.fanout".to_owned(),
            dead_letter_queue: queue.to_owned(),
            delivery_limit: 20,
            declare: Declare::Verify,
        },
        connection_name: scene.name.clone(),
        connect_timeout: Duration::from_secs(10),
        heartbeat: Duration::from_secs(10),
    };
    // No more than that, and nothing that comes meanwhile: it is acknowledged when it is consumed from no more.
    let prefetch = u16::try_from(waiting).unwrap_or(u16::MAX);
    let session = Session::open(&settings, prefetch).await?;
    let (mut deliveries, mut acks, handle) = session.ends();
    let mut taken = Vec::with_capacity(waiting);
    while taken.len() < waiting {
        let next = tokio::time::timeout(PATIENCE, deliveries.next()).await?;
        let delivery = next.context("the session ended")?;
        // More than may be in hand at once.
        if taken.len() % 10_000 == 9_999 && taken.len() + 1 < waiting {
            acks.ack_up_to(delivery.tag).await?;
        }
        taken.push(delivery);
    }
    deliveries.cancel();
    while let Some(more) = deliveries.next().await {
        taken.push(more);
    }
    if let Some(last) = taken.last() {
        Acker::ack_up_to(&mut acks, last.tag).await?;
    }
    handle.close().await;
    Ok(taken)
}

/// A header's text.
fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a str> {
    match delivery.properties.headers.as_ref()?.get(name)? {
        FieldValue::String(text) => Some(text),
        _ => None,
    }
}

/// Headers that are not a replay's.
fn own_headers(delivery: &Delivery) -> Option<BTreeMap<String, FieldValue>> {
    let added = |name: &str| {
        name == "x-replay-id" || name == "x-replayed-at" || name.starts_with("x-original-")
    };
    let own = delivery.properties.headers.iter().flatten().filter(|(name, _)| !added(name));
    let own: BTreeMap<_, _> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    (!own.is_empty()).then_some(own)
}

/// The numbers in the payloads of what `made_history` has made.
fn numbers(deliveries: &[Delivery]) -> Result<Vec<i64>> {
    let number = |delivery: &Delivery| {
        let body: serde_json::Value = serde_json::from_slice(&delivery.body)?;
        body["number"].as_i64().context("no number")
    };
    deliveries.iter().map(number).collect()
}

/// Expects each number from 1 to `last`, in order; where one comes again, what follows it does too, and those are at most
/// `repeats` in all.
fn each_in_order(numbers: &[i64], last: i64, repeats: usize) {
    let mut highest = 0;
    for pair in [0].iter().chain(numbers).collect::<Vec<_>>().windows(2) {
        let (before, number) = (*pair[0], *pair[1]);
        assert!(number <= highest + 1, "{} is missing before {number}", highest + 1);
        assert!(number == before + 1 || number <= highest, "{number} after {before}");
        highest = highest.max(number);
    }
    assert_eq!(highest, last);
    let repeated = numbers.len() - usize::try_from(last).unwrap();
    assert!(repeated <= repeats, "{repeated} came again, and {repeats} may");
}
