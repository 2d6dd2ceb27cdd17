//! Dead letters that nobody would have thought of, and users who are not alone.

use amqprs::channel::QueueDeleteArguments;
use anyhow::Result;

use super::{dead_lettered, letters, malformed, strict};
use crate::support::{Bed, Scene, drain};

/// The audit queue is gone.
async fn without_a_queue(scene: &Scene) -> Result<()> {
    let (connection, channel) = scene.client().await?;
    channel.queue_delete(QueueDeleteArguments::new(&scene.queue())).await?;
    Ok(connection.close().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_queue_all_stay() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(3);
    dead_lettered(&scene, &messages, None).await?;
    without_a_queue(&scene).await?;
    let answer = letters(&scene, &["requeue", "--all"])?;
    assert_eq!(answer.status, 4, "{answer:?}");
    assert!(answer.text().contains("3 unroutable"), "{answer:?}");
    scene.counts(0, "select count(*) from audit.dead_letter_actions").await?;
    let bodies: Vec<_> = messages.into_iter().map(|message| message.body).collect();
    assert_eq!(drain(&scene, &scene.dead_letter_queue()).await?, bodies);
    Ok(())
}
