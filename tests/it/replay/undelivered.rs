//! What reaches no queue is counted, listed, and makes the exit status 4.

use amqprs::{FieldValue as Theirs, channel::ExchangeDeclareArguments};
use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{YESTERDAY, begins, bind, history, numbers, queue, quorum_queue, replays, taken};
use crate::support::{Bed, Scene};

/// Replays with a report: the status, the summary, and the lines of the report.
fn reported(scene: &Scene, arguments: &[&str]) -> Result<(i32, Value, Vec<Value>)> {
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.ndjson");
    let path = report.to_str().context("a path")?;
    let answer = replays(scene, &[arguments, &["--json", "--report", path]].concat())?;
    let lines = std::fs::read_to_string(&report)?;
    let lines = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let summary = serde_json::from_slice(&answer.stdout).with_context(|| format!("{answer:?}"))?;
    Ok((answer.status, summary, lines))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_is_bound_for_is_listed() -> Result<()> {
    let scene = history(Bed::shared().await?, 100).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let exchange = scene.exchange();
    let daemonless =
        replays(&scene, &[&YESTERDAY[..], &["--to-exchange", &exchange, "--yes"]].concat())?;
    daemonless.refuses(69, "NOT_FOUND");
    let prefix = format!("{}.", scene.name);
    bind(&scene, &queue, "amq.topic", &format!("{prefix}kind.*.seen")).await?;
    // One key in ten has a fourth word.
    let arguments =
        [&YESTERDAY[..], &["--to-exchange", "amq.topic", "--key-prefix", &prefix]].concat();
    let (status, summary, lines) = reported(&scene, &arguments)?;
    assert_eq!(status, 4);
    assert_eq!((&summary["confirmed"], &summary["unroutable"]), (&90.into(), &10.into()));
    assert_eq!(taken(&scene, &queue).await?.len(), 90);
    assert_eq!(lines.len(), 10);
    for line in &lines {
        assert_eq!(
            (&line["outcome"], &line["reason"]),
            (&"unroutable".into(), &"312 NO_ROUTE".into())
        );
        assert!(line["routing_key"].as_str().unwrap().ends_with(".again"), "{line}");
        assert!(line["id"].is_string() && line["received_at"].is_string(), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_does_not_take_is_listed() -> Result<()> {
    let scene = history(Bed::shared().await?, 30).await?;
    let limit = [("x-max-length", Theirs::l(10)), ("x-overflow", "reject-publish".into())];
    let full = queue(&scene, "full", &limit).await?;
    // Without patience it is not waited for long that the queue may be read from, and the answer is the same.
    let arguments = [&YESTERDAY[..], &["--to-queue", &full, "--patience", "200ms"]].concat();
    let (status, summary, lines) = reported(&scene, &arguments)?;
    assert_eq!(status, 4);
    assert_eq!((&summary["confirmed"], &summary["nacked"]), (&10.into(), &20.into()));
    assert_eq!(numbers(&taken(&scene, &full).await?)?, (1..=10).collect::<Vec<_>>());
    let seqs: Vec<_> = lines.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (11..=30).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| line["outcome"] == "nacked"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn its_report_is_the_list_of_the_next_replay_whatever_ids_there_are() -> Result<()> {
    let scene = history(Bed::shared().await?, 30).await?;
    let limit = [("x-max-length", Theirs::l(10)), ("x-overflow", "reject-publish".into())];
    let full = queue(&scene, "full", &limit).await?;
    let target = quorum_queue(&scene, "target").await?;
    // Without an id; and another one under the id of one that is delivered, which is not to come again.
    sqlx::raw_sql(
        "update audit.events set event_id = null where seq in (12, 13);
         update audit.events set event_id = (select event_id from audit.events where seq = 3), conflict = true,
                conflict_digest = '\\x00' where seq = 14",
    )
    .execute(&mut scene.sql().await?)
    .await?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.ndjson");
    let report = report.to_str().context("a path")?;
    let first =
        replays(&scene, &[&YESTERDAY[..], &["--to-queue", &full, "--report", report]].concat())?;
    assert_eq!(first.status, 4, "{first:?}");
    let next = replays(&scene, &["--ids-from", report, "--to-queue", &target])?;
    assert_eq!((next.status, next.stderr.contains("stored no more")), (0, false), "{next:?}");
    assert_eq!(numbers(&taken(&scene, &target).await?)?, (11..=30).collect::<Vec<_>>());

    sqlx::raw_sql("delete from audit.events where seq in (12, 14)")
        .execute(&mut scene.sql().await?)
        .await?;
    let next = replays(&scene, &["--ids-from", report, "--to-queue", &target])?;
    assert!(
        next.stderr.contains("2 event(s) of the list are stored no more, the first of them seq 12"),
        "{next:?}"
    );
    assert_eq!(taken(&scene, &target).await?.len(), 18);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_named_with_the_way_out() -> Result<()> {
    let scene = history(Bed::shared().await?, 12).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let mut sql = scene.sql().await?;
    sqlx::query("update audit.events set properties = '{\"user_id\": \"somebody\"}' where seq = 3")
        .execute(&mut sql)
        .await?;
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue]].concat();
    let (status, summary, lines) = reported(&scene, &arguments)?;
    assert_eq!((status, &summary["refused"]), (4, &1.into()));
    assert!(lines[0]["reason"].as_str().unwrap().contains("--without-user-id"), "{lines:?}");
    assert_eq!(taken(&scene, &queue).await?.len(), 11);
    let (status, _, lines) = reported(&scene, &[&arguments[..], &["--without-user-id"]].concat())?;
    assert_eq!((status, lines.len()), (0, 0));
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (1..=12).collect::<Vec<_>>());

    // Their exchange is not on this broker.
    let original = [&YESTERDAY[..], &["--to-original", "--yes"]].concat();
    let (status, summary, lines) = reported(&scene, &original)?;
    assert_eq!((status, &summary["refused"]), (4, &12.into()));
    assert!(lines[0]["reason"].as_str().unwrap().contains("no exchange 'made'"), "{lines:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_that_is_read_from_in_time_gets_all_of_it() -> Result<()> {
    let scene = history(Bed::shared().await?, 12).await?;
    let limit = [("x-max-length", Theirs::l(10)), ("x-overflow", "reject-publish".into())];
    let full = queue(&scene, "full", &limit).await?;
    let replay = begins(&scene, &[&YESTERDAY[..], &["--to-queue", &full]].concat())?;
    replay.says("trying on another channel", 1).await?;
    assert_eq!(numbers(&taken(&scene, &full).await?)?, (1..=10).collect::<Vec<_>>());
    assert_eq!(replay.ends().await?, 0, "{:?}", replay.log());
    assert_eq!(numbers(&taken(&scene, &full).await?)?, [11, 12]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_routing_key_leaves_the_others_alone() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = history(bed, 100).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let exchange = format!("{}.topic", scene.name);
    let (connection, channel) = scene.client().await?;
    channel.exchange_declare(ExchangeDeclareArguments::new(&exchange, "topic")).await?;
    connection.close().await?;
    bind(&scene, &queue, &exchange, "#").await?;
    let user = format!("{}_user", scene.name);
    bed.rabbitmq.ctl(&["add_user", &user, "secret"]).await?;
    bed.rabbitmq.ctl(&["set_permissions", &user, ".*", ".*", ".*"]).await?;
    // Its types but one, whose keys have a fourth word at times.
    let allowed = r"^kind\.[0-79]\.";
    bed.rabbitmq.ctl(&["set_topic_permissions", &user, &exchange, allowed, ".*"]).await?;
    let url = format!("amqp://{user}:secret@127.0.0.1:{}/%2f", bed.rabbitmq.port());
    let arguments = [&YESTERDAY[..], &["--to-exchange", &exchange, "--url", &url]].concat();
    let (status, summary, lines) = reported(&scene, &arguments)?;
    assert_eq!((status, &summary["state"]), (4, &"finished".into()));
    assert_eq!((&summary["confirmed"], &summary["refused"]), (&90.into(), &10.into()));
    for line in &lines {
        assert!(line["routing_key"].as_str().unwrap().starts_with("kind.8."), "{line}");
        assert!(line["reason"].as_str().unwrap().contains("access to topic"), "{line}");
    }
    let mut found = numbers(&taken(&scene, &queue).await?)?;
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 90);

    // Where all are, it ends, and goes on when that is mended.
    bed.rabbitmq.ctl(&["set_permissions", &user, ".*", "", ".*"]).await?;
    let answer = replays(&scene, &arguments)?;
    assert_eq!(answer.status, 69, "{answer:?}");
    assert!(answer.stderr.contains("access to exchange"), "{answer:?}");
    bed.rabbitmq.ctl(&["delete_user", &user]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_that_has_passed_is_left_out_with_a_word() -> Result<()> {
    let scene = history(Bed::shared().await?, 5).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let mut sql = scene.sql().await?;
    sqlx::query("update audit.events set properties = '{\"expiration\": \"1000\"}' where seq = 2")
        .execute(&mut sql)
        .await?;
    let answer = replays(&scene, &[&YESTERDAY[..], &["--to-queue", &queue]].concat())?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.text().contains("1 event(s) went without their expiration"), "{answer:?}");
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, [1, 2, 3, 4, 5]);
    Ok(())
}
