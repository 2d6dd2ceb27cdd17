//! What was published, against what has become of it.

use anyhow::{Result, ensure};

use super::{Daemon, Message, Scene, digests};

/// Lets the daemon finish, and compares what is stored with what was published.
pub async fn lost_0_duplicates_0(
    scene: &Scene,
    daemon: Daemon,
    published: &[Message],
) -> Result<()> {
    let events = i64::try_from(published.len())?;
    scene.counts_at_least(events, "select count(*) from audit.events").await?;
    scene.waits(&scene.queue(), 0).await?;
    daemon.stops_cleanly().await?;
    scene.waits(&scene.queue(), 0).await?;
    let dead_letters = scene.ready(&scene.dead_letter_queue()).await?;
    ensure!(dead_letters == 0, "{dead_letters} dead letters");
    let twice =
        "select count(*) from (select from audit.events group by event_id having count(*) > 1) ids";
    ensure!(scene.number(twice).await? == 0, "ids are stored more than once");
    ensure!(scene.number("select count(*) from audit.rejections").await? == 0, "rejections");

    let wanted = digests(published.iter().map(|message| &message.body));
    let stored = digests(&scene.bodies().await?);
    let lost = wanted.iter().filter(|digest| stored.binary_search(digest).is_err()).count();
    ensure!(stored == wanted, "{} published, {} stored, {lost} lost", wanted.len(), stored.len());
    Ok(())
}

/// How many deliveries came again after they had been stored.
pub async fn counted_duplicates(scene: &Scene) -> Result<i64> {
    scene.number("select coalesce(sum(duplicates), 0)::int8 from audit.batches").await
}
