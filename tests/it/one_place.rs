//! Every delivery ends in exactly one place: a row in `events`, or the dead-letter queue together with a row in
//! `rejections` that says why. Nothing waits behind a bad message.

use amqprs::channel::BasicGetArguments;
use anyhow::{Context as _, Result};
use sqlx::Row as _;
use testbed::{Proxy, proxy::Direction};

use crate::support::{Bed, Message, Scene, drain, event};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_are_dead_lettered_where_the_operator_asks_for_it() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("ingest.malformed", "dead-letter");
    let daemon = scene.daemon().await?;
    let good: Vec<_> = (0..10).map(event).collect();
    let bad = ["hello", "", "[1]"].map(|body| Message::new("bad.one", body));
    let mixed: Vec<_> = good[..5].iter().chain(&bad).chain(&good[5..]).cloned().collect();
    scene.publish(&mixed).await?;
    scene.stored_exactly(&good).await?;
    scene.waits(&scene.dead_letter_queue(), 3).await?;

    let mut sql = scene.sql().await?;
    let rows = sqlx::query(
        "select reason, detail, body, body_bytes, body_sha256 = sha256(body), routing_key, exchange
           from audit.rejections order by lane, number, ordinal",
    )
    .fetch_all(&mut sql)
    .await?;
    let shown: Vec<_> =
        rows.iter().map(|row| (row.get::<&str, _>(0), row.get::<&str, _>(1))).collect();
    assert_eq!(
        shown,
        [
            ("malformed", "invalid-json"),
            ("malformed", "empty-body"),
            ("malformed", "not-an-object")
        ]
    );
    for (row, message) in rows.iter().zip(&bad) {
        assert_eq!(row.get::<&[u8], _>(2), message.body);
        assert_eq!(row.get::<i64, _>(3), i64::try_from(message.body.len())?);
        assert!(row.get::<bool, _>(4));
        assert_eq!(
            (row.get::<&str, _>(5), row.get::<&str, _>(6)),
            ("bad.one", scene.exchange().as_str())
        );
    }
    assert_eq!(scene.number("select sum(rejections)::int8 from audit.batches").await?, 3);
    scene.waits(&scene.queue(), 0).await?;

    // Dead-lettered by the broker itself, so that it says from where and why.
    let (connection, channel) = scene.client().await?;
    let (get, properties, body) = channel
        .basic_get(BasicGetArguments::new(&scene.dead_letter_queue()))
        .await?
        .context("no dead letter")?;
    assert_eq!((get.routing_key().as_str(), body.as_slice()), ("bad.one", b"hello".as_slice()));
    let headers = format!("{:?}", properties.headers().context("no x-death")?);
    assert!(
        headers.contains("x-death")
            && headers.contains("rejected")
            && headers.contains(&scene.queue()),
        "{headers}"
    );
    connection.close().await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_the_database_refuses_leaves_the_stream_and_its_neighbours_are_stored() -> Result<()>
{
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut sql = scene.sql().await?;
    // Somebody's own rules on the table.
    sqlx::raw_sql(
        "alter table audit.events add constraint own_rule check (routing_key <> 'refused.by.constraint');
         create function public.own_trigger() returns trigger language plpgsql as $$
             begin
                 if new.routing_key = 'refused.by.trigger' then raise exception 'not this one'; end if;
                 return new;
             end $$;
         create trigger own_trigger before insert on audit.events for each row execute function public.own_trigger();",
    )
    .execute(&mut sql)
    .await?;

    let good: Vec<_> = (0..200).map(event).collect();
    let mut mixed = good.clone();
    for (position, key) in
        [(150, "refused.by.trigger"), (77, "refused.by.constraint"), (3, "refused.by.trigger")]
    {
        let mut bad = event(position);
        bad.routing_key = key.to_owned();
        mixed.insert(position, bad);
    }
    scene.publish(&mixed).await?;
    scene.stored_exactly(&good).await?;
    scene.waits(&scene.dead_letter_queue(), 3).await?;
    scene.waits(&scene.queue(), 0).await?;
    let reasons: Vec<(String, String, String)> = sqlx::query_as(
        "select reason, sqlstate, routing_key from audit.rejections order by sqlstate, routing_key",
    )
    .fetch_all(&mut sql)
    .await?;
    let of = |state: &str, key: &str| ("refused".to_owned(), state.to_owned(), key.to_owned());
    assert_eq!(
        reasons,
        [
            of("23514", "refused.by.constraint"),
            of("P0001", "refused.by.trigger"),
            of("P0001", "refused.by.trigger")
        ]
    );
    assert_eq!(
        scene
            .number("select count(*) from audit.rejections where detail like '%not this one%'")
            .await?,
        2
    );
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_schema_stops_the_daemon_and_loses_nothing() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("alter table audit.events rename to elsewhere").execute(&mut sql).await?;
    let messages: Vec<_> = (0..20).map(event).collect();
    scene.publish(&messages).await?;
    assert_eq!(daemon.ends().await?, 1);
    assert_eq!(daemon.said("events cannot be stored"), 1, "{:#?}", daemon.log());

    sqlx::raw_sql("alter table audit.elsewhere rename to events").execute(&mut sql).await?;
    let daemon = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_takes_too_long_is_halved_until_it_does_not() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("postgres.statement_timeout", "500ms");
    let daemon = scene.daemon().await?;
    let mut messages = scene.opens_the_window(&daemon).await?;
    let mut sql = scene.sql().await?;
    // Somebody's own slow rule: forty rows take longer than a statement may. While the table is locked they gather.
    sqlx::raw_sql(
        "create function public.slowly() returns trigger language plpgsql as $$
             begin perform pg_sleep(0.02); return new; end $$;
         create trigger slowly before insert on audit.events for each row execute function public.slowly();
         begin;
         lock table audit.events in share mode;",
    )
    .execute(&mut sql)
    .await?;
    let many: Vec<_> = (0..80).map(event).collect();
    scene.publish(&many).await?;
    scene.waits(&scene.queue(), 0).await?;
    let locked = daemon.said("57014");
    sqlx::raw_sql("commit").execute(&mut sql).await?;
    messages.extend(many);
    scene.ends_with(&daemon, &messages).await?;
    assert!(daemon.said("57014") > locked, "{:#?}", daemon.log());
    Ok(())
}

