//! The target's leader dies under a replay, again and again. RabbitMQ 3.10 then does not take what is published on channels
//! that were opened in that moment, until others are opened.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use bloodbank_audit::replay::WINDOW;
use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

use super::{YESTERDAY, begins, numbers, quorum_queue, replays, taken, waits_at_least};
use crate::support::{
    Scene,
    cluster::{lead, on_all_nodes, saved},
    made_history,
};

const EVENTS: i32 = 4_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_did_not_take_is_published_again() -> Result<()> {
    let (brokers, postgres) = tokio::try_join!(
        RabbitMq::start_cluster(RabbitMqOptions::default()),
        Postgres::start(PostgresOptions::default())
    )?;
    let [own, second, third] = &brokers;
    let scene = Scene::between(own, &postgres).await?;
    assert_eq!(scene.asks(&["migrate"])?.status, 0);
    made_history(&mut scene.sql().await?, 1, EVENTS).await?;
    let queue = quorum_queue(&scene, "target").await?;
    on_all_nodes(std::slice::from_ref(&queue), &brokers).await?;
    saved(own).await?;

    // In the middle.
    let to_queue = [&YESTERDAY[..], &["--to-queue", &queue]].concat();
    lead(&queue, second).await?;
    let replay = begins(&scene, &[&to_queue[..], &["--rate", "1000/s"]].concat())?;
    waits_at_least(&scene, &queue, 500).await?;
    second.kill();
    assert_eq!(replay.ends().await?, 0, "{:#?}", replay.log());
    all_are_there(&scene, &queue).await?;

    // In that moment.
    for (back, node) in [(second, third), (third, second), (second, third)] {
        back.start_again().await?;
        on_all_nodes(std::slice::from_ref(&queue), &brokers).await?;
        lead(&queue, node).await?;
        node.kill();
        let replay = replays(&scene, &to_queue)?;
        println!("{}", replay.stderr);
        assert_eq!(replay.status, 0, "{replay:?}");
        all_are_there(&scene, &queue).await?;
    }
    let settled =
        "select count(*) from audit.replays where state = 'finished' and confirmed = matched";
    scene.counts(4, settled).await
}

/// Takes what is in the queue. None of these deaths ends the replay's own connection: no more is published again than was
/// not taken.
async fn all_are_there(scene: &Scene, queue: &str) -> Result<()> {
    let found = numbers(&taken(scene, queue).await?)?;
    let all: BTreeSet<_> = found.iter().copied().collect();
    ensure!(all.iter().copied().eq(1..=i64::from(EVENTS)), "{} of {EVENTS}", all.len());
    let repeated = found.len() - all.len();
    println!("{repeated} came again");
    ensure!(repeated <= WINDOW, "{repeated} came again");
    Ok(())
}
