//! The topology: declared, or verified with no permission to configure; and what a clash says.

use amqprs::channel::{ExchangeDeclareArguments, QueueDeclareArguments};
use anyhow::Result;
use uuid::Uuid;

use crate::support::{Bed, Scene, event};

/// Starts a daemon on what is there, and expects that it ends at once and says all this, once.
async fn clashes(scene: &Scene, said: &[&str]) -> Result<()> {
    let daemon = scene.starts()?;
    assert_eq!(daemon.ends().await?, 78);
    let log = daemon.log().join("\n");
    for part in said {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert_eq!(daemon.said("inequivalent"), 1, "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_as_configured_is_named_and_not_retried() -> Result<()> {
    let bed = Bed::shared().await?;

    let scene = Scene::set(bed).await?.with("rabbitmq.queue_type", "classic");
    scene.daemon().await?.stops_cleanly().await?;
    let changed = scene.with("rabbitmq.queue_type", "quorum");
    clashes(
        &changed,
        &["'x-queue-type'", "current is 'classic'", "rabbitmq.queue_type", "rabbitmq.declare"],
    )
    .await?;

    let scene = Scene::set(bed).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let changed = scene.with("rabbitmq.delivery_limit", "7");
    clashes(&changed, &["'x-delivery-limit'", "current is '20'", "rabbitmq.delivery_limit"])
        .await?;

    let scene = Scene::set(bed).await?;
    let (connection, channel) = scene.client().await?;
    channel.queue_declare(QueueDeclareArguments::durable_client_named(&scene.queue())).await?;
    connection.close().await?;
    clashes(&scene, &["'x-dead-letter-exchange'", "current is none", "name another queue"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_no_durable_topic_is_named() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let (connection, channel) = scene.client().await?;
    channel
        .exchange_declare(
            ExchangeDeclareArguments::new(&scene.exchange(), "direct").durable(true).finish(),
        )
        .await?;
    connection.close().await?;
    clashes(&scene, &["inequivalent arg 'type'", "current is 'direct'"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn classic_queues_work_too() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("rabbitmq.queue_type", "classic");
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..50).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_bound_is_recorded() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("rabbitmq.bindings", r#"["wanted.#", "also.*.wanted"]"#);
    let daemon = scene.daemon().await?;
    let with_key = |number: usize, key: &str| {
        let mut message = event(number);
        message.routing_key = key.to_owned();
        message
    };
    let all = [with_key(0, "wanted.a.b"), with_key(1, "unwanted.a"), with_key(2, "also.x.wanted")];
    scene.publish(&all).await?;
    scene.stored_exactly(&[all[0].clone(), all[2].clone()]).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_needs_no_permission_to_configure_and_names_what_is_missing() -> Result<()> {
    let bed = Bed::shared().await?;
    // Declared by somebody who may.
    let scene = Scene::set(bed).await?;
    let creator = scene.daemon().await?;
    creator.stops_cleanly().await?;

    let user = format!("u{}", Uuid::new_v4().simple());
    bed.rabbitmq.ctl(&["add_user", &user, "pass/word"]).await?;
    let pattern = format!("^{}", scene.name);
    bed.rabbitmq.ctl(&["set_permissions", "-p", "/", &user, "^$", &pattern, &pattern]).await?;
    let url = format!("amqp://{user}:pass%2fword@127.0.0.1:{}/%2f", bed.rabbitmq.port());

    let restricted = scene.through(Some(url), None);
    let daemon = restricted.starts()?;
    daemon.says("the broker cannot be used", 1).await?;
    let log = daemon.log().join("\n");
    assert!(
        log.contains("403") && log.contains("ACCESS_REFUSED") && log.contains("rabbitmq.declare"),
        "{log}"
    );
    daemon.stops_cleanly().await?;

    let verifying = restricted.with("rabbitmq.declare", "verify");
    let daemon = verifying.daemon().await?;
    let messages: Vec<_> = (0..5).map(event).collect();
    verifying.publish(&messages).await?;
    verifying.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await?;

    let lost = verifying.with("rabbitmq.queue", "nobody.declared.this");
    let daemon = lost.starts()?;
    daemon.says("nobody.declared.this", 1).await?;
    daemon.stops_cleanly().await
}
