//! Outages cost time, never data: the broker or the database restarts under traffic, and afterwards everything that
//! was published is stored, once.

use anyhow::Result;

use crate::support::{Bed, Message, Scene, event};

/// Publishes in portions, and hands each to `disturb` with its number before the next.
async fn under_traffic(
    scene: &Scene,
    bed: &Bed,
    disturb: impl AsyncFn(&Bed, usize) -> Result<()>,
) -> Result<Vec<Message>> {
    let mut published = Vec::new();
    for portion in 0..6 {
        let messages: Vec<_> = (0..200).map(|number| event(portion * 200 + number)).collect();
        scene.publish(&messages).await?;
        published.extend(messages);
        disturb(bed, portion).await?;
    }
    Ok(published)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_restarts_under_traffic() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?;
    let daemon = scene.daemon().await?;
    let published = under_traffic(&scene, &bed, async |bed, portion| match portion {
        1 => bed.postgres.restart().await,
        3 => {
            bed.postgres.kill();
            bed.postgres.start_again().await
        }
        4 => bed.postgres.stop().await,
        5 => {
            daemon.says("PostgreSQL cannot store", 1).await?;
            bed.postgres.start_again().await
        }
        _ => Ok(()),
    })
    .await?;
    scene.ends_with(&daemon, &published).await?;
    assert!(daemon.said("PostgreSQL is back: events are stored again") >= 1, "{:#?}", daemon.log());
    assert_eq!(daemon.said("the session with the broker ended"), 0, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_restarts_under_traffic() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?;
    let daemon = scene.daemon().await?;
    // It has to be back before the next blow, or that one would go unnoticed.
    let published = under_traffic(&scene, &bed, async |bed, portion| match portion {
        1 => {
            bed.rabbitmq.restart().await?;
            daemon.consumes(2).await
        }
        3 => {
            bed.rabbitmq.kill();
            bed.rabbitmq.start_again().await
        }
        _ => Ok(()),
    })
    .await?;
    scene.ends_with(&daemon, &published).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_leaves_nothing_unstored_and_nothing_stored_twice() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let mut published = Vec::new();
    for round in 0..5 {
        let messages: Vec<_> = (0..400).map(|number| event(round * 400 + number)).collect();
        let daemon = scene.daemon().await?;
        scene.publish(&messages).await?;
        published.extend(messages);
        // Killed wherever it happens to be.
        drop(daemon);
    }
    let daemon = scene.daemon().await?;
    scene.ends_with(&daemon, &published).await
}
