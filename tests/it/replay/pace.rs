//! Paced by the target, and on record for whoever goes on.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use testbed::{Mode, Proxy};

use super::{
    YESTERDAY, begins, history, last_replay, numbers, quorum_queue, replays, taken, waits_at_least,
};
use crate::support::{Bed, Kept};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_never_deeper_than_it_may_be() -> Result<()> {
    let scene = history(Bed::shared().await?, 200).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue, "--until-depth", "70"]].concat();
    let replay = begins(&scene, &arguments)?;
    scene.waits(&queue, 70).await?;
    scene.counts(70, "select confirmed from audit.replays").await?;
    assert_eq!(taken(&scene, &queue).await?.len(), 70);
    scene.waits(&queue, 70).await?;
    scene.counts(140, "select confirmed from audit.replays").await?;
    replay.signal(Signal::SIGINT)?;
    assert_eq!(replay.ends().await?, 75, "{:?}", replay.log());
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (71..=140).collect::<Vec<_>>());

    // It goes on with its own pace; or with another one.
    let id = last_replay(&scene).await?;
    let answer = replays(&scene, &["--resume", &id, "--until-depth", "1000"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (141..=200).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_confirms_slowly_gets_one_at_a_time() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = history(bed, 2000).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let proxy = Proxy::start(bed.rabbitmq.port()).await?;
    let url = bed.rabbitmq.amqp_url_at(proxy.port());
    let paced = ["--to-queue", &queue, "--url", &url, "--until-depth", "100000", "--rate", "200/s"];
    let replay = begins(&scene, &[&YESTERDAY[..], &paced].concat())?;
    waits_at_least(&scene, &queue, 100).await?;
    proxy.set(Mode::Delay(Duration::from_millis(1200))).await;
    replay.says("one event at a time", 1).await?;
    proxy.set(Mode::Forward).await;
    replay.says("confirms come as before", 1).await?;
    assert_eq!(replay.ends().await?, 0, "{:?}", replay.log());
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (1..=2000).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_it_has_begun_is_not_meant() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = crate::support::Scene::migrated(bed).await?;
    let yesterday = |seq: i64| Kept { days: 1, ..Kept::new(seq, "a.b") };
    scene.keeps(&(1..=20).map(yesterday).collect::<Vec<_>>()).await?;
    let queue = quorum_queue(&scene, "target").await?;
    // A relative time is fixed when it begins, and so is the end.
    let replay = begins(&scene, &["--since", "3d", "--to-queue", &queue, "--until-depth", "10"])?;
    scene.counts(10, "select confirmed from audit.replays").await?;
    replay.signal(Signal::SIGTERM)?;
    assert_eq!(replay.ends().await?, 75);
    let fixed = "select count(*) from audit.replays where (filter->>'until')::timestamptz <= now()
                    and (filter->>'since')::timestamptz between now() - interval '73 hours' and now() - interval '71 hours'";
    scene.counts(1, fixed).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "select audit.ensure_partition(now(), 'daily');
         insert into audit.events (received_at, seq, exchange, routing_key, correlation_ids, conflict, malformed, redelivered,
                properties, payload)
         values (now(), 77, 'bus', 'late', '{}', false, false, false, '{}', '{\"number\": 77}')",
    )
    .execute(&mut sql)
    .await?;
    assert_eq!(taken(&scene, &queue).await?.len(), 10);
    let id = last_replay(&scene).await?;
    let answer = replays(&scene, &["--resume", &id, "--rate", "1000/s"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (11..=20).collect::<Vec<_>>());
    Ok(())
}
