//! Sent again: to the audit queue, with their first address; and none leaves the dead letters before it is elsewhere.

use anyhow::Result;
use bloodbank_audit::event::{FieldValue, Properties};
use std::collections::BTreeMap;

use super::{dead_lettered, letters, malformed, refusing, strict};
use crate::support::{Bed, Scene, drain, event};

/// Mends whatever refused rows.
async fn mended(scene: &Scene) -> Result<()> {
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("drop function public.own_trigger() cascade").execute(&mut sql).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_one_is_stored_with_its_first_address() -> Result<()> {
    let scene = refusing(Bed::shared().await?).await?;
    let mut refused: Vec<_> = (0..20).map(event).collect();
    for message in &mut refused {
        message.routing_key = "refused".to_owned();
    }
    dead_lettered(&scene, &refused, Some(10)).await?;
    mended(&scene).await?;
    // While the daemon is down.
    let answer = letters(&scene, &["requeue", "--reason", "P0001", "--json"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    assert_eq!((&said["done"], &said["unreadable"]), (&20.into(), &1.into()), "{said}");
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    let daemon = scene.daemon().await?;
    scene.stored_exactly(&refused).await?;
    let mut sql = scene.sql().await?;
    let addresses: Vec<(String, String)> =
        sqlx::query_as("select distinct exchange, routing_key from audit.events")
            .fetch_all(&mut sql)
            .await?;
    assert_eq!(addresses, [(scene.exchange(), "refused".to_owned())]);
    scene
        .counts(
            20,
            "select count(*) from audit.dead_letter_actions d join audit.events e on e.event_id::text = d.event_id
              where d.action = 'requeued' and d.died_of = 'refused P0001' and d.routing_key = 'refused'
                and d.body_sha256 = sha256(audit.raw(e)) and d.target like 'the queue %' and d.reason is null",
        )
        .await?;
    // Once more what is stored already: a duplicate, no conflict.
    scene.publish(&refused[..1]).await?;
    scene.counts(1, "select sum(duplicates)::int8 from audit.batches").await?;
    scene.counts(0, "select count(*) from audit.events where conflict").await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stored_already_is_a_duplicate() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(3);
    dead_lettered(&scene, &messages, None).await?;
    // What comes a second time dies of the same.
    let lenient = scene.clone().with("ingest.malformed", "store");
    let daemon = lenient.daemon().await?;
    scene.publish(&messages).await?;
    scene.stored(3).await?;
    assert_eq!(letters(&scene, &["requeue", "--all"])?.status, 0);
    scene.counts(3, "select sum(duplicates)::int8 from audit.batches").await?;
    scene.stored_exactly(&messages).await?;
    scene.counts(0, "select count(*) from audit.events where conflict").await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_again_is_sent_once_a_run() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(50);
    dead_lettered(&scene, &messages, None).await?;
    let daemon = scene.daemon().await?;
    for times in 2..4 {
        let answer = letters(&scene, &["requeue", "--all", "--json"])?;
        assert_eq!(answer.status, 0, "{answer:?}");
        let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
        assert_eq!(said["done"], 50, "{said}");
        scene.waits(&scene.dead_letter_queue(), 50).await?;
        let mut sql = scene.sql().await?;
        let rejected: i64 =
            sqlx::query_scalar("select count(*) from audit.rejections").fetch_one(&mut sql).await?;
        assert_eq!(rejected, 50 * times);
        // Their records are found under their first address, each time.
        let listed = letters(&scene, &["list", "--reason", "malformed", "-f", "json"])?.json()?;
        assert_eq!(listed.as_array().map(Vec::len), Some(50));
    }
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_death_changes_no_address() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let text = |text: &str| FieldValue::String(text.to_owned());
    let death = BTreeMap::from([
        ("queue".to_owned(), text(&scene.queue())),
        ("reason".to_owned(), text("rejected")),
        ("exchange".to_owned(), text("forged")),
        ("routing-keys".to_owned(), FieldValue::Array(vec![text("forged.key")])),
        ("count".to_owned(), FieldValue::I64(1)),
        ("time".to_owned(), FieldValue::Timestamp(1_700_000_000)),
    ]);
    let headers =
        BTreeMap::from([("x-death".to_owned(), FieldValue::Array(vec![FieldValue::Table(death)]))]);
    let mut message = event(0);
    message.routing_key = scene.queue();
    message.properties = Properties { headers: Some(headers), ..message.properties };
    scene.publish(&[message]).await?;
    scene.stored(1).await?;
    let mut sql = scene.sql().await?;
    let address: (String, String) =
        sqlx::query_as("select exchange, routing_key from audit.events")
            .fetch_one(&mut sql)
            .await?;
    assert_eq!(address, (scene.exchange(), scene.queue()));
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_stays_with_the_reason_said() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let mut messages = malformed(6);
    // The broker takes it from this user alone, whom nobody is when it is sent again.
    messages[2].properties.user_id = Some(scene.address()?.user);
    dead_lettered(&scene, &messages, None).await?;
    // And one that nobody dead-lettered.
    let publisher = scene.publisher().await?;
    let (exchange, none) = (scene.dead_letter_exchange(), Properties::default());
    let stray = publisher.publish(&exchange, "stray", &none, b"stray".to_vec()).await?;
    assert!(stray.taken().await?);
    publisher.close().await;
    scene.waits(&scene.dead_letter_queue(), 7).await?;
    let other = testbed_user(&scene).await?;
    let answer = letters(&other, &["requeue", "--all"])?;
    assert_eq!(answer.status, 4, "{answer:?}");
    assert!(
        answer.stderr.contains("left: bad-2: its user_id is")
            && answer.stderr.contains("it never died"),
        "{answer:?}"
    );
    scene.waits(&scene.dead_letter_queue(), 2).await?;
    scene.waits(&scene.queue(), 5).await?;
    let answer = letters(&other, &["requeue", "--id", "bad-2", "--without-user-id"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(drain(&scene, &scene.dead_letter_queue()).await?, [b"stray"]);
    // Without an audit queue there is nowhere to go.
    let nowhere = scene.clone().with("rabbitmq.queue", "nowhere");
    assert_eq!(letters(&nowhere, &["requeue", "--all"])?.status, 1);
    Ok(())
}

/// The scene as another user of the broker, who may do anything.
pub async fn testbed_user(scene: &Scene) -> Result<Scene> {
    let bed = Bed::shared().await?;
    bed.rabbitmq.ctl(&["add_user", &scene.name, "secret"]).await?;
    bed.rabbitmq.ctl(&["set_permissions", &scene.name, ".*", ".*", ".*"]).await?;
    let url = bed.rabbitmq.amqp_url();
    let (scheme, rest) = url.split_once("://").unwrap_or(("amqp", &url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    Ok(scene.clone().through(Some(format!("{scheme}://{}:secret@{host}", scene.name)), None))
}

#[tokio::test(flavor = "multi_thread")]
async fn they_go_back_to_where_they_came_from() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(9);
    dead_lettered(&scene, &messages, None).await?;
    let answer = letters(&scene, &["requeue", "--key", "bad.1", "--to-original", "--yes"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    scene.waits(&scene.dead_letter_queue(), 6).await?;
    let back = drain(&scene, &scene.queue()).await?;
    assert_eq!(back, [1, 4, 7].map(|n| messages[n].body.clone()));
    let answer = letters(&scene, &["requeue", "--limit", "2"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(drain(&scene, &scene.queue()).await?, [0, 2].map(|n| messages[n].body.clone()));
    assert_eq!(
        drain(&scene, &scene.dead_letter_queue()).await?,
        [3, 5, 6, 8].map(|n| messages[n].body.clone())
    );
    Ok(())
}
