//! The broker changes under a daemon that consumes: it notices within a heartbeat, says why, and goes on or says what
//! to do; afterwards events are stored exactly.

use amqprs::channel::{
    ExchangeDeclareArguments, ExchangeDeleteArguments, QueueBindArguments, QueueDeleteArguments,
    QueueUnbindArguments,
};
use anyhow::Result;
use testbed::{Proxy, eventually};

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

/// A daemon that looks at the broker every two seconds.
async fn scene(bed: &Bed) -> Result<Scene> {
    Ok(Scene::set(bed).await?.with("rabbitmq.heartbeat", "2s"))
}

/// The same scene for a daemon that logs in as somebody else.
fn as_user(scene: &Scene, bed: &Bed, user: &str, password: &str) -> Scene {
    let port = bed.rabbitmq.port();
    scene.clone().through(Some(format!("amqp://{user}:{password}@127.0.0.1:{port}/%2f")), None)
}

/// Awaits that the exchange is bound to the queue.
async fn bound(scene: &Scene, bed: &Bed) -> Result<()> {
    let wanted = format!("{}\t{}", scene.exchange(), scene.queue());
    eventually("the queue is bound", PATIENCE, async || {
        let all = ["list_bindings", "source_name", "destination_name"];
        let found = bed.rabbitmq.ctl(&all).await.map_err(|error| format!("{error:#}"))?;
        if found.lines().any(|line| line == wanted) { Ok(()) } else { Err(found) }
    })
    .await
}

fn events(count: usize) -> Vec<Message> {
    (0..count).map(event).collect()
}

