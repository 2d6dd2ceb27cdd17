//! Views for people: what they say, and that a span of time leaves the other partitions alone.

use anyhow::Result;
use sqlx::PgConnection;

use crate::support::{Bed, Message, Scene, event, made_history};

const DAYS: i32 = 2;
const PER_DAY: i32 = 7_200;

async fn history() -> Result<(Scene, PgConnection)> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    made_history(&mut sql, DAYS, PER_DAY).await?;
    Ok((scene, sql))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_time_leaves_other_partitions_alone() -> Result<()> {
    let (_scene, mut sql) = history().await?;
    let (yesterday,): (String,) = sqlx::query_as(
        "select name from audit.partitions where from_at = date_trunc('day', now(), 'UTC') - interval '24 hours'",
    )
    .fetch_one(&mut sql)
    .await?;
    for query in [
        "explain analyze select * from audit.rates where hour >= date_trunc('day', now(), 'UTC') - interval '24 hours' and hour < date_trunc('day', now(), 'UTC')",
        "explain analyze select * from audit.latency where hour >= date_trunc('day', now(), 'UTC') - interval '24 hours' and hour < date_trunc('day', now(), 'UTC')",
        "explain analyze select * from audit.seen where day = date_trunc('day', now(), 'UTC') - interval '24 hours'",
        "explain analyze select * from audit.malformed where received_at >= date_trunc('day', now(), 'UTC') - interval '24 hours' and received_at < date_trunc('day', now(), 'UTC')",
        "explain analyze select * from audit.conflicts where received_at >= date_trunc('day', now(), 'UTC') - interval '24 hours' and received_at < date_trunc('day', now(), 'UTC')",
    ] {
        let plan: Vec<(String,)> = sqlx::query_as(query).fetch_all(&mut sql).await?;
        let scans: Vec<_> = plan
            .iter()
            .map(|(line,)| line.as_str())
            .filter(|line| line.contains("Scan") && line.contains(" on events_2"))
            .filter(|line| !line.contains("never executed"))
            .collect();
        let of_yesterday =
            scans.iter().filter(|line| line.contains(&format!(" on {yesterday} "))).count();
        assert!(of_yesterday > 0 && of_yesterday == scans.len(), "{query}\n{plan:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_latency_and_sightings_add_up() -> Result<()> {
    let (_scene, mut sql) = history().await?;
    let (events, hours, kinds, sources): (i64, i64, i64, i64) = sqlx::query_as(
        "select sum(events)::int8, count(distinct hour), count(distinct event_type), max(sources) from audit.rates
          where hour < date_trunc('day', now(), 'UTC')",
    )
    .fetch_one(&mut sql)
    .await?;
    let days = i64::from(DAYS);
    assert_eq!((events, hours, kinds, sources), (days * i64::from(PER_DAY), days * 24, 10, 7));

    let (p50, p99, most, early, timeless): (bool, bool, bool, i64, i64) = sqlx::query_as(
        "select bool_and(p50 = interval '20 ms'), bool_and(p99 = interval '20 ms'), bool_and(most = interval '20 ms'),
                sum(early)::int8, sum(timeless)::int8 from audit.latency where hour < date_trunc('day', now(), 'UTC')",
    )
    .fetch_one(&mut sql)
    .await?;
    assert_eq!((p50, p99, most, early, timeless), (true, true, true, 0, 0));

    let odd = "select count(*) from (
                   select event_type, source, sum(events) as events, min(first_seen) as first_seen, max(last_seen) as last_seen
                     from audit.seen where day < date_trunc('day', now(), 'UTC') group by 1, 2) s
                 full join (
                   select event_type, source, count(*) as events, min(received_at) as first_seen, max(received_at) as last_seen
                     from audit.events where received_at < date_trunc('day', now(), 'UTC') group by 1, 2) e
                using (event_type, source, events, first_seen, last_seen) where s.events is null or e.events is null";
    let (odd,): (i64,) = sqlx::query_as(odd).fetch_one(&mut sql).await?;
    assert_eq!(odd, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_of_what_is_usually_regular_is_a_gap() -> Result<()> {
    let (_scene, mut sql) = history().await?;
    sqlx::raw_sql(
        "delete from audit.events where event_type = 'kind.3.seen'
            and received_at > date_trunc('day', now(), 'UTC') - interval '18 hours'
            and received_at < date_trunc('day', now(), 'UTC') - interval '17 hours';
         delete from audit.events where event_type = 'kind.4.seen'
            and received_at > date_trunc('day', now(), 'UTC') - interval '2 hours'",
    )
    .execute(&mut sql)
    .await?;
    let gaps: Vec<(String, bool, bool, bool, i64)> = sqlx::query_as(
        "select event_type, to_at is null, lasted between interval '59 minutes' and interval '2 hours 3 minutes',
                usually between interval '115 seconds' and interval '125 seconds', events
           from audit.gaps(date_trunc('day', now(), 'UTC') - interval '1 day', date_trunc('day', now(), 'UTC'))",
    )
    .fetch_all(&mut sql)
    .await?;
    let gap = |kind: &str, lasts, events| (kind.to_owned(), lasts, true, true, events);
    assert_eq!(gaps, [gap("kind.3.seen", false, 690), gap("kind.4.seen", true, 660)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_and_malformed_bodies_say_what_is_odd() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let original = event(0);
    let mut other_body = original.clone();
    other_body.body.push(b' ');
    let mut other_way = original.clone();
    other_way.routing_key = "another.key".to_owned();
    other_way.properties.priority = Some(3);
    let mut text_id = Message::new("plain", *b"hello\x1b[31m\xff");
    text_id.properties.message_id = Some("no uuid".to_owned());
    let mut text_id_again = text_id.clone();
    text_id_again.body = b"{}".to_vec();
    scene.publish(&[original]).await?;
    scene.publish(&[other_body, other_way, text_id]).await?;
    scene.publish(&[text_id_again]).await?;
    scene.stored(5).await?;

    let mut sql = scene.sql().await?;
    let conflicts: Vec<(bool, Vec<String>)> = sqlx::query_as(
        "select original_seq < seq and original_received_at <= received_at, differs from audit.conflicts order by seq",
    )
    .fetch_all(&mut sql)
    .await?;
    let differs = |what: &[&str]| (true, what.iter().map(|what| (*what).to_owned()).collect());
    assert_eq!(
        conflicts,
        [differs(&["body"]), differs(&["properties", "routing_key"]), differs(&["body"])]
    );
    let malformed: Vec<(String, Vec<String>, i32, String)> =
        sqlx::query_as("select id, defects, body_bytes, body_start from audit.malformed")
            .fetch_all(&mut sql)
            .await?;
    assert_eq!(malformed.len(), 1);
    let (id, found, bytes, start) = &malformed[0];
    assert_eq!((id.as_str(), *bytes, start.as_str()), ("no uuid", 11, r"hello.[31m\377"));
    assert!(found.iter().any(|defect| defect.starts_with("invalid")), "{found:?}");
    daemon.stops_cleanly().await
}
