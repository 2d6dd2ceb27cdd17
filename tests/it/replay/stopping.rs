//! Stopped by a signal: what was published is settled and on record.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{
    YESTERDAY, begins, history, last_replay, numbers, quorum_queue, replays, taken, waits_at_least,
};
use crate::support::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_one_goes_on_without_a_gap_or_a_repeat() -> Result<()> {
    let scene = history(Bed::shared().await?, 3000).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue, "--rate", "1000/s"]].concat();
    let replay = begins(&scene, &arguments)?;
    waits_at_least(&scene, &queue, 100).await?;
    let id = last_replay(&scene).await?;

    // While it runs, nobody else works on it.
    replays(&scene, &["--resume", &id])?.refuses(2, "another process works on replay");
    assert!(replays(&scene, &["--list"])?.text().contains("running"));

    replay.signal(Signal::SIGINT)?;
    assert_eq!(replay.ends().await?, 75, "{:?}", replay.log());
    let confirmed =
        scene.number("select confirmed from audit.replays where state = 'stopped'").await?;
    scene.waits(&queue, usize::try_from(confirmed)?).await?;
    assert!(confirmed < 3000);
    assert!(replays(&scene, &["--list", "--json"])?.text().contains("\"stopped\""));

    let answer = replays(&scene, &["--resume", &id, "--rate", "1000000/s", "--json"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    assert_eq!((&said["settled"], &said["state"]), (&3000.into(), &"finished".into()));
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (1..=3000).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replays_at_once_do_not_mix() -> Result<()> {
    let scene = history(Bed::shared().await?, 1000).await?;
    let (one, other) = (quorum_queue(&scene, "one").await?, quorum_queue(&scene, "other").await?);
    let to = |queue| begins(&scene, &[&YESTERDAY[..], &["--to-queue", queue]].concat());
    let (first, second) = (to(&one)?, to(&other)?);
    for replay in [first, second] {
        assert_eq!(replay.ends().await?, 0, "{:?}", replay.log());
    }
    for queue in [one, other] {
        assert_eq!(numbers(&taken(&scene, &queue).await?)?, (1..=1000).collect::<Vec<_>>());
    }
    scene.counts(2, "select count(*) from audit.replays where state = 'finished'").await?;

    // As many are listed as are asked for.
    let listed = |arguments: &[&str]| -> Result<usize> {
        let answer = replays(&scene, &[&["--list", "--json"], arguments].concat())?;
        Ok(serde_json::from_slice::<Vec<serde_json::Value>>(&answer.stdout)?.len())
    };
    assert_eq!((listed(&[])?, listed(&["--limit", "1"])?), (2, 1));
    sqlx::raw_sql(
        "insert into audit.replays (id, role, os_user, host, filter, target, pace, matched, runner, state)
         select gen_random_uuid(), role, os_user, host, filter, target, pace, matched, runner, state
           from audit.replays, generate_series(1, 600)",
    )
    .execute(&mut scene.sql().await?)
    .await?;
    let answer = replays(&scene, &["--list"])?;
    assert!(answer.stderr.contains("more replays than these 1000"), "{answer:?}");
    assert_eq!((listed(&[])?, listed(&["--limit", "1100"])?), (1000, 1100));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_gone_on_with_is_not_left_as_running() -> Result<()> {
    let scene = history(Bed::shared().await?, 3000).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue, "--rate", "1000/s"]].concat();
    let replay = begins(&scene, &arguments)?;
    waits_at_least(&scene, &queue, 100).await?;
    replay.signal(Signal::SIGINT)?;
    assert_eq!(replay.ends().await?, 75, "{:?}", replay.log());
    // It hands events out, which is to be noted, and cannot be.
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("alter table audit.access_log add constraint full_up check (false) not valid")
        .execute(&mut sql)
        .await?;
    let id = last_replay(&scene).await?;
    replays(&scene, &["--resume", &id])?.refuses(69, "audit.access_log");
    scene.counts(1, "select count(*) from audit.replays where state = 'failed' and cause like '%access_log%'").await?;
    sqlx::raw_sql("alter table audit.access_log drop constraint full_up").execute(&mut sql).await?;
    assert_eq!(replays(&scene, &["--resume", &id, "--rate", "1000000/s"])?.status, 0);
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, (1..=3000).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_go_while_it_runs_are_said_to_be_missing() -> Result<()> {
    let scene = history(Bed::shared().await?, 300).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let arguments = [&YESTERDAY[..], &["--to-queue", &queue, "--until-depth", "100"]].concat();
    let replay = begins(&scene, &arguments)?;
    scene.waits(&queue, 100).await?;
    replay.signal(Signal::SIGINT)?;
    assert_eq!(replay.ends().await?, 75, "{:?}", replay.log());
    sqlx::raw_sql("delete from audit.events where seq between 201 and 250")
        .execute(&mut scene.sql().await?)
        .await?;
    let id = last_replay(&scene).await?;
    let answer = replays(&scene, &["--resume", &id, "--rate", "1000000/s", "--json"])?;
    assert_eq!(answer.status, 4, "{answer:?}");
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    assert_eq!((&said["state"], &said["settled"]), (&"finished".into(), &250.into()), "{said}");
    assert_eq!((&said["gone"], &said["matched"]), (&50.into(), &300.into()), "{said}");
    Ok(())
}
