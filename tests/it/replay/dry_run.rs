//! `--dry-run`: what it would be, and nothing is published.

use anyhow::Result;

use super::{YESTERDAY, history, quorum_queue, replays};
use crate::support::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn it_counts_estimates_and_publishes_nothing() -> Result<()> {
    let scene = history(Bed::shared().await?, 100).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "update audit.events set properties = '{\"user_id\": \"somebody\"}' where seq = 3;
         update audit.events set properties = '{\"expiration\": \"1\"}' where seq = 4",
    )
    .execute(&mut sql)
    .await?;
    let arguments =
        [&YESTERDAY[..], &["--to-queue", &queue, "--rate", "10/s", "--dry-run"]].concat();
    let answer = replays(&scene, &[&arguments[..], &["--json"]].concat())?;
    assert_eq!(answer.status, 4, "{answer:?}");
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    assert_eq!(said["events"], 100);
    assert_eq!(said["seconds"], 10.0);
    assert_eq!(said["types"]["kind.3.seen"], 10);
    assert_eq!((&said["refused"], &said["without_expiration"]), (&1.into(), &1.into()));
    assert_eq!(said["waiting"], 0);
    let bytes = scene
        .number("select sum(octet_length(audit.raw(e)))::int8 from audit.events e where received_at < date_trunc('day', now(), 'UTC')")
        .await?;
    assert_eq!(said["body_bytes"], bytes);
    let text = replays(&scene, &arguments)?;
    for part in ["100 event(s)", "the queue '", "about 10s", "kind.3.seen", "--without-user-id"] {
        assert!(text.text().contains(part), "{part}: {text:?}");
    }
    assert_eq!(scene.ready(&queue).await?, 0);
    scene.counts(0, "select count(*) from audit.replays").await?;

    let bus = replays(&scene, &[&YESTERDAY[..], &["--to-original", "--dry-run"]].concat())?;
    assert!(bus.text().contains(&scene.queue()), "{bus:?}");
    Ok(())
}
