//! A stop finds the daemon in whatever state: it ends within the grace period with status 0, or at its end with 75, and
//! a second signal ends it at once; afterwards another daemon stores everything, once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use sqlx::Connection as _;
use testbed::{
    Proxy, eventually,
    proxy::{Direction, Mode},
};
use tokio::time::timeout;

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

fn events(count: usize) -> Vec<Message> {
    (0..count).map(event).collect()
}

/// Awaits the end, for no longer than the grace period and some time to spare.
async fn ends_within(daemon: &Daemon, grace: Duration) -> Result<i32> {
    let spare = Duration::from_secs(10);
    timeout(grace + spare, daemon.ends())
        .await
        .with_context(|| format!("it hangs: {:#?}", daemon.log()))?
}

/// Signals twice, awaits the second's effect.
async fn ends_at_once(daemon: &Daemon) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    daemon.says("stopping: intake ends", 1).await?;
    daemon.signal(Signal::SIGTERM)?;
    let code = ends_within(daemon, Duration::ZERO).await?;
    ensure!(code == 75, "{code}: {:#?}", daemon.log());
    Ok(())
}

/// Another daemon stores what is left.
async fn nothing_is_lost(scene: &Scene, messages: &[Message]) -> Result<()> {
    let next = scene.daemon().await?;
    scene.ends_with(&next, messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_silent() -> Result<()> {
    let bed = Bed::shared().await?;
    for (mode, grace) in
        [(Mode::Stall, "1s"), (Mode::StallTowards(Direction::ToClient), "1s"), (Mode::Stall, "10m")]
    {
        let proxy = Proxy::start(bed.postgres.port()).await?;
        let scene = Scene::set(bed).await?.with("shutdown.grace", grace);
        let through = Some(bed.postgres.url_at(proxy.port(), &scene.name));
        let daemon = scene.clone().through(None, through).daemon().await?;
        let mut messages = scene.opens_the_window(&daemon).await?;
        proxy.set(mode).await;
        let sent = proxy.statistics().to_server;
        messages.extend(events(20));
        scene.publish(&messages[10..]).await?;
        // Handed out: a statement is under way, or waits in the proxy.
        scene.waits(&scene.queue(), 0).await?;
        if mode != Mode::Stall {
            eventually("a statement is sent", PATIENCE, async || {
                let now = proxy.statistics().to_server;
                if now > sent { Ok(()) } else { Err(now) }
            })
            .await?;
        }
        if grace == "10m" {
            ends_at_once(&daemon).await?;
        } else {
            daemon.signal(Signal::SIGTERM)?;
            assert_eq!(ends_within(&daemon, Duration::from_secs(1)).await?, 75);
        }
        // What the silent connection still holds up is let through.
        proxy.set(Mode::Forward).await;
        nothing_is_lost(&scene, &messages).await.with_context(|| format!("{mode:?} {grace}"))?;
    }
    Ok(())
}

/// The prefetch is used up and every stage is full: the daemon still hears the signal, and finishes where it can.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_pipeline() -> Result<()> {
    let bed = Bed::own().await?;
    for comes_back in [true, false] {
        let grace = if comes_back { "10m" } else { "1s" };
        let scene = Scene::set(&bed)
            .await?
            .with("ingest.prefetch", "50")
            .with("ingest.batch_events", "5")
            .with("shutdown.grace", grace);
        let daemon = scene.daemon().await?;
        let mut messages = scene.opens_the_window(&daemon).await?;
        bed.postgres.stop().await?;
        messages.extend(events(200));
        scene.publish(&messages[10..]).await?;
        scene.waits(&scene.queue(), 150).await?;
        daemon.says("PostgreSQL cannot store", 2).await?;
        daemon.signal(Signal::SIGTERM)?;
        daemon.says("stopping: intake ends", 1).await?;
        if comes_back {
            // Nobody asks for more from here on, although what is in hand cannot be stored yet.
            eventually("the consumer is cancelled", PATIENCE, async || {
                let found = bed.rabbitmq.ctl(&["list_consumers", "queue_name"]).await;
                let found = found.map_err(|error| format!("{error:#}"))?;
                if found.lines().any(|line| line == scene.queue()) { Err(found) } else { Ok(()) }
            })
            .await?;
            bed.postgres.start_again().await?;
            assert_eq!(ends_within(&daemon, Duration::from_secs(10)).await?, 0);
            scene.stored(60).await?;
            scene.waits(&scene.queue(), 150).await?;
        } else {
            assert_eq!(ends_within(&daemon, Duration::from_secs(1)).await?, 75);
            bed.postgres.start_again().await?;
            scene.waits(&scene.queue(), 200).await?;
        }
        nothing_is_lost(&scene, &messages).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_migration_waits_for_a_lock() -> Result<()> {
    let bed = Bed::shared().await?;
    // Somebody else is making the schema; or it is there, and somebody holds what says how far it is.
    for (there, takes_the_lock) in [
        (false, "create schema audit"),
        (true, "lock table audit.schema_migrations in access exclusive mode"),
    ] {
        let scene = Scene::set(bed).await?;
        let mut messages = Vec::new();
        if there {
            scene.daemon().await?.stops_cleanly().await?;
            messages = events(10);
            scene.publish(&messages).await?;
        }
        let mut sql = scene.sql().await?;
        let mut lock = sql.begin().await?;
        sqlx::raw_sql(takes_the_lock).execute(&mut *lock).await?;
        let daemon = scene.starts()?;
        waits_for_a_lock(&scene).await?;
        daemon.signal(Signal::SIGTERM)?;
        assert_eq!(ends_within(&daemon, Duration::ZERO).await?, 0, "{:#?}", daemon.log());
        assert_eq!(daemon.said("retry_in"), 0, "{:#?}", daemon.log());
        lock.rollback().await?;
        nothing_is_lost(&scene, &messages).await?;
    }
    Ok(())
}

/// Awaits that the daemon's connection waits for a lock.
async fn waits_for_a_lock(scene: &Scene) -> Result<()> {
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                    and datname = current_database() and application_name = 'bloodbank-audit'";
    scene.counts_at_least(1, waits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_partition_waits_for_a_lock() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let messages = events(10);
    scene.publish(&messages).await?;
    let mut sql = scene.sql().await?;
    // As if it had been off for weeks: not even the present partition is there.
    sqlx::raw_sql(
        "do $$ declare name text; begin
             for name in delete from audit.partitions returning partitions.name loop
                 execute format('drop table audit.%I', name);
             end loop;
         end $$",
    )
    .execute(&mut sql)
    .await?;
    let mut lock = sql.begin().await?;
    sqlx::raw_sql("lock table audit.events in share update exclusive mode")
        .execute(&mut *lock)
        .await?;
    let daemon = scene.starts()?;
    waits_for_a_lock(&scene).await?;
    daemon.signal(Signal::SIGTERM)?;
    assert_eq!(ends_within(&daemon, Duration::ZERO).await?, 0, "{:#?}", daemon.log());
    lock.rollback().await?;
    nothing_is_lost(&scene, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_silent() -> Result<()> {
    let bed = Bed::shared().await?;
    for mode in [
        Mode::Stall,
        Mode::StallTowards(Direction::ToServer),
        Mode::StallTowards(Direction::ToClient),
    ] {
        // Shorter than it takes to notice the silence, and longer.
        for (grace, seconds) in [("1s", 1), ("1m", 60), ("10m", 0)] {
            let proxy = Proxy::start(bed.rabbitmq.port()).await?;
            let scene = Scene::set(bed)
                .await?
                .with("rabbitmq.heartbeat", "2s")
                .with("shutdown.grace", grace);
            let through = Some(bed.rabbitmq.amqp_url_at(proxy.port()));
            let daemon = scene.clone().through(through, None).daemon().await?;
            // Of what was stored nobody knows whether the broker heard of it.
            let messages = events(if grace == "1m" { 0 } else { 20 });
            scene.publish(&messages).await?;
            scene.stored_exactly(&messages).await?;
            proxy.set(mode).await;
            if grace == "10m" {
                ends_at_once(&daemon).await?;
            } else {
                daemon.signal(Signal::SIGTERM)?;
                let code = ends_within(&daemon, Duration::from_secs(seconds)).await?;
                // The silence ends the session, with nothing in hand; or the grace period ends the stop.
                let wanted = if grace == "1m" { 0 } else { 75 };
                assert_eq!(code, wanted, "{mode:?} {grace}: {:#?}", daemon.log());
            }
            proxy.set(Mode::Forward).await;
            proxy.cut().await;
            nothing_is_lost(&scene, &messages)
                .await
                .with_context(|| format!("{mode:?} {grace}"))?;
        }
    }
    Ok(())
}

/// What is in hand cannot be stored, and then not be acknowledged either.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_session_with_the_broker_is_lost() -> Result<()> {
    let bed = Bed::shared().await?;
    let (broker, database) =
        (Proxy::start(bed.rabbitmq.port()).await?, Proxy::start(bed.postgres.port()).await?);
    let scene = Scene::set(bed).await?.with("shutdown.grace", "10m");
    let proxied = scene.clone().through(
        Some(bed.rabbitmq.amqp_url_at(broker.port())),
        Some(bed.postgres.url_at(database.port(), &scene.name)),
    );
    let daemon = proxied.daemon().await?;
    database.set(Mode::Refuse).await;
    database.cut().await;
    let messages = events(20);
    scene.publish(&messages).await?;
    daemon.says("PostgreSQL cannot store", 1).await?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.says("stopping: intake ends", 1).await?;
    broker.cut().await;
    assert_eq!(ends_within(&daemon, Duration::ZERO).await?, 75, "{:#?}", daemon.log());
    daemon.says("the session with the broker ended during the stop", 1).await?;
    database.set(Mode::Forward).await;
    nothing_is_lost(&scene, &messages).await
}

/// Between two sessions it waits until events can be stored.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_waits_for_postgres_before_it_asks_the_broker() -> Result<()> {
    let bed = Bed::shared().await?;
    let (broker, database) =
        (Proxy::start(bed.rabbitmq.port()).await?, Proxy::start(bed.postgres.port()).await?);
    // Refused, it waits between attempts; silent, within one.
    for mode in [Mode::Refuse, Mode::Stall] {
        let scene = Scene::set(bed).await?;
        let proxied = scene.clone().through(
            Some(bed.rabbitmq.amqp_url_at(broker.port())),
            Some(bed.postgres.url_at(database.port(), &scene.name)),
        );
        let daemon = proxied.with("postgres.connect_timeout", "1s").daemon().await?;
        database.set(mode).await;
        database.cut().await;
        let messages = events(20);
        scene.publish(&messages).await?;
        daemon.says("PostgreSQL cannot store", 1).await?;
        broker.cut().await;
        daemon.says("PostgreSQL cannot be used", 2).await?;
        daemon.signal(Signal::SIGTERM)?;
        assert_eq!(ends_within(&daemon, Duration::ZERO).await?, 0, "{:#?}", daemon.log());
        database.set(Mode::Forward).await;
        scene.waits(&scene.queue(), 20).await?;
        nothing_is_lost(&scene, &messages).await?;
    }
    Ok(())
}

/// Deliveries go back before the grace period is over, where `rabbitmq.consumer_timeout` is short.
#[tokio::test(flavor = "multi_thread")]
async fn while_deliveries_are_held_for_too_long() -> Result<()> {
    let bed = Bed::own().await?;
    let database = Proxy::start(bed.postgres.port()).await?;
    let scene = Scene::set(&bed)
        .await?
        .with("rabbitmq.consumer_timeout", "6s")
        .with("postgres.statement_timeout", "1s")
        .with("postgres.connect_timeout", "1s");
    let proxied = bed.postgres.url_at(database.port(), &scene.name);
    let scene = scene.through(None, Some(proxied));
    let daemon = scene.daemon().await?;
    database.set(Mode::Refuse).await;
    database.cut().await;
    scene.publish(&[event(1)]).await?;
    daemon.says("PostgreSQL cannot store", 1).await?;
    daemon.signal(Signal::SIGTERM)?;
    assert_eq!(daemon.ends().await?, 75, "{:#?}", daemon.log());
    scene.waits(&scene.queue(), 1).await
}