/// Expects that a line of the log holds all of this.
fn line_with(daemon: &Daemon, parts: &[&str]) {
    let log = daemon.log();
    assert!(
        log.iter().any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {log:#?}"
    );
}

/// Publishes, disturbs, awaits the daemon's word and its recovery, publishes again: both are stored exactly.
async fn recovers(
    scene: &Scene,
    daemon: &Daemon,
    disturb: impl AsyncFnOnce() -> Result<()>,
    said: &[&str],
) -> Result<()> {
    let mut messages = events(20);
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    scene.waits(&scene.queue(), 0).await?;
    disturb().await?;
    daemon.says("the session with the broker ended", 1).await?;
    line_with(daemon, &[&["the session with the broker ended"], said].concat());
    daemon.consumes(2).await?;
    let after = events(20);
    scene.publish(&after).await?;
    messages.extend(after);
    scene.ends_with(daemon, &messages).await?;
    assert_eq!(daemon.said("the session with the broker ended"), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_deleted() -> Result<()> {
    for kind in ["quorum", "classic"] {
        let scene = scene(Bed::shared().await?).await?.with("rabbitmq.queue_type", kind);
        let daemon = scene.daemon().await?;
        let delete = async || {
            let (connection, channel) = scene.client().await?;
            channel.queue_delete(QueueDeleteArguments::new(&scene.queue())).await?;
            Ok(connection.close().await?)
        };
        recovers(&scene, &daemon, delete, &["cancelled the consumer", "queue was deleted"]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_closes_the_connection() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    let daemon = scene.daemon().await?;
    let close = async || {
        bed.rabbitmq.ctl(&["close_all_connections", "maintenance at noon"]).await.map(drop)
    };
    recovers(&scene, &daemon, close, &["320", "CONNECTION_FORCED", "maintenance at noon"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_closes_the_channel() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    let daemon = scene.daemon().await?;
    // As if the daemon had acknowledged what it was never given: the broker's own way to close a channel.
    let close = async || {
        let term = "[gen_server2:cast(Channel, {method, {'basic.ack', 999999, false}, none, noflow}) \
                    || Channel <- rabbit_channel:list()].";
        bed.rabbitmq.ctl(&["eval", term]).await.map(drop)
    };
    recovers(&scene, &daemon, close, &["closed the channel", "406", "unknown delivery tag"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_restarts() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    let daemon = scene.daemon().await?;
    let restart = async || bed.rabbitmq.restart().await;
    recovers(&scene, &daemon, restart, &["320", "CONNECTION_FORCED"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_changes_and_the_user_is_deleted() -> Result<()> {
    let bed = Bed::own().await?;
    let ctl = async |arguments: &[&str]| bed.rabbitmq.ctl(arguments).await.map(drop);
    ctl(&["add_user", "auditor", "first"]).await?;
    ctl(&["set_permissions", "auditor", ".*", ".*", ".*"]).await?;
    let scene = scene(&bed).await?;
    let daemon = as_user(&scene, &bed, "auditor", "first").daemon().await?;

    // A changed password ends nothing; what is open goes on.
    ctl(&["change_password", "auditor", "second"]).await?;
    let mut messages = events(10);
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    ctl(&["close_all_connections", "new password"]).await?;
    daemon.says("the broker cannot be used", 1).await?;
    line_with(&daemon, &["the session with the broker ended", "new password"]);
    line_with(&daemon, &["the broker cannot be used", "wrong user name or password"]);
    messages.extend(events(10));
    scene.publish(&messages[10..]).await?;
    ctl(&["change_password", "auditor", "first"]).await?;
    daemon.consumes(2).await?;
    scene.stored_exactly(&messages).await?;

    // A deleted user's connections are closed.
    ctl(&["delete_user", "auditor"]).await?;
    daemon.says("the session with the broker ended", 2).await?;
    line_with(&daemon, &["the session with the broker ended", "320", "auditor", "deleted"]);
    messages.extend(events(10));
    scene.publish(&messages[20..]).await?;
    ctl(&["add_user", "auditor", "first"]).await?;
    ctl(&["set_permissions", "auditor", ".*", ".*", ".*"]).await?;
    daemon.consumes(3).await?;
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_revoked() -> Result<()> {
    let bed = Bed::own().await?;
    let ctl = async |arguments: &[&str]| bed.rabbitmq.ctl(arguments).await.map(drop);
    ctl(&["add_user", "auditor", "word"]).await?;
    ctl(&["set_permissions", "auditor", ".*", ".*", ".*"]).await?;
    let scene = scene(&bed).await?;
    let daemon = as_user(&scene, &bed, "auditor", "word").daemon().await?;
    let mut messages = events(20);
    scene.publish(&messages[..10]).await?;
    // To take more at a time it needs its permission once more.
    daemon.says("taking as many deliveries at a time as configured", 1).await?;
    ctl(&["set_permissions", "auditor", "^$", "^$", "^$"]).await?;
    daemon.says("refuses what a new session would need", 1).await?;
    line_with(&daemon, &["refuses what a new session would need", "403", "grant the user"]);
    // What consumes goes on.
    scene.publish(&messages[10..]).await?;
    scene.stored_exactly(&messages).await?;

    ctl(&["close_all_connections", "now it counts"]).await?;
    daemon.says("the broker cannot be used", 2).await?;
    line_with(&daemon, &["the broker cannot be used", "403", "grant the user"]);
    messages.extend(events(10));
    scene.publish(&messages[20..]).await?;
    ctl(&["set_permissions", "auditor", ".*", ".*", ".*"]).await?;
    daemon.consumes(2).await?;
    scene.stored_exactly(&messages).await?;

    // Revoked and granted again without anybody closing anything.
    ctl(&["set_permissions", "auditor", "^$", "^$", "^$"]).await?;
    daemon.says("refuses what a new session would need", 2).await?;
    ctl(&["set_permissions", "auditor", ".*", ".*", ".*"]).await?;
    daemon.says("is there again", 1).await?;
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(daemon.said("refuses what a new session would need"), 2, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exchange_is_deleted_and_comes_back_bound() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = scene(bed).await?;
    let daemon = scene.daemon().await?;
    let mut messages = events(10);
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    let (connection, channel) = scene.client().await?;
    for round in 1..=2 {
        channel.exchange_delete(ExchangeDeleteArguments::new(&scene.exchange())).await?;
        daemon.says("is there again, and the queue is bound", round).await?;
        assert_eq!(daemon.said("is missing on the broker"), round, "{:#?}", daemon.log());
        let after = events(10);
        scene.publish(&after).await?;
        messages.extend(after);
        scene.stored_exactly(&messages).await?;
    }
    line_with(&daemon, &["is missing on the broker", &scene.exchange(), "since", "not routed"]);

    // Somebody else's client is quicker and declares it; the binding is made within a heartbeat.
    channel.exchange_delete(ExchangeDeleteArguments::new(&scene.exchange())).await?;
    let again = ExchangeDeclareArguments::new(&scene.exchange(), "topic").durable(true).finish();
    channel.exchange_declare(again).await?;
    bound(&scene, bed).await?;
    let after = events(10);
    scene.publish(&after).await?;
    messages.extend(after);
    connection.close().await?;
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(daemon.said("\"consuming\""), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binding_is_removed_and_made_again() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = scene(bed).await?;
    let daemon = scene.daemon().await?;
    let (connection, channel) = scene.client().await?;
    let unbind = QueueUnbindArguments::new(&scene.queue(), &scene.exchange(), "#");
    channel.queue_unbind(unbind).await?;
    bound(&scene, bed).await?;
    connection.close().await?;
    let messages = events(10);
    scene.publish(&messages).await?;
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_only_verified_is_missed_once_and_welcomed_back() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = scene(bed).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let proxy = Proxy::start(bed.rabbitmq.port()).await?;
    let through = Some(bed.rabbitmq.amqp_url_at(proxy.port()));
    let verifying = scene.clone().through(through, None).with("rabbitmq.declare", "verify");
    let daemon = verifying.daemon().await?;
    let (connection, channel) = scene.client().await?;
    channel.exchange_delete(ExchangeDeleteArguments::new(&scene.exchange())).await?;
    daemon.says("is missing on the broker", 1).await?;
    line_with(&daemon, &["is missing on the broker", &scene.exchange(), "since", "not routed"]);
    // It says so once, in however many looks; each of those has a connection of its own, beside the session's and the one
    // that listens for alarms.
    let looks = || proxy.statistics().accepted - 2;
    eventually("two more looks", PATIENCE, async || match looks() {
        2.. => Ok(()),
        fewer => Err(fewer),
    })
    .await?;
    let again = ExchangeDeclareArguments::new(&scene.exchange(), "topic").durable(true).finish();
    channel.exchange_declare(again).await?;
    channel.queue_bind(QueueBindArguments::new(&scene.queue(), &scene.exchange(), "#")).await?;
    daemon.says("AMQP does not tell whether the queue is bound: see to it", 1).await?;
    connection.close().await?;
    let messages = events(10);
    scene.publish(&messages).await?;
    scene.ends_with(&daemon, &messages).await?;
    for once in ["is missing on the broker", "is there again", "\"consuming\""] {
        assert_eq!(daemon.said(once), 1, "{once} in {:#?}", daemon.log());
    }
    Ok(())
}
