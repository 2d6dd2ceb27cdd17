//! A stop is clean: intake ends, what is in hand commits and is acknowledged, and the exit status says so.

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::support::{Bed, Scene, event};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_acknowledges_exactly_what_is_stored() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..5_000).map(event).collect();
    scene.publish(&messages[..1_000]).await?;

    let publisher = scene.publisher().await?;
    let (published, stopped) =
        tokio::join!(scene.publish_with(&publisher, &messages[1_000..]), async {
            scene.counts_at_least(1, "select count(*) from audit.events").await?;
            daemon.stops_cleanly().await
        });
    published?;
    stopped?;

    // What was acknowledged is not in the queue, what was not is: together exactly what was published.
    let stored = scene.bodies().await?.len();
    let waits = scene.waits(&scene.queue(), messages.len() - stored).await;
    waits.with_context(|| format!("{stored} stored; {:#?}", daemon.log()))?;

    let next = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    assert_eq!(
        scene.number("select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?,
        0
    );
    next.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_stops_an_idle_daemon() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    daemon.signal(Signal::SIGINT)?;
    assert_eq!(daemon.ends().await?, 0);
    assert_eq!(daemon.said("\"stopped\""), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_connecting_is_clean() -> Result<()> {
    let nowhere = testbed::Port::free()?;
    let amqp = format!("amqp://127.0.0.1:{}/", nowhere.number());
    let scene = Scene::set(Bed::shared().await?).await?.through(Some(amqp), None);
    let daemon = scene.starts()?;
    daemon.says("the broker cannot be used", 2).await?;
    daemon.stops_cleanly().await?;

    let database = format!("postgres://postgres@127.0.0.1:{}/x", nowhere.number());
    let scene = Scene::set(Bed::shared().await?).await?.through(None, Some(database));
    let daemon = scene.starts()?;
    daemon.says("PostgreSQL cannot be used", 2).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_the_broker_keeps_what_was_not_stored() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?.with("shutdown.grace", "10m");
    let daemon = scene.daemon().await?;
    bed.postgres.stop().await?;
    let messages: Vec<_> = (0..10).map(event).collect();
    scene.publish(&messages).await?;
    daemon.says("PostgreSQL cannot store", 1).await?;

    daemon.signal(Signal::SIGTERM)?;
    daemon.says("stopping: intake ends", 1).await?;
    daemon.signal(Signal::SIGTERM)?;
    assert_eq!(daemon.ends().await?, 75);

    bed.postgres.start_again().await?;
    let next = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    next.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_period_ends_a_stop_that_cannot_finish() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?.with("shutdown.grace", "500ms");
    let daemon = scene.daemon().await?;
    bed.postgres.stop().await?;
    scene.publish(&[event(0)]).await?;
    daemon.says("PostgreSQL cannot store", 1).await?;
    daemon.signal(Signal::SIGTERM)?;
    assert_eq!(daemon.ends().await?, 75);
    scene.waits(&scene.queue(), 1).await
}
