//! Taken out for good: on record, and kept where somebody asked for that.

use anyhow::{Context as _, Result};

use super::{dead_lettered, letters, malformed, strict};
use crate::support::{Bed, UNPARSABLE, drain};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_discarded_is_on_record_and_saved_before() -> Result<()> {
    assert!(!UNPARSABLE.is_empty());
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(30);
    dead_lettered(&scene, &messages, Some(15)).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("discarded.ndjson");
    let path = file.to_str().context("a path")?;
    let discard =
        ["discard", "--key", "bad.0", "--because", "left by a trial", "--save", path, "--yes"];
    let answer = letters(&scene, &discard)?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.text().contains("10 dead letter(s) discarded"), "{answer:?}");
    scene
        .counts(
            10,
            "select count(*) from audit.dead_letter_actions where action = 'discarded' and reason = 'left by a trial'
                and role = session_user and os_user <> '' and host <> '' and routing_key = 'bad.0' and died_of = 'malformed'
                and event_id like 'bad-%' and target is null and queue like '%.dlq at %'",
        )
        .await?;
    let saved = std::fs::read_to_string(&file)?;
    let bodies: Vec<_> = saved
        .lines()
        .map(|line| Ok(serde_json::from_str::<serde_json::Value>(line)?["body"].clone()))
        .collect::<Result<_>>()?;
    let wanted: Vec<_> = (0..30)
        .step_by(3)
        .map(|n| String::from_utf8_lossy(&messages[n].body).into_owned())
        .collect();
    assert_eq!(bodies, wanted);
    scene.waits(&scene.dead_letter_queue(), 21).await?;
    // A file that is there is not written over, and then nothing is discarded.
    letters(&scene, &["discard", "--all", "--because", "x", "--save", path, "--yes"])?
        .refuses(74, "--save");
    let answer = letters(&scene, &["discard", "--all", "--because", "x", "--yes"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    assert!(answer.text().contains("cannot decode"), "{answer:?}");
    assert_eq!(drain(&scene, &scene.dead_letter_queue()).await?, [b"{}"]);
    Ok(())
}
