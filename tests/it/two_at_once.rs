//! Two batches under way at once, as they are while a backlog is drained: what is stored is what one at a time would store.

use anyhow::{Context as _, Result, ensure};
use sqlx::Connection as _;
use testbed::Proxy;

use crate::support::{Bed, Message, Scene, event};

/// A scene whose queue holds these messages, in small batches.
async fn with_backlog(scene: Scene, messages: &[Message]) -> Result<Scene> {
    let scene = scene.with("ingest.batch_events", "20").with("ingest.prefetch", "200");
    scene.daemon().await?.stops_cleanly().await?;
    scene.publish(messages).await?;
    Ok(scene)
}

/// Expects that the numbers of what is stored follow the order in which it came.
async fn stored_in_order(scene: &Scene, messages: &[Message]) -> Result<()> {
    let mut sql = scene.sql().await?;
    let stored: Vec<(Vec<u8>,)> =
        sqlx::query_as("select audit.raw(e) from audit.events e order by seq")
            .fetch_all(&mut sql)
            .await?;
    let wanted = messages.iter().map(|message| &message.body);
    ensure!(stored.iter().map(|(body,)| body).eq(wanted), "another order, or other events");
    Ok(())
}

const LANES: &str =
    "select count(distinct lane) from audit.batches where committed_at > now() - interval '1 hour'";

/// Somebody else has stored one event of the backlog and not committed it, so that its batch waits.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_holds_up_the_next_but_one() -> Result<()> {
    let mut messages: Vec<_> = (0..400).map(event).collect();
    // What comes again while its original waits is not stored in its stead.
    let mut other = messages[5].clone();
    other.body.push(b' ');
    messages.insert(390, other);
    let scene = Scene::set(Bed::shared().await?).await?;
    let scene = with_backlog(scene, &messages).await?;

    let mut sql = scene.sql().await?;
    let mut holder = sql.begin().await?;
    sqlx::query(
        "insert into audit.events (seq, received_at, event_id, redelivered, conflict, malformed, exchange, routing_key,
                correlation_ids, properties, payload)
         values (0, now(), $1::uuid, false, false, false, '', '', '{}', '{}', '{}')",
    )
    .bind(messages[5].properties.message_id.as_ref().context("an id")?)
    .execute(&mut *holder)
    .await?;

    let daemon = scene.daemon().await?;
    // The one behind it is through, although it has its turn later.
    let ahead = "select count(*) from audit.batches b where b.events = 20 and not exists (
                     select from audit.events e where e.payload->'payload'->>'number' = '5')";
    scene.counts(1, ahead).await?;
    let before = scene.number("select count(*) from audit.events").await?;
    ensure!((20..=26).contains(&before), "{before} stored beside the one that waits");
    holder.rollback().await?;

    scene.stored(messages.len()).await?;
    scene.waits(&scene.queue(), 0).await?;
    stored_in_order(&scene, &messages).await?;
    ensure!(scene.number("select count(*) from audit.events where conflict").await? == 1);
    let (body,): (Vec<u8>,) =
        sqlx::query_as("select audit.raw(e) from audit.events e where conflict")
            .fetch_one(&mut sql)
            .await?;
    ensure!(body == messages[390].body, "the first one is in conflict with the second");
    daemon.stops_cleanly().await
}

/// Whichever of them the outage meets.
#[tokio::test(flavor = "multi_thread")]
async fn outages_change_neither_the_order_nor_the_number() -> Result<()> {
    let messages: Vec<_> = (0..4_000).map(event).collect();
    let bed = Bed::shared().await?;
    let database = Proxy::start(bed.postgres.port()).await?;
    let scene = Scene::set(bed).await?;
    let url = bed.postgres.url_at(database.port(), &scene.name);
    let (backlog, later) = messages.split_at(2_000);
    let scene = with_backlog(scene.through(None, Some(url)), backlog).await?;

    let daemon = scene.starts()?;
    scene.counts_at_least(200, "select count(*) from audit.events").await?;
    database.cut().await;
    let mut published = backlog.len();
    for more in later.chunks(200) {
        // Of these some are stored between the last cut and the next one, so on a connection of its own.
        scene.publish(more).await?;
        let stored = i64::try_from(published + 1)?;
        scene.counts_at_least(stored, "select count(*) from audit.events").await?;
        database.cut().await;
        published += more.len();
    }
    scene.stored(messages.len()).await?;
    scene.waits(&scene.queue(), 0).await?;
    stored_in_order(&scene, &messages).await?;
    ensure!(scene.number(LANES).await? > 10, "each outage ended a connection");
    let overlapping =
        "select count(*) from audit.batches b join audit.batches o on o.lane <> b.lane
                        and o.first_seq >= b.first_seq and o.first_seq < b.first_seq + b.events";
    ensure!(scene.number(overlapping).await? == 0, "numbers were given twice");
    daemon.stops_cleanly().await
}
