//! Looked at, and taken along.

use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::{Proxy, proxy::Mode};

use super::{dead_lettered, letters, malformed, refusing, strict};
use crate::support::{Bed, Message, Scene, event};

#[tokio::test(flavor = "multi_thread")]
async fn each_is_listed_with_its_reason_while_the_daemon_runs() -> Result<()> {
    let scene = refusing(Bed::shared().await?).await?.with("ingest.max_body", "100 KiB");
    let daemon = scene.daemon().await?;
    let mut refused = event(1);
    refused.routing_key = "refused".to_owned();
    let large = Message::new("large.one", vec![b'x'; 200_000]);
    scene.publish(&[refused.clone(), large]).await?;
    scene.waits(&scene.dead_letter_queue(), 2).await?;
    scene.counts(2, "select count(*) from audit.rejections").await?;

    let listed: Vec<Value> =
        serde_json::from_value(letters(&scene, &["list", "-f", "json"])?.json()?)?;
    let id = refused.properties.message_id.clone().context("an id")?;
    assert_eq!(listed.len(), 2, "{listed:?}");
    let one = |key: &str| listed.iter().find(|one| one["routing_key"] == key).context("not listed");
    let first = one("refused")?;
    assert_eq!(
        (&first["id"], &first["reason"], &first["sqlstate"]),
        (&id.as_str().into(), &"refused".into(), &"P0001".into())
    );
    assert_eq!((&first["times_died"], &first["exchange"]), (&1.into(), &scene.exchange().into()));
    let second = one("large.one")?;
    assert_eq!((&second["reason"], &second["body_bytes"]), (&"too-large".into(), &200_000.into()));
    let digits = second["id"].as_str().context("an id")?.to_owned();
    assert!(
        digits.len() == 16
            && second["body_sha256"].as_str().is_some_and(|all| all.starts_with(&digits))
    );

    let table = letters(&scene, &["list"])?;
    for part in ["reason", "refused P0001", "too-large", "large.one", "2 dead letter(s)"] {
        assert!(table.text().contains(part), "{part}: {table:?}");
    }
    let (_, screen) = scene.asks_at_a_terminal(
        60,
        &[("PAGER", "cat"), ("NO_COLOR", "1")],
        &["dead-letters", "list"],
    )?;
    assert!(screen.lines().all(|line| line.chars().count() <= 60), "{screen}");
    assert_eq!(
        letters(&scene, &["list", "--reason", "p0001", "-f", "json"])?
            .json()?
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    letters(&scene, &["list", "--key", "nothing.#"])?.refuses(1, "");

    // By its id, by the first digits of its digest, and by neither.
    let shown = letters(&scene, &["show", &id])?;
    assert!(
        shown.text().contains("\"number\": 1") && shown.text().contains("not this one"),
        "{shown:?}"
    );
    let shown = letters(&scene, &["show", &digits[..8], "-f", "json"])?.json()?;
    assert_eq!(shown["body"].as_str().map(str::len), Some(200_000));
    letters(&scene, &["show", "nobody"])?.refuses(1, "no dead letter is called nobody");

    let directory = tempfile::tempdir()?;
    let file = directory.path().join("body");
    let path = file.to_str().context("a path")?;
    assert_eq!(letters(&scene, &["show", &id, "--save", path])?.status, 0);
    assert_eq!(std::fs::read(&file)?, refused.body);
    letters(&scene, &["show", &digits, "--save", path])?.refuses(74, "--force overwrites it");
    assert_eq!(letters(&scene, &["show", &digits, "--save", path, "--force"])?.status, 0);
    assert_eq!(std::fs::read(&file)?.len(), 200_000);

    let exported = letters(&scene, &["export"])?;
    let exported: Vec<Value> = exported
        .lines()
        .into_iter()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<_>>()?;
    let whole =
        exported.iter().find(|one| one["routing_key"] == "refused").context("not exported")?;
    assert_eq!(whole["body"].as_str().map(str::as_bytes), Some(&*refused.body));
    assert_eq!(whole["properties"]["message_id"], id);
    scene.counts(1, "select count(*) from audit.access_log where command = 'dead-letters export' and count = 2").await?;
    scene.waits(&scene.dead_letter_queue(), 2).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_the_brokers_words_are_shown() -> Result<()> {
    let bed = Bed::shared().await?;
    let database = Proxy::start(bed.postgres.port()).await?;
    let scene = strict(bed).await?.with("postgres.connect_timeout", "1s");
    dead_lettered(&scene, &malformed(3), Some(1)).await?;
    let url = bed.postgres.url_at(database.port(), &scene.name);
    let scene = scene.through(None, Some(url));
    database.set(Mode::Refuse).await;
    let listed = letters(&scene, &["list"])?;
    assert_eq!(listed.status, 0, "{listed:?}");
    assert!(
        listed.text().contains("rejected") && !listed.text().contains("malformed"),
        "{listed:?}"
    );
    assert!(listed.stderr.contains("PostgreSQL cannot be asked"), "{listed:?}");
    assert!(
        listed
            .stderr
            .contains("1 message(s) that this client cannot decode, passed by (position 2)"),
        "{listed:?}"
    );
    assert_eq!(letters(&scene, &["show", "bad-2"])?.status, 0);
    for refused in
        [&["export"][..], &["requeue", "--all"], &["discard", "--all", "--because", "x", "--yes"]]
    {
        let answer = letters(&scene, refused)?;
        assert_eq!((answer.status, answer.text()), (69, ""), "{answer:?}");
    }
    scene.waits(&scene.dead_letter_queue(), 4).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ambiguous_or_not_there_is_said() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    dead_lettered(&scene, &malformed(12), None).await?;
    letters(&scene, &["show", "bad-1"])?.lines();
    letters(&scene, &["show", "bad-"])?.refuses(2, "bad-0, bad-1");
    letters(&scene, &["requeue"])?.refuses(2, "which ones?");
    letters(&scene, &["requeue", "--all", "--id", "x"])?.refuses(2, "not both");
    letters(&scene, &["discard", "--all"])?.refuses(2, "--because");
    // A variable of a shell that is not set must not mean all.
    letters(&scene, &["discard", "--reason", "", "--because", "x", "--yes"])?
        .refuses(2, "--reason");
    letters(&scene, &["requeue", "--id", ""])?.refuses(2, "--id");
    letters(&scene, &["show", ""])?.refuses(2, "ID");
    letters(&scene, &["discard", "--all", "--because", "x"])?.refuses(2, "12 dead letter(s)");
    letters(&scene, &["requeue", "--all", "--to-original"])?.refuses(2, "--yes");
    let nowhere: Scene = scene.clone().with("rabbitmq.dead_letter_queue", "nowhere");
    letters(&nowhere, &["list"])?.refuses(69, "looking for the dead-letter queue 'nowhere'");
    scene.counts(0, "select count(*) from audit.dead_letter_actions").await?;
    scene.waits(&scene.dead_letter_queue(), 12).await
}
