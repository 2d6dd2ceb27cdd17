//! The bus's own infrastructure checks, with the daemon in place.

use std::time::{Duration, Instant};

use amqprs::channel::{
    BasicConsumeArguments, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use anyhow::{Context as _, Result};
use tokio::time::timeout;

use crate::support::{Bed, PATIENCE, Scene, event};

#[tokio::test(flavor = "multi_thread")]
async fn connects_within_ten_seconds() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.starts()?;
    timeout(Duration::from_secs(10), daemon.consumes(1))
        .await
        .context("not consuming after 10 s")??;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_is_a_durable_topic() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    // The broker refuses to declare it again as anything else.
    for (kind, durable, accepted) in
        [("topic", true, true), ("topic", false, false), ("fanout", true, false)]
    {
        let (_connection, channel) = scene.client().await?;
        let again =
            ExchangeDeclareArguments::new(&scene.exchange(), kind).durable(durable).finish();
        assert_eq!(channel.exchange_declare(again).await.is_ok(), accepted, "{kind} {durable}");
    }
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishers_event_arrives_and_a_consumer_beside_the_daemon_gets_it_too() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let (connection, channel) = scene.client().await?;
    let (queue, ..) = channel
        .queue_declare(QueueDeclareArguments::exclusive_server_named())
        .await?
        .context("no queue name")?;
    channel.queue_bind(QueueBindArguments::new(&queue, &scene.exchange(), "#")).await?;
    let (_tag, mut messages) =
        channel.basic_consume_rx(BasicConsumeArguments::new(&queue, "beside")).await?;

    let published = [event(1)];
    scene.publish(&published).await?;
    let beside =
        timeout(PATIENCE, messages.recv()).await?.context("the consumer beside got nothing")?;
    assert_eq!(beside.content.as_deref(), Some(published[0].body.as_slice()));
    scene.stored_exactly(&published).await?;
    connection.close().await?;
    daemon.stops_cleanly().await
}

/// The bus's own check bounds this average; it is far from what this project aims at.
#[tokio::test(flavor = "multi_thread")]
async fn the_average_latency_is_under_a_tenth_of_a_second() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let publisher = scene.publisher().await?;
    let mut sql = scene.sql().await?;
    let mut total = Duration::ZERO;
    let rounds = 50;
    for round in 0..rounds {
        let published = Instant::now();
        scene.publish_with(&publisher, &[event(round)]).await?;
        let wanted = i64::try_from(round)? + 1;
        loop {
            let (found,): (i64,) =
                sqlx::query_as("select count(*) from audit.events").fetch_one(&mut sql).await?;
            if found == wanted {
                break;
            }
            assert!(published.elapsed() < PATIENCE, "event {round} is not stored");
        }
        total += published.elapsed();
    }
    let average = total / u32::try_from(rounds)?;
    assert!(average < Duration::from_millis(100), "{average:?}");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn recovers_after_a_disconnect() -> Result<()> {
    let bed = Bed::shared().await?;
    let proxy = testbed::Proxy::start(bed.rabbitmq.port()).await?;
    let scene = Scene::set(bed).await?.through(Some(bed.rabbitmq.amqp_url_at(proxy.port())), None);
    let daemon = scene.daemon().await?;
    let before = [event(1)];
    scene.publish(&before).await?;
    scene.stored(1).await?;
    proxy.cut().await;
    daemon.consumes(2).await?;
    let after = [event(2)];
    scene.publish(&after).await?;
    scene.stored_exactly(&[before, after].concat()).await?;
    daemon.stops_cleanly().await
}
