//! The recipes of docs/replay.md, command by command.

use amqprs::FieldValue as Theirs;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::{
    begins, bind, history, last_replay, numbers, queue, quorum_queue, taken, waits_at_least,
};
use crate::support::{Bed, recipes};

#[tokio::test(flavor = "multi_thread")]
async fn each_command_does_what_it_says() -> Result<()> {
    let commands = recipes("docs/replay.md")?;
    ensure!(commands.len() == 8, "{commands:?}");
    let scene = history(Bed::shared().await?, 300).await?;
    let billing = quorum_queue(&scene, "billing").await?;
    let limit = [("x-max-length", Theirs::l(280)), ("x-overflow", "reject-publish".into())];
    let full = queue(&scene, "full", &limit).await?;
    let mut sql = scene.sql().await?;
    let sixth: String =
        sqlx::query_scalar("select md5('6')::uuid::text").fetch_one(&mut sql).await?;
    let directory = tempfile::tempdir()?;
    let report = directory.path().join("undelivered.ndjson");
    let report = report.to_str().context("a path")?;
    let trial = quorum_queue(&scene, "trial").await?;
    bind(&scene, &trial, "amq.topic", "kind.*.seen.#").await?;
    let names = [
        ("billing", &*billing),
        ("full", &full),
        ("undelivered.ndjson", report),
        ("test.events", "amq.topic"),
        ("8057a88f-1d84-5270-8500-1fe179622bcf", &sixth),
    ];
    let every_tenth: Vec<i64> = (0..30).map(|n| n * 10 + 3).collect();

    let dry = scene.runs(&commands[0], &names)?;
    assert_eq!((dry.status, dry.text().contains("30 event(s)")), (0, true), "{dry:?}");
    assert_eq!(scene.ready(&billing).await?, 0);
    assert_eq!(scene.runs(&commands[1], &names)?.status, 0);
    assert_eq!(numbers(&taken(&scene, &billing).await?)?, every_tenth);

    assert_eq!(scene.runs(&commands[2], &names)?.status, 0);
    assert_eq!(numbers(&taken(&scene, &billing).await?)?, [5, 6]);

    assert_eq!(scene.runs(&commands[3], &names)?.status, 0);
    assert_eq!(numbers(&taken(&scene, &trial).await?)?, (1..=300).collect::<Vec<_>>());

    assert_eq!(scene.runs(&commands[4], &names)?.status, 4);
    assert_eq!(scene.runs(&commands[5], &names)?.status, 0);
    assert_eq!(numbers(&taken(&scene, &billing).await?)?, (281..=300).collect::<Vec<_>>());

    let slow = ["--until", "today", "--to-queue", &billing, "--rate", "20/s"];
    let replay = begins(&scene, &slow)?;
    waits_at_least(&scene, &billing, 5).await?;
    replay.signal(Signal::SIGINT)?;
    assert_eq!(replay.ends().await?, 75, "{:?}", replay.log());
    let id = last_replay(&scene).await?;
    let listed = scene.runs(&commands[6], &names)?;
    assert!(listed.text().contains(&id) && listed.text().contains("stopped"), "{listed:?}");
    let names = [("0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11", &*id)];
    assert_eq!(scene.runs(&commands[7], &names)?.status, 0);
    assert_eq!(numbers(&taken(&scene, &billing).await?)?, (1..=300).collect::<Vec<_>>());
    Ok(())
}
