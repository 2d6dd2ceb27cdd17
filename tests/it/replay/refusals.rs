//! Wrong use, and what is not there: a clear word, the right status, and nothing published.

use anyhow::Result;

use super::{YESTERDAY, history, last_replay, quorum_queue, replays};
use crate::support::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_refused_before_anything_is_published() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = history(bed, 3).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let nowhere = "amqp://guest:guest@127.0.0.1:1/%2f";
    let unknown = "00000000-0000-4000-8000-00000000ffff";
    for (arguments, status, said) in [
        (&[][..], 2, "where to?"),
        (&["--to-original"], 2, "--yes"),
        (&["--to-exchange", &scene.exchange()], 69, "NOT_FOUND"),
        (&["--to-queue", "nobody's"], 69, "no queue 'nobody's'"),
        (&["--to-queue", &queue, "--type", "no.such"], 1, "nothing matches"),
        (&["--to-queue", &queue, "--to-original"], 2, "cannot be used with"),
        (&["--to-queue", &queue, "--key-prefix", "x."], 2, "cannot be used with"),
        (&["--to-queue", &queue, "--rate", "0/s"], 2, "500/s"),
        (&["--to-queue", &queue, "--speed", "fast"], 2, "10x"),
        (&["--to-original", "--until-depth", "5"], 2, "--to-queue"),
        (&["--to-queue", &queue, "--url", "http://x"], 2, "neither amqp nor amqps"),
        (&["--to-queue", &queue, "--url", nowhere], 69, "cannot be reached"),
        (&["--to-queue", &queue, "--ids-from", "/nowhere"], 2, "/nowhere"),
        (&["--to-queue", &queue, "--where", "no sql"], 2, "--where"),
        (&["--resume", unknown], 1, "is on record"),
        (&["--resume", unknown, "--type", "x"], 2, "give no filter"),
        (&["--replay-of", unknown, "--to-queue", &queue], 1, "is on record"),
        (&["--list", "--type", "x", "--resume", unknown], 2, "cannot be used with"),
        (&["--list", "--type", "x"], 2, "give no filter"),
        (&["--list", "--replay-of", unknown], 2, "cannot be used with"),
        (&["--list", "--rate", "5/s"], 2, "cannot be used with"),
    ] {
        let answer = replays(&scene, arguments)?;
        assert_eq!(answer.text(), "", "{arguments:?}: {answer:?}");
        assert_eq!(answer.status, status, "{arguments:?}: {answer:?}");
        assert!(answer.stderr.contains(said), "{arguments:?}: {answer:?}");
    }
    assert_eq!(replays(&scene, &["--list"])?.status, 1);
    assert_eq!(scene.ready(&queue).await?, 0);
    scene.counts(0, "select count(*) from audit.replays").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_cannot_put_it_on_record_replays_nothing() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = history(bed, 3).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let role = format!("{}_replayer", scene.name);
    bed.postgres.sql("postgres", &format!("create role {role} login")).await?;
    let grant = format!("select audit.grant_reader('{role}')");
    bed.postgres.sql(&scene.name, &grant).await?;
    let url = scene.database_url().replace("postgres@", &format!("{role}@"));
    let theirs = scene.clone().through(None, Some(url));
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue]].concat();
    replays(&theirs, &arguments)?.refuses(69, "audit.grant_replayer");
    assert_eq!(scene.ready(&queue).await?, 0);

    let grant = format!("select audit.grant_replayer('{role}')");
    bed.postgres.sql(&scene.name, &grant).await?;
    assert_eq!(replays(&theirs, &arguments)?.status, 0);
    scene.waits(&queue, 3).await?;
    let recorded =
        "select count(*) from audit.replays where role like '%_replayer' and confirmed = 3";
    scene.counts(1, recorded).await?;
    replays(&theirs, &["--resume", &last_replay(&scene).await?])?.refuses(1, "is finished");
    let mut sql = theirs.sql().await?;
    for statement in ["update audit.replays set confirmed = 0", "delete from audit.replays"] {
        let error = sqlx::query(statement).execute(&mut sql).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
    Ok(())
}
