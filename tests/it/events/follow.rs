//! `--follow`: what commits from now on, once each.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::eventually;

use super::events;
use crate::support::{Bed, Message, PATIENCE, Scene, event};

/// Somebody who follows.
fn follows(scene: &Scene, arguments: &[&str]) -> Result<Child> {
    let mut command = scene.command(&[&["events", "--follow"], arguments].concat());
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Awaits that it has begun to: it has looked once, and waits.
async fn has_begun(scene: &Scene) -> Result<()> {
    let asking = "select count(*) from pg_stat_activity
                   where datname = current_database() and application_name = 'bloodbank-audit' and query = 'rollback'";
    eventually("it asks", PATIENCE, async || match scene.number(asking).await {
        Ok(0) => Err("not yet".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}

/// The numbers in the payloads of what it wrote, after it has ended by itself.
fn numbers(child: Child) -> Result<Vec<i64>> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{output:?}");
    let number = |line: &str| -> Result<i64> {
        let line: Value = serde_json::from_str(line)?;
        line["payload"]["payload"]["number"].as_i64().context("no number")
    };
    String::from_utf8(output.stdout)?.lines().map(number).collect()
}

fn of_type(kind: &str, number: usize) -> Message {
    let message = event(number);
    let body = String::from_utf8(message.body).unwrap().replace("test.event.happened", kind);
    Message { body: body.into_bytes(), ..message }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_comes_once_and_in_order_while_it_commits() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    scene.publish(&[event(1), event(2)]).await?;
    scene.stored(2).await?;

    let ndjson = ["--format", "ndjson"];
    let mut following = follows(&scene, &[&ndjson[..], &["--limit", "3"]].concat())?;
    has_begun(&scene).await?;
    let mut lines = BufReader::new(following.stdout.take().context("stdout")?).lines();
    let mut line =
        move || -> Result<Value> { Ok(serde_json::from_str(&lines.next().context("no more")??)?) };
    scene.publish(&[event(3)]).await?;
    // It comes although more is to come.
    assert_eq!(line()?["payload"]["payload"]["number"], 3);
    scene.publish(&[event(4)]).await?;
    assert_eq!(line()?["payload"]["payload"]["number"], 4);
    scene.publish(&[event(5), event(6)]).await?;
    assert_eq!(line()?["payload"]["payload"]["number"], 5);
    assert!(line().is_err() && following.wait()?.success());
    let noted =
        "select count(*) from audit.access_log where command = 'events --follow' and count = 3";
    assert_eq!(scene.number(noted).await?, 1);

    // From the beginning on, through more than one step, and what does not match is passed over.
    let many: Vec<_> =
        (7..1300).map(|n| of_type(if n % 600 == 0 { "rare.one" } else { "usual" }, n)).collect();
    scene.publish(&many).await?;
    scene.stored(1299).await?;
    let all = [&ndjson[..], &["--since", "1h", "--limit", "1299"]].concat();
    let mut found = numbers(follows(&scene, &all)?)?;
    found.sort_unstable();
    assert_eq!(found, (1..=1299).collect::<Vec<_>>());
    let rare = [&ndjson[..], &["--since", "1h", "--limit", "3", "--type", "rare.#"]].concat();
    let rare = follows(&scene, &rare)?;
    scene.publish(&[of_type("usual", 1300), of_type("rare.one", 1301)]).await?;
    let mut found = numbers(rare)?;
    found.sort_unstable();
    assert_eq!(found, [600, 1200, 1301]);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_is_refused_with_a_word() -> Result<()> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    events(&scene, &["--follow", "--format", "json"])?.refuses(2, "did you mean --format ndjson?");
    events(&scene, &["--follow", "--until", "now"])?.refuses(2, "cannot be used with");
    events(&scene, &["--follow", "--where", "true"])?.refuses(2, "create role audit_reader");
    Ok(())
}
