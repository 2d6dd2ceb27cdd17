//! Dead letters that nobody would have thought of, and users who are not alone.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
};

use amqprs::channel::QueueDeleteArguments;
use anyhow::{Context as _, Result};
use bloodbank_audit::event::{FieldValue, Properties};
use nix::pty::{Winsize, openpty};
use testbed::eventually;

use super::{
    dead_lettered, letters, letters_beside, malformed, opened, requeued::testbed_user, strict,
};
use crate::support::{Bed, Message, PATIENCE, Scene, drain};

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

#[tokio::test(flavor = "multi_thread")]
async fn forged_deaths_end_no_command_and_lead_nowhere() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    dead_lettered(&scene, &[], None).await?;
    let text = |text: &str| FieldValue::String(text.to_owned());
    let death = |queue: &str, exchange: &str, keys: &[&str]| {
        FieldValue::Table(BTreeMap::from([
            ("queue".to_owned(), text(queue)),
            ("reason".to_owned(), text("rejected")),
            ("exchange".to_owned(), text(exchange)),
            (
                "routing-keys".to_owned(),
                FieldValue::Array(keys.iter().map(|key| text(key)).collect()),
            ),
            ("count".to_owned(), FieldValue::I64(i64::MAX)),
        ]))
    };
    let long = "x".repeat(300);
    let forged = [
        // An exchange that no exchange can be called like, and more deaths than there are numbers.
        [death(&scene.queue(), &long, &["key"]), death("other", "bus", &["key"])],
        // From nowhere.
        [death(&scene.queue(), "bus", &[]), FieldValue::Void],
    ];
    let publisher = scene.publisher().await?;
    for deaths in forged {
        let headers = BTreeMap::from([("x-death".to_owned(), FieldValue::Array(deaths.into()))]);
        let properties = Properties { headers: Some(headers), ..Properties::default() };
        let exchange = scene.dead_letter_exchange();
        let sent = publisher.publish(&exchange, "key", &properties, b"forged".to_vec()).await?;
        assert!(sent.taken().await?);
    }
    publisher.close().await;
    scene.waits(&scene.dead_letter_queue(), 2).await?;
    let listed = letters(&scene, &["list", "-f", "json"])?.json()?;
    assert_eq!(listed[0]["times_died"], i64::MAX, "{listed}");
    let answer = letters(&scene, &["requeue", "--all", "--to-original", "--yes"])?;
    assert_eq!(answer.status, 4, "{answer:?}");
    assert!(
        answer.stderr.contains("longer than 255 bytes")
            && answer.stderr.contains("nothing says where it came from"),
        "{answer:?}"
    );
    scene.waits(&scene.dead_letter_queue(), 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_is_told_so_at_once() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = strict(bed).await?;
    let messages = malformed(3);
    dead_lettered(&scene, &messages, None).await?;
    let other = testbed_user(&scene).await?;
    bed.rabbitmq.ctl(&["set_permissions", &scene.name, ".*", ".*", ""]).await?;
    letters(&other, &["list"])?.refuses(69, "ACCESS_REFUSED");
    for command in [
        &["requeue", "--all", "--patience", "20s"][..],
        &["discard", "--all", "--because", "x", "--yes", "--patience", "20s"],
    ] {
        let answer = letters(&other, command)?;
        assert_eq!(answer.status, 69, "{answer:?}");
        assert!(
            answer.stderr.contains("ACCESS_REFUSED") && !answer.stderr.contains("again"),
            "{answer:?}"
        );
    }
    bed.rabbitmq.ctl(&["set_permissions", &scene.name, ".*", "", ".*"]).await?;
    let answer = letters(&other, &["requeue", "--all"])?;
    assert_eq!(answer.status, 69, "{answer:?}");
    assert!(answer.stderr.contains("ACCESS_REFUSED"), "{answer:?}");
    scene.waits(&scene.dead_letter_queue(), 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_discarded_than_was_asked_about() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let messages = malformed(5);
    dead_lettered(&scene, &messages[..3], None).await?;
    let terminal = openpty(None, None)?;
    let mut command = scene.command(&["dead-letters", "discard", "--all", "--because", "x"]);
    command.stdin(terminal.slave.try_clone()?).stdout(terminal.slave.try_clone()?);
    let mut child = command.stderr(terminal.slave).spawn()?;
    drop(command);
    let mut master = File::from(terminal.master);
    let (mut screen, mut buffer) = (String::new(), [0; 4096]);
    while !screen.contains("[y/N]") {
        let read = master.read(&mut buffer)?;
        screen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(screen.contains("3 dead letter(s)"), "{screen}");
    // It stands and waits for an answer, and meanwhile more come.
    dead_lettered_too(&scene, &messages[3..]).await?;
    master.write_all(b"y\n")?;
    assert_eq!(child.wait()?.code(), Some(0));
    let left: Vec<_> = messages[3..].iter().map(|message| message.body.clone()).collect();
    assert_eq!(drain(&scene, &scene.dead_letter_queue()).await?, left);
    Ok(())
}

/// Publishes these as well, and awaits that they are dead letters.
async fn dead_lettered_too(scene: &Scene, messages: &[Message]) -> Result<()> {
    let before = scene.ready(&scene.dead_letter_queue()).await?;
    let daemon = scene.daemon().await?;
    scene.publish(messages).await?;
    scene.waits(&scene.dead_letter_queue(), before + messages.len()).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_another_command_has_in_hand_are_waited_for() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    // Nothing tells them apart.
    let messages: Vec<_> = (0..300).map(|_| Message::new("bad.same", "no json")).collect();
    dead_lettered(&scene, &messages, None).await?;
    // It has read a page, and sends that slowly.
    let log = tempfile::NamedTempFile::new()?;
    let requeue = scene
        .command(&["dead-letters", "requeue", "--all", "--rate", "50/s", "--json"])
        .stdout(Stdio::piped())
        .stderr(log.reopen()?)
        .spawn()?;
    scene.counts_at_least(1, "select count(*) from audit.dead_letter_actions").await?;
    let mut other = opened(&scene).await?;
    other.permit(300);
    while other.next().await?.is_some() {}
    eventually("it misses some", PATIENCE, async || {
        let said = std::fs::read_to_string(log.path()).unwrap_or_default();
        if said.contains("another connection has them in hand") { Ok(()) } else { Err(said) }
    })
    .await?;
    assert!(other.close().await);
    let answer = requeue.wait_with_output()?;
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    assert_eq!(answer.status.code(), Some(0), "{said}");
    assert_eq!((&said["done"], &said["repeated"]), (&300.into(), &0.into()), "{said}");
    scene.waits(&scene.dead_letter_queue(), 0).await?;
    assert_eq!(drain(&scene, &scene.queue()).await?.len(), 300);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_another_command_keeps_are_not_waited_for_beyond_patience() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    dead_lettered(&scene, &malformed(300), None).await?;
    let requeue =
        letters_beside(&scene, &["requeue", "--all", "--rate", "50/s", "--patience", "1s"])?;
    scene.counts_at_least(1, "select count(*) from audit.dead_letter_actions").await?;
    let mut other = opened(&scene).await?;
    other.permit(300);
    while other.next().await?.is_some() {}
    assert_eq!(requeue.ends().await?, 0, "{:#?}", requeue.log());
    assert_eq!(requeue.said("in somebody else's hands"), 1, "{:#?}", requeue.log());
    assert!(other.close().await);
    assert_eq!(letters(&scene, &["requeue", "--all"])?.status, 0);
    assert_eq!(drain(&scene, &scene.queue()).await?.len(), 300);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_at_a_pager_holds_no_letter() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    // More lines than a pipe and a buffer hold.
    dead_lettered(&scene, &malformed(5000), None).await?;
    let directory = tempfile::tempdir()?;
    let [begun, over] = ["begun", "over"].map(|name| directory.path().join(name));
    let pager = format!(
        "head -c 1 >/dev/null; touch {}; until test -e {}; do sleep 0.05; done; cat >/dev/null",
        begun.display(),
        over.display()
    );
    let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None)?;
    let mut command = scene.command(&["dead-letters", "list"]);
    command.env("PAGER", pager).stdout(terminal.slave.try_clone()?).stderr(terminal.slave);
    let mut child = command.spawn()?;
    drop(command);
    eventually("the pager has something to show", PATIENCE, async || {
        if begun.exists() { Ok(()) } else { Err("nothing") }
    })
    .await?;
    let seen = scene.ready(&scene.dead_letter_queue()).await;
    std::fs::write(&over, "")?;
    assert_eq!((child.wait()?.code(), seen?), (Some(0), 5000));
    drop(terminal.master);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_with_the_same_body_are_each_looked_up_once() -> Result<()> {
    const SAME: i64 = 400;
    let scene = strict(Bed::shared().await?).await?;
    let same: Vec<_> = (0..SAME).map(|_| Message::new("bad.same", "no json")).collect();
    dead_lettered(&scene, &same, None).await?;
    let listed = letters(&scene, &["list", "--reason", "malformed", "-f", "json"])?.json()?;
    assert_eq!(listed.as_array().map(Vec::len), Some(SAME.try_into()?));
    // The server counts when a connection ends.
    const READ: &str = "select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables where relname = 'rejections'";
    scene.counts_at_least(SAME, READ).await?;
    let read = scene.number(READ).await?;
    assert!(read < 10 * SAME, "{read} rows were read for {SAME}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_export_leaves_no_empty_file() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    dead_lettered(&scene, &malformed(2), None).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("letters.ndjson");
    let path = file.to_str().context("a path")?;
    let nowhere = scene.clone().with("rabbitmq.dead_letter_queue", "nowhere");
    letters(&nowhere, &["export", "--output", path])?.refuses(69, "'nowhere'");
    assert!(!file.exists());
    assert_eq!(letters(&scene, &["export", "--output", path])?.status, 0);
    letters(&scene, &["export", "--output", path])?.refuses(74, "name another one");
    assert_eq!(std::fs::read_to_string(&file)?.lines().count(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_what_nobody_reads() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    dead_lettered(&scene, &malformed(2), None).await?;
    without_a_queue(&scene).await?;
    for arguments in
        [&["dead-letters", "requeue", "--all"][..], &["dead-letters", "requeue", "--all", "--json"]]
    {
        let (reader, nobody_reads) = std::io::pipe()?;
        drop(reader);
        let full = File::options().write(true).open("/dev/full")?;
        for stdout in [Stdio::from(nobody_reads), Stdio::from(full)] {
            assert_eq!(scene.command(arguments).stdout(stdout).status()?.code(), Some(4));
        }
    }
    scene.waits(&scene.dead_letter_queue(), 2).await
}
