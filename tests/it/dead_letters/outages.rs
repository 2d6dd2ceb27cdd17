//! Either side goes away in the middle: none is lost.

use anyhow::Result;
use nix::sys::signal::Signal;
use testbed::{Proxy, eventually, proxy::Mode};

use super::{dead_lettered, letters, letters_beside, malformed, strict};
use crate::support::{Bed, Message, PATIENCE, Scene, digests, drain};

/// Expects that each of these is in one of the two queues, whatever else; how many there are in all.
async fn none_is_lost(scene: &Scene, messages: &[Message]) -> Result<usize> {
    let mut found = drain(scene, &scene.queue()).await?;
    found.extend(drain(scene, &scene.dead_letter_queue()).await?);
    let all = digests(&found);
    for wanted in digests(messages.iter().map(|message| &message.body)) {
        assert!(all.binary_search(&wanted).is_ok(), "one of {} is lost", messages.len());
    }
    Ok(found.len())
}

/// Awaits that at least so many are on record as sent again.
async fn sent(scene: &Scene, letters: i64) -> Result<()> {
    scene.counts_at_least(letters, "select count(*) from audit.dead_letter_actions").await
}

async fn outlive_a_restart(queue_type: &str) -> Result<()> {
    let bed = Bed::own().await?;
    let scene = strict(&bed).await?.with("rabbitmq.queue_type", queue_type);
    let messages = malformed(1000);
    dead_lettered(&scene, &messages, Some(500)).await?;
    let requeue = letters_beside(&scene, &["requeue", "--all", "--rate", "200/s"])?;
    sent(&scene, 300).await?;
    bed.rabbitmq.restart().await?;
    requeue.says("connecting again", 1).await?;
    assert_eq!(requeue.ends().await?, 0, "{:#?}", requeue.log());
    // But for the one that nobody can decode.
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    let found = none_is_lost(&scene, &messages).await?;
    assert!(found <= 1001 + 200, "{found}: more than what was under way was sent twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_outlive_the_restart_of_a_broker() -> Result<()> {
    outlive_a_restart("quorum").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_outlive_the_restart_of_a_broker_with_classic_queues() -> Result<()> {
    outlive_a_restart("classic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_waited_for_and_nothing_leaves_meanwhile() -> Result<()> {
    let bed = Bed::shared().await?;
    let database = Proxy::start(bed.postgres.port()).await?;
    let scene = strict(bed).await?.with("postgres.connect_timeout", "1s");
    let messages = malformed(400);
    dead_lettered(&scene, &messages, None).await?;
    let url = bed.postgres.url_at(database.port(), &scene.name);
    let away = scene.clone().through(None, Some(url));
    let requeue = letters_beside(&away, &["requeue", "--all", "--rate", "200/s"])?;
    sent(&scene, 50).await?;
    database.set(Mode::Refuse).await;
    database.cut().await;
    requeue.says("PostgreSQL is away", 1).await?;
    database.set(Mode::Forward).await;
    requeue.says("PostgreSQL is back", 1).await?;
    assert_eq!(requeue.ends().await?, 0, "{:#?}", requeue.log());
    scene.counts(400, "select count(*) from audit.dead_letter_actions").await?;
    scene.waits(&scene.dead_letter_queue(), 0).await?;
    assert_eq!(none_is_lost(&scene, &messages).await?, 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_settles_what_is_under_way() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(400);
    dead_lettered(&scene, &messages, None).await?;
    let requeue = letters_beside(&scene, &["requeue", "--all", "--rate", "100/s"])?;
    sent(&scene, 20).await?;
    requeue.signal(Signal::SIGINT)?;
    assert_eq!(requeue.ends().await?, 75, "{:#?}", requeue.log());
    let recorded = scene.number("select count(*) from audit.dead_letter_actions").await?;
    let done = usize::try_from(recorded)?;
    scene.waits(&scene.queue(), done).await?;
    scene.waits(&scene.dead_letter_queue(), 400 - done).await?;
    assert!(done < 400);
    assert_eq!(letters(&scene, &["requeue", "--all"])?.status, 0);
    assert_eq!(none_is_lost(&scene, &messages).await?, 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_loses_none() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(300);
    dead_lettered(&scene, &messages, None).await?;
    for so_far in [30, 100, 180] {
        let requeue = letters_beside(&scene, &["requeue", "--all", "--rate", "300/s"])?;
        sent(&scene, so_far).await?;
        requeue.signal(Signal::SIGKILL)?;
        // It is out of others' hands when the broker has noticed.
        eventually("the dead letters are back", PATIENCE, async || {
            let (back, sent) =
                (scene.ready(&scene.dead_letter_queue()).await, scene.ready(&scene.queue()).await);
            match (back, sent) {
                (Ok(back), Ok(sent)) if back + sent >= 300 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    assert_eq!(letters(&scene, &["requeue", "--all"])?.status, 0);
    none_is_lost(&scene, &messages).await?;
    Ok(())
}
