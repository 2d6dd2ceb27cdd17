//! Stored once: duplicates are counted, conflicts are kept and flagged.

use amqprs::channel::BasicGetArguments;
use anyhow::{Context as _, Result};
use sqlx::Connection as _;

use crate::support::{Bed, Message, Scene, event, keep_workers_away};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_published_again_is_counted_not_stored() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..20).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(20).await?;
    // Once more across batches, and twice within one.
    let twice: Vec<_> = messages.iter().chain(&messages).cloned().collect();
    scene.publish(&twice).await?;
    scene.counts(40, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    assert_eq!(scene.number("select count(*) from audit.events where conflict").await?, 0);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_anything_else_different_is_kept_and_flagged() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let original = event(0);
    let mut other_body = original.clone();
    other_body.body.push(b' ');
    let mut other_key = original.clone();
    other_key.routing_key = "another.key".to_owned();
    let mut other_property = original.clone();
    other_property.properties.priority = Some(3);
    let all: Vec<Message> = vec![original.clone(), other_body, other_key, other_property];

    scene.publish(&all).await?;
    scene.stored_exactly(&all).await?;
    // A conflict that comes again is a duplicate of that conflict.
    scene.publish(&all).await?;
    scene.counts(4, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.stored_exactly(&all).await?;
    assert_eq!(scene.number("select count(*) from audit.events where conflict").await?, 3);
    assert_eq!(scene.number("select sum(conflicts)::int8 from audit.batches").await?, 3);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stored_in_the_partition_before_is_recognised() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("storage.dedupe_overlap", "24h");
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..10).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(10).await?;
    daemon.stops_cleanly().await?;

    // As if they had come yesterday.
    let mut sql = scene.sql().await?;
    sqlx::query("select audit.ensure_partition(now() - interval '1 day', 'daily')")
        .execute(&mut sql)
        .await?;
    sqlx::query("update audit.events set received_at = received_at - interval '1 day'")
        .execute(&mut sql)
        .await?;
    sql.close().await?;

    let daemon = scene.daemon().await?;
    scene.publish(&messages).await?;
    scene.counts(10, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await
}

/// The clock was set back over midnight, or another daemon's clock is ahead.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_stored_in_a_later_partition_is_recognised() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("storage.dedupe_overlap", "24h");
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..10).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(10).await?;
    let mut sql = scene.sql().await?;
    sqlx::query("update audit.events set received_at = received_at + interval '1 day'")
        .execute(&mut sql)
        .await?;
    scene.publish(&messages).await?;
    scene.counts(10, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await
}

/// Where the broker lets a consumer hold a delivery for hours, it may be committed, and come again, that long after it was
/// received: many partitions later, where they span an hour.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_held_for_hours_and_comes_again_is_recognised() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("retention.partition", "1h")
        .with("rabbitmq.consumer_timeout", "12h");
    let daemon = scene.daemon().await?;
    let messages = [event(0)];
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "select audit.ensure_partition(now() - n * interval '1 hour', 'hourly') from generate_series(1, 6) n;
         update audit.events set received_at = received_at - interval '6 hours'",
    )
    .execute(&mut sql)
    .await?;
    sql.close().await?;

    // Handed out once, to somebody who does not acknowledge it.
    scene.publish(&messages).await?;
    scene.waits(&scene.queue(), 1).await?;
    let (connection, channel) = scene.client().await?;
    let got = channel.basic_get(BasicGetArguments::new(&scene.queue())).await?;
    got.context("the queue is empty")?;
    connection.close().await?;
    scene.waits(&scene.queue(), 1).await?;

    let daemon = scene.daemon().await?;
    scene.counts(1, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await
}

