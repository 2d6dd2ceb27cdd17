//! `--follow`: what commits from now on, once each.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::{Postgres, PostgresOptions, eventually};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader as Lines},
    process::{ChildStderr, ChildStdout},
    time::timeout,
};

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

/// Somebody who follows while things go wrong.
struct Follows {
    child: tokio::process::Child,
    out: Lines<ChildStdout>,
    said: Lines<ChildStderr>,
}

impl Follows {
    async fn begin(scene: &Scene, arguments: &[&str]) -> Result<Follows> {
        let arguments = [&["events", "--follow", "--format", "ndjson"], arguments].concat();
        let mut command = tokio::process::Command::from(scene.command(&arguments));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let out = Lines::new(child.stdout.take().context("stdout")?);
        let said = Lines::new(child.stderr.take().context("stderr")?);
        has_begun(scene).await?;
        Ok(Follows { child, out, said })
    }

    /// The number of the next event that it writes.
    async fn number(&mut self) -> Result<i64> {
        let line: Value = serde_json::from_str(&line(&mut self.out).await?)?;
        line["payload"]["payload"]["number"].as_i64().context("no number")
    }

    /// The numbers of the next events that it writes, sorted.
    async fn numbers(&mut self, how_many: usize) -> Result<Vec<i64>> {
        let mut numbers = Vec::new();
        for _ in 0..how_many {
            numbers.push(self.number().await?);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Expects that this is the next that it says.
    async fn says(&mut self, what: &str) -> Result<()> {
        let line = line(&mut self.said).await?;
        ensure!(line.contains(what), "{what:?} is not in {line}");
        Ok(())
    }

    /// Its status, after it has ended by itself, and what else it wrote and said.
    async fn ends(mut self) -> Result<(Option<i32>, String)> {
        let mut rest = String::new();
        timeout(PATIENCE, self.out.read_to_string(&mut rest)).await.context("it goes on")??;
        timeout(PATIENCE, self.said.read_to_string(&mut rest)).await.context("it goes on")??;
        Ok((timeout(PATIENCE, self.child.wait()).await.context("it goes on")??.code(), rest))
    }
}

async fn line(lines: &mut Lines<impl AsyncRead + Unpin>) -> Result<String> {
    let mut line = String::new();
    timeout(PATIENCE, lines.read_line(&mut line)).await.context("no line came")??;
    ensure!(line.ends_with('\n'), "it ended: {line:?}");
    Ok(line)
}

/// A database that may be taken away.
async fn own_database(options: PostgresOptions) -> Result<(Postgres, Scene)> {
    let postgres = Postgres::start(options).await?;
    let scene = Scene::between(&Bed::shared().await?.rabbitmq, &postgres).await?;
    Ok((postgres, scene))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_waited_for_and_nothing_is_skipped_or_repeated() -> Result<()>
{
    let (postgres, scene) = own_database(PostgresOptions::default()).await?;
    let daemon = scene.daemon().await?;
    let mut following = Follows::begin(&scene, &["--limit", "30"]).await?;
    let events: Vec<_> = (0..30).map(event).collect();
    scene.publish(&events[..10]).await?;
    assert_eq!(following.numbers(10).await?, (0..10).collect::<Vec<_>>());
    for (portion, killed) in [(10..20, false), (20..30, true)] {
        if killed {
            postgres.kill();
        } else {
            postgres.stop().await?;
        }
        following.says("waiting until PostgreSQL is back").await?;
        scene.publish(&events[portion.clone()]).await?;
        postgres.start_again().await?;
        following.says("PostgreSQL is back after").await?;
        let portion = portion.map(i64::try_from).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(following.numbers(10).await?, portion);
    }
    // Once each way, and nothing came twice before the last.
    assert_eq!(following.ends().await?, (Some(0), String::new()));
    scene.ends_with(&daemon, &events).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_it_while_it_waits() -> Result<()> {
    let (postgres, scene) = own_database(PostgresOptions::default()).await?;
    assert_eq!(scene.asks(&["migrate"])?.status, 0);
    // `| head`, where nothing comes any more, or never did.
    let Follows { mut child, out, .. } = Follows::begin(&scene, &[]).await?;
    drop(out);
    let status = timeout(PATIENCE, child.wait()).await.context("it goes on")??;
    assert_eq!(status.code(), Some(0));
    // And where the database is away, however long it waits there.
    let scene = scene.with("reconnect.initial", "1h").with("reconnect.max", "1h");
    let mut following = Follows::begin(&scene, &[]).await?;
    postgres.stop().await?;
    following.says("waiting until PostgreSQL is back").await?;
    let Follows { mut child, out, .. } = following;
    drop(out);
    let status = timeout(PATIENCE, child.wait()).await.context("it goes on")??;
    assert_eq!(status.code(), Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_time_does_not_mend_ends_it() -> Result<()> {
    let (postgres, scene) = own_database(PostgresOptions::default().password("right")).await?;
    assert_eq!(scene.asks(&["migrate"])?.status, 0);
    let following = Follows::begin(&scene, &[]).await?;
    let changed = "alter role postgres password 'other';
                   select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bloodbank-audit'";
    postgres.sql("postgres", changed).await?;
    let (status, said) = following.ends().await?;
    assert_eq!(status, Some(69), "{said}");
    let said: Vec<_> = said.lines().collect();
    assert!(
        matches!(said[..], [away, refused] if away.contains("57P01") && refused.contains("28P01")),
        "{said:#?}"
    );
    assert!(!said.concat().contains("right"), "{said:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_dawdles_gets_all_of_it() -> Result<()> {
    let (_postgres, scene) = own_database(PostgresOptions::default()).await?;
    let daemon = scene.daemon().await?;
    let large = |number| {
        let message = event(number);
        let body = String::from_utf8(message.body).unwrap();
        let padded = format!("{{\"pad\": \"{}\", {}", "x".repeat(1 << 20), &body[1..]);
        Message { body: padded.into_bytes(), ..message }
    };
    let events: Vec<_> = (0..40).map(large).collect();
    scene.publish(&events).await?;
    scene.stored(40).await?;
    // Nobody reads until the server has been kept waiting for longer than a statement may take.
    let arguments = ["--since", "1h", "--limit", "40", "--timeout", "1s"];
    let arguments = [&["events", "--follow", "--format", "ndjson"], &arguments[..]].concat();
    let mut command = tokio::process::Command::from(scene.command(&arguments));
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let kept_waiting = "select count(*) from pg_stat_activity
                         where wait_event = 'ClientWrite' and now() - query_start > interval '2 s'";
    scene.counts(1, kept_waiting).await?;
    let out = Lines::new(child.stdout.take().context("stdout")?);
    let said = Lines::new(child.stderr.take().context("stderr")?);
    let mut following = Follows { child, out, said };
    assert_eq!(following.numbers(40).await?, (0..40).collect::<Vec<_>>());
    assert_eq!(following.ends().await?, (Some(0), String::new()));
    daemon.stops_cleanly().await
}
