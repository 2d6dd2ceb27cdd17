//! What is gone lawfully, and what is only said to be.

use anyhow::{Result, ensure};

use super::{History, verdicts_of};
use crate::support::{Bed, Scene, event};

/// Seals what was put on record meanwhile.
pub(super) async fn seals(scene: &Scene) -> Result<()> {
    scene.daemon().await?.stops_cleanly().await
}

fn verify(scene: &Scene) -> Result<serde_json::Value> {
    let answer = scene.asks(&["verify", "--json"])?;
    ensure!(answer.stderr.is_empty(), "{answer:?}");
    Ok(serde_json::from_str(answer.text())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_events_are_clean_and_what_is_put_in_their_place_is_not() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?.with("ledger.seal_every", "200ms");
    let daemon = scene.daemon().await?;
    let mut events: Vec<_> = (0..40).map(event).collect();
    let mut conflict = events[3].clone();
    conflict.body.push(b' ');
    events.push(conflict);
    scene.publish(&events).await?;
    scene.stored(41).await?;
    daemon.stops_cleanly().await?;
    let id = |message: &crate::support::Message| {
        message.properties.message_id.clone().unwrap_or_default()
    };
    for (message, metadata) in [(&events[3], false), (&events[5], true), (&events[7], false)] {
        let (id, level) = (id(message), if metadata { "--metadata" } else { "--yes" });
        let mut arguments = vec!["redact", &*id, "--reason", "a request", "--yes"];
        if metadata {
            arguments.push(level);
        }
        let answer = scene.asks(&arguments)?;
        ensure!(answer.status == 0, "{answer:?}");
    }
    // First its content, then all of it.
    let again =
        scene.asks(&["redact", &id(&events[7]), "--reason", "more", "--metadata", "--yes"])?;
    ensure!(again.status == 0, "{again:?}");
    seals(&scene).await?;
    let said = verify(&scene)?;
    ensure!(said["clean"] == true && said["events_erased"].as_i64() >= Some(3), "{said:#}");

    for (what, change) in [
        (
            "a body for content",
            "payload = '{}', body = null where body = '' and event_id is not null",
        ),
        ("metadata for metadata", "source = 'somebody' where body = '' and event_id is null"),
        ("a key for content", "routing_key = 'somebody' where body = '' and event_id is not null"),
    ] {
        let name = format!("{}c", scene.name);
        bed.postgres
            .sql("postgres", &format!("create database {name} template {}", scene.name))
            .await?;
        bed.postgres.sql(&name, &format!("update audit.events set {change}")).await?;
        let copy = scene.clone().through(None, Some(bed.postgres.url(&name)));
        let said = verify(&copy)?;
        ensure!(verdicts_of(&said)? == ["ALTERED"], "{what}: {said:#}");
        bed.postgres.sql("postgres", &format!("drop database {name}")).await?;
    }
    // The body goes, and nobody says so.
    bed.postgres
        .sql(&scene.name, "update audit.events set payload = null, body = '' where seq = (select min(seq) from audit.events where payload is not null)")
        .await?;
    let said = verify(&scene)?;
    ensure!(verdicts_of(&said)? == ["ALTERED"] && said["verdicts"]["ALTERED"] == 1, "{said:#}");
    Ok(())
}

/// As retention does it: the act first, then the partition.
pub(super) const EXPIRED: &str = "begin;
    create temp table span as select bounds[1]::timestamptz as lower, bounds[2]::timestamptz as upper from (
        select regexp_match(pg_get_expr(relpartbound, oid), $x$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$x$) as bounds
          from pg_class where relname = 'events_early') p;
    lock table audit.batches in row exclusive mode;
    select audit.act(gen_random_uuid(), now(), 'expired', json_build_object('partition', 'events_early',
               'from', (select to_char(lower at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from span),
               'to', (select to_char(upper at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from span),
               'events', (select count(*) from audit.events_early) + 0), null, null);
    insert into audit.expired_partitions (name, from_at, to_at, events, bytes, keep)
        select 'events_early', lower, upper, 1, 1, interval '1 day' from span;
    drop table audit.events_early; commit";

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_has_expired_is_gone_lawfully() -> Result<()> {
    let history = History::shared().await?;
    let bed = Bed::shared().await?;
    for (more, verdicts) in [("0", &[][..]), ("-1", &["DELETED"])] {
        let copy = history.copy().await?;
        bed.postgres.sql(&copy.name, &EXPIRED.replace(") + 0)", &format!(") + {more})"))).await?;
        seals(&copy).await?;
        let said = verify(&copy)?;
        ensure!(verdicts_of(&said)? == verdicts, "{said:#}");
        ensure!(said["events_expired"].as_i64() > Some(100), "{said:#}");
    }
    Ok(())
}

/// The last batch of a day and the first of the next are one: both days have expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_two_partitions_that_have_expired_is_gone_lawfully() -> Result<()> {
    let history = History::shared().await?;
    let copy = history.copy().await?;
    let bed = Bed::shared().await?;
    let expire = "begin; lock table audit.batches in row exclusive mode;
        create temp table span as select relname as name, count, bounds[1]::timestamptz as lower, bounds[2]::timestamptz as upper from (
            select relname, regexp_match(pg_get_expr(relpartbound, oid), $x$FROM \\('([^']+)'\\) TO \\('([^']+)'\\)$x$) as bounds
              from pg_class where relname in ('events_early', 'events_late')) p
            join (select tableoid::regclass::text as part, count(*) from audit.events group by 1) c on c.part = 'audit.' || relname;
        select audit.act(gen_random_uuid(), now(), 'expired', json_build_object('partition', name,
                   'from', to_char(lower at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                   'to', to_char(upper at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), 'events', count), null, null) from span;
        insert into audit.expired_partitions (name, from_at, to_at, events, bytes, keep)
            select name, lower, upper, count, 1, interval '1 day' from span;
        drop table audit.events_early; drop table audit.events_late; commit";
    bed.postgres.sql(&copy.name, expire).await?;
    seals(&copy).await?;
    let said = verify(&copy)?;
    ensure!(said["clean"] == true && said["events_expired"].as_i64() > Some(400), "{said:#}");
    Ok(())
}
