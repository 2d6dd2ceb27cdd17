//! An outage of PostgreSQL that lasts longer than the broker waits for acknowledgements costs each message at most one
//! redelivery, however long it lasts.

use std::{fs, time::Duration};

use anyhow::Result;
use testbed::RabbitMqOptions;
use tokio::time::{Instant, sleep_until};

use crate::support::{Bed, Scene, event};

/// How long the broker waits for an acknowledgement; by default it is 30 minutes.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long PostgreSQL is away: long enough to be over the delivery limit if each timeout cost a delivery.
const OUTAGE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_consumer_timeout_each_message_comes_again_at_most_once() -> Result<()> {
    // The broker looks for overdue acknowledgements at each tick of a channel, once a minute by default.
    let options = RabbitMqOptions::default()
        .conf(format!("consumer_timeout = {}", CONSUMER_TIMEOUT.as_millis()))
        .advanced("[{rabbit, [{channel_tick_interval, 1000}]}].");
    let bed = Bed::with(options).await?;
    let scene = Scene::set(&bed)
        .await?
        .with("rabbitmq.consumer_timeout", humantime::format_duration(CONSUMER_TIMEOUT).to_string())
        .with("rabbitmq.delivery_limit", "3")
        .with("postgres.statement_timeout", "3s")
        .with("postgres.connect_timeout", "2s");
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..1_200).map(event).collect();
    scene.publish(&messages[..200]).await?;
    scene.stored(200).await?;

    bed.postgres.stop().await?;
    let over = Instant::now() + OUTAGE;
    scene.publish(&messages[200..1_000]).await?;
    // The daemon has some in hand, and gives them back before the broker loses its patience.
    daemon.says("PostgreSQL cannot store", 1).await?;
    scene.waits(&scene.queue(), 800).await?;
    scene.publish(&messages[1_000..]).await?;
    // No state is awaited: this is how long the outage lasts.
    sleep_until(over).await;
    // Nobody has asked for any again, nor has the broker thrown anybody out.
    assert_eq!(scene.ready(&scene.queue()).await?, 1_000);
    assert_eq!(daemon.said("\"consuming\""), 1, "{:#?}", daemon.log());
    let broker_log = fs::read_to_string(bed.rabbitmq.log_file())?;
    let overdue = broker_log.lines().find(|line| line.contains("has timed out"));
    assert_eq!(overdue, None);

    bed.postgres.start_again().await?;
    scene.ends_with(&daemon, &messages).await?;
    scene.waits(&scene.dead_letter_queue(), 0).await?;
    assert_eq!(scene.number("select count(*) from audit.rejections").await?, 0);
    // Those that were in hand have come again, once; those that waited in the queue for the first time.
    let again = scene.number("select count(*) from audit.events where redelivered").await?;
    assert!((1..=800).contains(&again), "{again} came again");
    let oftener = "select count(*) from audit.events where (properties->'headers'->>'x-delivery-count')::int > 1";
    assert_eq!(scene.number(oftener).await?, 0);
    Ok(())
}
