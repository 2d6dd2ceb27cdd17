//! Memory has a ceiling in bytes, whatever waits in the queue and whatever the database does.

use anyhow::{Context as _, Result};
use testbed::{Proxy, proxy::Mode};
use uuid::Uuid;

use crate::support::{Bed, Daemon, Message, Scene, event, publish_with_headers};

const MIB: usize = 1 << 20;

/// The default of `ingest.memory`; the process stays under twice as much.
const BUDGET: usize = 128 * MIB;
const LARGE: usize = 4 * MIB;

/// A JSON body of that size that does not compress, and is another for each number.
fn large(number: usize, size: usize) -> Message {
    let mut state = u64::try_from(number).unwrap() + 1;
    let id = Uuid::from_u128(u128::try_from(number).unwrap() + 1);
    let mut body = format!(r#"{{"event_id":"{id}","text":""#).into_bytes();
    while body.len() < size - 2 {
        // Xorshift: anything that is not the same all over.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(format!("{state:016x}").as_bytes());
    }
    body.truncate(size - 2);
    body.extend_from_slice(b"\"}");
    Message::new("large.one", body)
}

fn stays_bounded(daemon: &Daemon) -> Result<()> {
    let peak = daemon.peak_memory()?;
    eprintln!("PEAK {} MiB", peak / MIB);
    assert!(peak < 2 * BUDGET, "{} MiB at its peak; {:#?}", peak / MIB, daemon.log());
    Ok(())
}

/// Publishes in portions: a client that publishes holds what is not confirmed.
async fn publish_large(scene: &Scene, numbers: std::ops::Range<usize>) -> Result<Vec<Message>> {
    let messages: Vec<_> = numbers.map(|number| large(number, LARGE)).collect();
    for portion in messages.chunks(4) {
        scene.publish(portion).await?;
    }
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_bodies_is_taken_a_few_at_a_time() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let messages = publish_large(&scene, 0..48).await?;
    let daemon = scene.daemon().await?;
    scene.stored(messages.len()).await?;
    stays_bounded(&daemon)?;
    // None had to go back: they came as many at a time as there is room for.
    assert_eq!(daemon.said("larger messages came"), 0, "{:#?}", daemon.log());
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_behind_small_ones_that_opened_the_window() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let mut messages: Vec<_> = (0..3_000).map(event).collect();
    scene.publish(&messages).await?;
    messages.extend(publish_large(&scene, 0..48).await?);
    let daemon = scene.daemon().await?;
    scene.stored(messages.len()).await?;
    stays_bounded(&daemon)?;
    scene.ends_with(&daemon, &messages).await?;
    scene.waits(&scene.dead_letter_queue(), 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_while_postgres_is_stalled() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?.with("postgres.statement_timeout", "2s");
    let database = Proxy::start(bed.postgres.port()).await?;
    let direct = bed.postgres.url(&scene.name);
    let proxied = bed.postgres.url_at(database.port(), &scene.name);
    let scene = scene.through(None, Some(proxied));
    let daemon = scene.daemon().await?;
    let mut messages: Vec<_> = (0..48).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(messages.len()).await?;
    daemon.says("taking as many deliveries at a time as configured", 1).await?;

    database.set(Mode::Stall).await;
    messages.extend(publish_large(&scene, 0..48).await?);
    daemon.says("it said nothing for", 1).await?;
    stays_bounded(&daemon)?;
    database.set(Mode::Forward).await;
    let scene = scene.through(None, Some(direct));
    scene.stored(messages.len()).await?;
    stays_bounded(&daemon)?;
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_small_bodies_with_the_largest_prefetch() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?.with("ingest.prefetch", "65535");
    scene.daemon().await?.stops_cleanly().await?;
    let messages: Vec<_> = (0..100_000).map(event).collect();
    for portion in messages.chunks(10_000) {
        scene.publish(portion).await?;
    }
    let daemon = scene.daemon().await?;
    scene.stored(messages.len()).await.context("storing the backlog")?;
    stays_bounded(&daemon)?;
    scene.ends_with(&daemon, &messages).await
}

/// A header of one byte on the wire takes a hundred in memory and on the way to the database.
#[tokio::test(flavor = "multi_thread")]
async fn header_tables_of_a_hundred_thousand_values() -> Result<()> {
    const VALUES: u32 = 100_000;
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let array = vec![b'V'; usize::try_from(VALUES)?];
    let table = [b"\x01xA", &VALUES.to_be_bytes()[..], &array].concat();
    let messages: Vec<_> =
        (0..100).map(|number| Message::new("odd.headers", format!("{{\"n\":{number}}}"))).collect();
    for message in &messages {
        publish_with_headers(&scene, &table, &message.body).await?;
    }
    let daemon = scene.daemon().await?;
    scene.stored(messages.len()).await?;
    stays_bounded(&daemon)?;
    scene.ends_with(&daemon, &messages).await
}

/// A correlation id of three letters takes six bytes of the body and sixty beside it.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_a_thousand_correlation_ids() -> Result<()> {
    const SMALLEST: usize = 64 * MIB;
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed)
        .await?
        .with("ingest.memory", SMALLEST.to_string())
        .with("ingest.max_body", "16 MiB");
    scene.daemon().await?.stops_cleanly().await?;
    // The daemon's memory is looked at: six million entries of an index would take the server a minute.
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("drop index audit.events_causes").execute(&mut sql).await?;
    let ids: Vec<_> = (0..1_000).map(|number| format!("{number:x}")).collect();
    let body = |number| format!(r#"{{"n":{number},"correlation_ids":{ids:?}}}"#);
    let messages: Vec<_> =
        (0..6_000).map(|number| Message::new("many.parents", body(number))).collect();
    for portion in messages.chunks(1_000) {
        scene.publish(portion).await?;
    }
    let daemon = scene.daemon().await?;
    scene.stored(messages.len()).await?;
    let peak = daemon.peak_memory()?;
    assert!(peak < 2 * SMALLEST, "{} MiB at its peak", peak / MIB);
    let ids = "select min(cardinality(correlation_ids))::int8 from audit.events";
    assert_eq!(scene.number(ids).await?, 1_000);
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_opens_sends_nothing_back() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    // Each start opens it once, with more waiting than it takes one by one.
    let messages: Vec<_> = (0..1_000).map(event).collect();
    for (start, waiting) in messages.chunks(100).enumerate() {
        scene.publish(waiting).await?;
        let daemon = scene.daemon().await?;
        scene.stored(100 * (start + 1)).await?;
        daemon.stops_cleanly().await?;
    }
    scene.stored_exactly(&messages).await?;
    assert_eq!(scene.number("select count(*) from audit.events where redelivered").await?, 0);
    let duplicates = "select coalesce(sum(duplicates), 0)::int8 from audit.batches";
    assert_eq!(scene.number(duplicates).await?, 0);
    Ok(())
}