/// One that may have been committed is sent again whole, until the database says that it was not.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_doubt_that_takes_too_long_is_halved_too() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?.with("postgres.statement_timeout", "500ms");
    let proxy = Proxy::start(bed.postgres.port()).await?;
    let url = bed.postgres.url_at(proxy.port(), &scene.name);
    let daemon = scene.clone().through(None, Some(url)).daemon().await?;
    let mut messages = scene.opens_the_window(&daemon).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create function public.slowly() returns trigger language plpgsql as $$
             begin perform pg_sleep(0.02); return new; end $$;
         create trigger slowly before insert on audit.events for each row execute function public.slowly();
         begin;
         lock table audit.events in share mode;",
    )
    .execute(&mut sql)
    .await?;
    let mut many: Vec<_> = (0..40).map(event).collect();
    many.push(Message::new("the.last", r#"{"marker":"the last one"}"#));
    proxy.cut_when_seen(Direction::ToServer, b"the last one");
    scene.publish(&many).await?;
    scene.waits(&scene.queue(), 0).await?;
    sqlx::raw_sql("commit").execute(&mut sql).await?;
    messages.extend(many);
    scene.ends_with(&daemon, &messages).await?;
    assert!(!proxy.is_armed());
    assert!(daemon.said("57014") >= 1, "{:#?}", daemon.log());
    Ok(())
}

/// Bytes of JSON, so many.
fn body_of(length: usize) -> Vec<u8> {
    let frame = r#"{"filler":""}"#.len();
    format!(r#"{{"filler":"{}"}}"#, "x".repeat(length - frame)).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_rejected_and_one_at_the_limit_is_stored() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("ingest.max_body", "100 KiB")
        .with("ingest.rejected_body", "1 KiB");
    let daemon = scene.daemon().await?;
    let limit = 100 * 1024;
    let fits = Message::new("large.fits", body_of(limit));
    let mut over = Message::new("large.over", body_of(limit + 1));
    over.properties.message_id = Some("over".to_owned());
    scene.publish(&[event(0), over.clone(), fits.clone(), event(1)]).await?;
    scene.stored(3).await?;
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    scene.waits(&scene.queue(), 0).await?;
    assert!(scene.bodies().await?.contains(&fits.body));

    let mut sql = scene.sql().await?;
    let row = sqlx::query(
        "select reason, detail, sqlstate, event_key, body, body_bytes, body_sha256 = sha256($1) from audit.rejections",
    )
    .bind(&over.body)
    .fetch_one(&mut sql)
    .await?;
    assert_eq!(
        (row.get::<&str, _>(0), row.get::<&str, _>(1)),
        ("too-large", "102401 bytes, and ingest.max_body is 102400")
    );
    assert_eq!((row.get::<Option<&str>, _>(2), row.get::<&str, _>(3)), (None, "over"));
    assert_eq!(row.get::<&[u8], _>(4), &over.body[..1024]);
    assert_eq!(row.get::<i64, _>(5), 102_401);
    assert!(row.get::<bool, _>(6));
    assert_eq!(drain(&scene, &scene.dead_letter_queue()).await?, [over.body]);
    assert_eq!(daemon.said("larger than ingest.max_body"), 1, "{:#?}", daemon.log());
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_rejected_body_is_kept_where_nothing_should_be() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("ingest.malformed", "dead-letter")
        .with("ingest.rejected_body", "0");
    let daemon = scene.daemon().await?;
    scene.publish(&[Message::new("bad.one", "hello")]).await?;
    scene
        .counts(
            1,
            "select count(*) from audit.rejections where reason = 'malformed' and body = ''
                and body_bytes = 5 and body_sha256 = sha256('hello')",
        )
        .await?;
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    daemon.stops_cleanly().await
}
