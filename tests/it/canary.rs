//! The canary: it comes back as a row, and where it does not the daemon says where it ended.

use amqprs::channel::QueueUnbindArguments;
use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::event::{Canary, Envelope, FieldValue, Preset, now};
use serde_json::Value;
use testbed::eventually;
use uuid::Uuid;

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

const CANARIES: &str = "select count(*) from audit.events e where audit.is_canary(e)";

async fn status(daemon: &Daemon) -> Result<Value> {
    let address = daemon.serves_at().await?;
    crate::watched_over::status(address).await
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_come_back_and_are_shown_where_asked_for() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("canary.every", "1s")
        .with("http.listen", "127.0.0.1:0");
    let daemon = scene.daemon().await?;
    scene.counts_at_least(2, CANARIES).await?;
    let message = event(0);
    scene.publish(std::slice::from_ref(&message)).await?;
    let others = "select count(*) from audit.events e where not audit.is_canary(e)";
    scene.counts(1, others).await?;

    let seen = status(&daemon).await?;
    let took = seen.pointer("/canary/took_seconds").and_then(Value::as_f64).context("no time")?;
    ensure!(took > 0.0 && took < PATIENCE.as_secs_f64(), "{seen}");
    ensure!(seen.pointer("/canary/missing") == Some(&Value::Null), "{seen}");

    let without = scene.asks(&["events", "--format", "ndjson"])?;
    ensure!(without.lines().len() == 1, "{}", without.text());
    let with = scene.asks(&[
        "events",
        "--canaries",
        "--format",
        "json",
        "--columns",
        "id,event_type,routing_key",
    ])?;
    let shown = with.json()?;
    let shown: Vec<_> = shown
        .as_array()
        .context("no list")?
        .iter()
        .filter(|e| e["event_type"] == "audit.canary")
        .collect();
    ensure!(
        shown.len() >= 2 && shown.iter().all(|e| e["routing_key"] == "audit.canary"),
        "{shown:?}"
    );
    // Who asks for it by its id means it.
    let id = shown[0]["id"].as_str().context("an id")?;
    ensure!(scene.asks(&["events", "--id", id, "--count"])?.text().trim() == "1");
    let dry = scene.asks(&[
        "replay",
        "--since",
        "1h",
        "--to-queue",
        &scene.dead_letter_queue(),
        "--dry-run",
    ])?;
    ensure!(dry.text().contains("1 event"), "{}", dry.text());
    daemon.stops_cleanly().await
}

/// Nobody can hide an event by making it look like a canary.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_canary_is_shown() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let looks = |id: Uuid, word: &str| {
        let body = format!(r#"{{"event_id":"{id}","event_type":"audit.canary","word":"{word}"}}"#);
        Message::new("audit.canary", body)
    };
    // An id that no daemon marked, and one that was marked with another body.
    let (unmarked, marked) =
        ("63616e61-7279-8aaa-8aaa-aaaaaaaaaaaa", "63616e61-7279-8bbb-8bbb-bbbbbbbbbbbb");
    let mut sql = scene.sql().await?;
    sqlx::query("select audit.send_canary($1::uuid, 'another', $2, 'audit.canary', '{}', '\\x00')")
        .bind(marked)
        .bind(scene.exchange())
        .execute(&mut sql)
        .await?;
    // And the very body of one, under another key, and with a header.
    let real =
        Canary::new(&Envelope::preset(Preset::Bloodbank), "another", now()).context("a canary")?;
    sqlx::query("select audit.send_canary($1, 'another', $2, 'audit.canary', $3::jsonb, $4)")
        .bind(real.id)
        .bind(scene.exchange())
        .bind(real.properties_json())
        .bind(real.digest().as_slice())
        .execute(&mut sql)
        .await?;
    let as_it_was = Message {
        routing_key: "audit.canary".to_owned(),
        properties: real.properties,
        body: real.body,
    };
    let other_key = Message { routing_key: "payments.refund".to_owned(), ..as_it_was.clone() };
    let mut with_header = as_it_was.clone();
    let headers = with_header.properties.headers.get_or_insert_default();
    headers.insert("refund".to_owned(), FieldValue::I32(1));
    let looks_alike =
        [looks(unmarked.parse()?, "one"), looks(marked.parse()?, "two"), other_key, with_header];
    scene.publish(&looks_alike).await?;
    scene.stored(4).await?;
    let shown = scene.asks(&["events", "--format", "ndjson"])?;
    ensure!(shown.lines().len() == 4, "{}", shown.text());
    // The real one is in conflict with those that came before it, and so is not left out either.
    scene.publish(std::slice::from_ref(&as_it_was)).await?;
    scene.stored(5).await?;
    ensure!(scene.asks(&["events", "--count"])?.text().trim() == "5");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_ends_is_said_and_that_it_comes_again() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("canary.every", "1s")
        .with("http.listen", "127.0.0.1:0")
        // So that the daemon binds again late.
        .with("rabbitmq.heartbeat", "60s");
    let daemon = scene.daemon().await?;
    scene.counts_at_least(1, CANARIES).await?;
    let (connection, channel) = scene.client().await?;
    channel.queue_unbind(QueueUnbindArguments::new(&scene.queue(), &scene.exchange(), "#")).await?;
    daemon.says("a canary did not come back: the exchange handed it to no queue", 1).await?;
    let missing =
        |seen: &Value| seen.pointer("/canary/missing").and_then(Value::as_str).map(str::to_owned);
    eventually("the status says so", PATIENCE, async || {
        let seen = status(&daemon).await.map_err(|error| error.to_string())?;
        missing(&seen).filter(|said| said.contains("a binding is missing")).ok_or(seen.to_string())
    })
    .await?;
    channel
        .queue_bind(amqprs::channel::QueueBindArguments::new(
            &scene.queue(),
            &scene.exchange(),
            "#",
        ))
        .await?;
    daemon.says("canaries come back again", 1).await?;
    channel.close().await?;
    connection.close().await?;
    // Each state is said once.
    ensure!(daemon.said("a canary did not come back") == 1, "{:#?}", daemon.log());
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_no_binding_fits_is_refused() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("canary.every", "30s")
        .with("rabbitmq.bindings", r#"["order.#"]"#);
    let daemon = scene.starts()?;
    ensure!(daemon.ends().await? == 78, "{:#?}", daemon.log());
    ensure!(
        daemon.said("canary.routing_key") > 0 && daemon.said("fits none of rabbitmq.bindings") > 0,
        "{:#?}",
        daemon.log()
    );
    Ok(())
}
