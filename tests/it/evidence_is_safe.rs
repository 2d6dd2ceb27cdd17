//! No delivery is spent: whatever keeps ending sessions or keeps the database from storing, the broker's delivery limit
//! drives no good event into the dead letters.

use anyhow::Result;
use testbed::{Proxy, proxy::Mode};

use crate::support::{Bed, Scene, UNPARSABLE, event, publish_with_headers};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_client_cannot_parse_is_alone_in_the_dead_letters() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("rabbitmq.delivery_limit", "4")
        .with("ingest.prefetch", "100");
    scene.daemon().await?.stops_cleanly().await?;
    let messages: Vec<_> = (0..1_000).map(event).collect();
    scene.publish(&messages[..300]).await?;
    publish_with_headers(&scene, UNPARSABLE, b"{}").await?;
    scene.publish(&messages[300..]).await?;

    let daemon = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    scene.waits(&scene.queue(), 0).await?;
    // Said once, and with the window open again.
    assert_eq!(daemon.said("cannot parse: beyond its delivery limit"), 1, "{:#?}", daemon.log());
    scene.publish(&messages).await?;
    daemon.says("\"prefetch\":100", 2).await?;
    scene.counts_at_least(1_000, "select sum(duplicates)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_keeps_failing_while_postgres_is_away_costs_one_delivery() -> Result<()> {
    let bed = Bed::shared().await?;
    let broker = Proxy::start(bed.rabbitmq.port()).await?;
    let database = Proxy::start(bed.postgres.port()).await?;
    let scene = Scene::set(bed).await?.with("rabbitmq.delivery_limit", "2");
    let direct_url = bed.postgres.url(&scene.name);
    let proxied_url = bed.postgres.url_at(database.port(), &scene.name);
    let scene = scene.through(Some(bed.rabbitmq.amqp_url_at(broker.port())), Some(proxied_url));
    let daemon = scene.daemon().await?;
    database.set(Mode::Refuse).await;
    database.cut().await;
    let messages: Vec<_> = (0..100).map(event).collect();
    scene.publish(&messages).await?;
    daemon.says("PostgreSQL cannot store", 1).await?;
    broker.cut().await;
    // Without a database nobody asks the broker for anything.
    daemon.says("PostgreSQL cannot be used", 3).await?;
    scene.waits(&scene.queue(), 100).await?;
    broker.cut().await;
    daemon.says("PostgreSQL cannot be used", 5).await?;
    assert_eq!(daemon.said("\"consuming\""), 1, "{:#?}", daemon.log());

    database.set(Mode::Forward).await;
    let direct = scene.through(None, Some(direct_url));
    direct.stored_exactly(&messages).await?;
    direct.waits(&direct.dead_letter_queue(), 0).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_restarted_on_a_broken_schema_takes_nothing() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("rabbitmq.delivery_limit", "2");
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("alter table audit.events rename column defects to oddities")
        .execute(&mut sql)
        .await?;
    let messages: Vec<_> = (0..50).map(event).collect();
    scene.publish(&messages).await?;
    for _ in 0..4 {
        let daemon = scene.starts()?;
        assert_eq!(daemon.ends().await?, 1);
        assert_eq!(daemon.said("\"consuming\""), 0, "{:#?}", daemon.log());
    }
    sqlx::raw_sql("alter table audit.events rename column oddities to defects")
        .execute(&mut sql)
        .await?;
    let daemon = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    scene.waits(&scene.dead_letter_queue(), 0).await?;
    daemon.stops_cleanly().await
}

/// Whoever rebuilds the partition before (VACUUM FULL, CLUSTER) lets rows be inserted and none be compared.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_looked_into_costs_one_delivery() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed)
        .await?
        .with("rabbitmq.consumer_timeout", "6s")
        .with("rabbitmq.delivery_limit", "3")
        .with("postgres.statement_timeout", "1s")
        .with("postgres.connect_timeout", "1s")
        .with("storage.dedupe_overlap", "2d");
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("select audit.ensure_partition(now() - interval '1 day', 'daily')")
        .execute(&mut sql)
        .await?;
    sqlx::raw_sql(
        "begin;
         do $$ begin
             execute format('lock table %s in access exclusive mode',
                 (select min(i.inhrelid::regclass::text) from pg_inherits i where i.inhparent = 'audit.events'::regclass));
         end $$",
    )
    .execute(&mut sql)
    .await?;
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..5).map(event).collect();
    scene.publish(&messages).await?;
    daemon.says("PostgreSQL could not store for too long", 1).await?;
    // Long enough for the delivery limit, had each attempt cost a delivery.
    daemon.says("PostgreSQL cannot be used", 8).await?;
    assert_eq!(daemon.said("\"consuming\""), 1, "{:#?}", daemon.log());
    assert_eq!(scene.ready(&scene.queue()).await?, messages.len());

    sqlx::raw_sql("rollback").execute(&mut sql).await?;
    scene.ends_with(&daemon, &messages).await?;
    scene.waits(&scene.dead_letter_queue(), 0).await
}
