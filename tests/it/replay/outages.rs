//! Either side goes away in the middle, and comes back.

use anyhow::{Context as _, Result};
use bloodbank_audit::replay::WINDOW;
use nix::sys::signal::Signal;
use testbed::{Cut, Direction, Proxy, RabbitMqOptions};

use super::{
    YESTERDAY, begins, each_in_order, history, last_replay, numbers, quorum_queue, replays, taken,
    waits_at_least,
};
use crate::support::{Bed, Body, Daemon, Kept, Scene};

/// Awaits that so many messages or more wait in a queue, and tells what the replay said where they never do.
async fn reaches(scene: &Scene, queue: &str, messages: usize, replay: &Daemon) -> Result<()> {
    let waited = waits_at_least(scene, queue, messages).await;
    waited.with_context(|| format!("its words: {:#?}", replay.log()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_outlives_the_restart_of_either_side() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = history(&bed, 6000).await?;
    let queue = quorum_queue(&scene, "target").await?;
    // Slow enough that whatever is done to a server on a busy machine comes in its middle.
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue, "--rate", "500/s"]].concat();
    let replay = begins(&scene, &arguments)?;
    reaches(&scene, &queue, 500, &replay).await?;
    bed.rabbitmq.restart().await?;
    replay.says("connecting again", 1).await?;
    let back = scene.ready(&queue).await?;
    reaches(&scene, &queue, back + 500, &replay).await?;
    bed.postgres.restart().await?;
    assert_eq!(replay.ends().await?, 0, "{:?}", replay.log());
    each_in_order(&numbers(&taken(&scene, &queue).await?)?, 6000, WINDOW);
    scene.counts(6000, "select confirmed from audit.replays where state = 'finished'").await?;

    // Without patience it ends, and goes on later.
    let last = [&arguments[..], &["--patience", "200ms"]].concat();
    let replay = begins(&scene, &last)?;
    reaches(&scene, &queue, 500, &replay).await?;
    bed.rabbitmq.stop().await?;
    assert_eq!(replay.ends().await?, 69, "{:?}", replay.log());
    bed.rabbitmq.start_again().await?;
    scene
        .counts(1, "select count(*) from audit.replays where state = 'failed' and cause <> ''")
        .await?;
    let resumed =
        replays(&scene, &["--resume", &last_replay(&scene).await?, "--rate", "1000000/s"])?;
    assert_eq!(resumed.status, 0, "{resumed:?}");
    each_in_order(&numbers(&taken(&scene, &queue).await?)?, 6000, WINDOW);

    // A broker that says nothing: the first Ctrl-C waits for it, the second does not.
    let replay = begins(&scene, &arguments)?;
    reaches(&scene, &queue, 300, &replay).await?;
    bed.rabbitmq.pause()?;
    replay.signal(Signal::SIGINT)?;
    replay.says("Ctrl-C", 1).await?;
    assert_eq!(replay.exited(), None);
    replay.signal(Signal::SIGINT)?;
    assert_eq!(replay.ends().await?, 75, "{:?}", replay.log());
    assert_eq!(replay.said("is not on record"), 1, "{:?}", replay.log());
    bed.rabbitmq.resume();
    let resumed =
        replays(&scene, &["--resume", &last_replay(&scene).await?, "--rate", "1000000/s"])?;
    assert_eq!(resumed.status, 0, "{resumed:?}");
    each_in_order(&numbers(&taken(&scene, &queue).await?)?, 6000, WINDOW);

    // An alarm holds it up, with a word, and no longer than it lasts.
    let replay = begins(&scene, &arguments)?;
    reaches(&scene, &queue, 100, &replay).await?;
    bed.rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.00000001"]).await?;
    replay.says("the broker has an alarm", 1).await?;
    bed.rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.4"]).await?;
    replay.says("the broker's alarm is over", 1).await?;
    assert_eq!(replay.ends().await?, 0, "{:?}", replay.log());
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (1..=6000).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_the_channel_is_named_and_its_neighbours_arrive() -> Result<()> {
    let bed = Bed::with(RabbitMqOptions::default().conf("max_message_size = 65536")).await?;
    let scene = crate::support::Scene::migrated(&bed).await?;
    let mut events: Vec<_> =
        (1..=60).map(|seq| Kept { days: 1, ..Kept::new(seq, "a.b") }).collect();
    for large in [20, 21, 40] {
        events[large - 1].body = Body::Bytes(vec![b'x'; 70_000]);
    }
    scene.keeps(&events).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("report.ndjson");
    let answer = replays(&scene, &["--to-queue", &queue, "--report", report.to_str().unwrap()])?;
    assert_eq!(answer.status, 4, "{answer:?}");
    let wanted: Vec<i64> = (1..=60).filter(|number| ![20, 21, 40].contains(number)).collect();
    let mut found = numbers(&taken(&scene, &queue).await?)?;
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, wanted);
    let listed = std::fs::read_to_string(&report)?;
    let seqs: Vec<i64> = listed
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["outcome"], "refused", "{line}");
            assert!(line["reason"].as_str().unwrap().contains("larger than"), "{line}");
            line["seq"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(seqs, [20, 21, 40]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_refused_for_lost_connections_only_where_the_broker_lives() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = history(&bed, 5).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let proxy = Proxy::start(bed.rabbitmq.port()).await?;
    let url = bed.rabbitmq.amqp_url_at(proxy.port());
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue, "--url", &url]].concat();
    let third = "{\"number\" : 3}";

    // Its connection alone is lost, again and again.
    proxy.cut_whenever_seen(Direction::ToServer, third, Cut::ThatOne);
    let answer = replays(&scene, &arguments)?;
    assert_eq!(answer.status, 4, "{answer:?}");
    scene.counts(1, "select refused from audit.replays where confirmed = 4").await?;

    // The broker goes away altogether, as often and more.
    proxy.cut_whenever_seen(Direction::ToServer, third, Cut::All);
    let answer = replays(&scene, &[&arguments[..], &["--patience", "8s"]].concat())?;
    assert_eq!(answer.status, 69, "{answer:?}");
    let failed = "select count(*) from audit.replays where state = 'failed' and (confirmed, refused) = (2, 0)
                     and cause like '%in a row the connection was lost with the event%seq 3'";
    scene.counts(1, failed).await
}