/// A producer that gives everything the same id: each different event is kept once, and the work stays linear.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_events_under_one_id_hold_nothing_up() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let one = event(0);
    let same_id = |number: u64| {
        let mut message = one.clone();
        message.properties.timestamp = Some(number);
        message
    };
    let messages: Vec<_> = (0..5_000).map(same_id).collect();
    scene.publish(&messages).await?;
    scene.publish(&messages).await?;
    scene.counts(5_000, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    assert_eq!(scene.number("select count(*) from audit.events where conflict").await?, 4_999);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_daemons_on_one_queue_store_a_conflict_once() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("ingest.prefetch", "20");
    let daemons = [scene.daemon().await?, scene.daemon().await?, scene.daemon().await?];
    let mut wanted = Vec::new();
    let mut published = Vec::new();
    for number in 0..500 {
        let original = event(number);
        let mut conflict = original.clone();
        conflict.body.push(b' ');
        published.extend(
            [&original, &original, &conflict, &conflict, &conflict, &conflict].map(Message::clone),
        );
        wanted.extend([original, conflict]);
    }
    scene.publish(&published).await?;
    let settled = "select coalesce(sum(events + duplicates), 0)::int8 from audit.batches";
    scene.counts(i64::try_from(published.len())?, settled).await?;
    scene.stored_exactly(&wanted).await?;
    for daemon in &daemons {
        daemon.stops_cleanly().await?;
    }
    Ok(())
}

/// What asks for the ids of a batch, and compares it with the history, goes by the dedupe indexes, however large a
/// partition is, and however fast it was filled: there are no statistics of it yet.
#[tokio::test(flavor = "multi_thread")]
async fn comparing_uses_the_indexes() -> Result<()> {
    // So that the partition before is always looked into.
    let scene = Scene::set(Bed::shared().await?).await?.with("storage.dedupe_overlap", "24h");
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    sqlx::query("select audit.ensure_partition(now() - interval '1 day', 'daily')")
        .execute(&mut sql)
        .await?;
    keep_workers_away(&mut sql).await?;
    sqlx::raw_sql(
        "insert into audit.events (seq, received_at, event_id, event_key, redelivered, conflict, malformed, exchange,
                routing_key, correlation_ids, properties, payload)
         select n, now() - n % 2 * interval '1 day', case when n % 4 < 2 then gen_random_uuid() end,
                case when n % 4 >= 2 then 'key ' || n end, false, false, false, '', '', '{}', '{}', '{}'
           from generate_series(1, 40000) n;",
    )
    .execute(&mut sql)
    .await?;
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut sql).await?;
    sql.close().await?;
    let scans = "select sum(seq_scan)::int8 from pg_stat_user_tables
                  where schemaname = 'audit' and relname in (select name from audit.partitions where from_at <= now())";
    let before = scene.number(scans).await?;

    let daemon = scene.daemon().await?;
    let keyed =
        |number: usize| Message::new("a.key", format!(r#"{{"event_id":"number {number}"}}"#));
    let mut messages: Vec<_> = (0..20).map(event).chain((0..20).map(keyed)).collect();
    scene.publish(&messages).await?;
    // The same again, and then the same ids with other content.
    scene.publish(&messages).await?;
    for message in &mut messages {
        message.body.push(b' ');
    }
    scene.publish(&messages).await?;
    scene.counts(40, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    scene.counts(40, "select coalesce(sum(conflicts), 0)::int8 from audit.batches").await?;
    daemon.stops_cleanly().await?;
    // A session has told what it did when it is gone.
    let sessions = "select count(*) from pg_stat_activity
                     where datname = current_database() and application_name = 'bloodbank-audit'";
    scene.counts(0, sessions).await?;
    assert_eq!(scene.number(scans).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sequence_numbers_follow_the_order_of_arrival() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("ingest.batch_events", "7");
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..100).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(100).await?;
    let mut sql = scene.sql().await?;
    let stored: Vec<(Vec<u8>,)> =
        sqlx::query_as("select audit.raw(e) from audit.events e order by seq")
            .fetch_all(&mut sql)
            .await?;
    assert!(stored.iter().map(|(body,)| body).eq(messages.iter().map(|message| &message.body)));
    let inside = "select count(*) from audit.events e join audit.batches b
                    on e.seq >= b.first_seq and e.seq < b.first_seq + b.events";
    assert_eq!(scene.number(inside).await?, 100);
    daemon.stops_cleanly().await
}
