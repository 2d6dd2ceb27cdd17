//! A check that is interrupted goes on where it was.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use testbed::eventually;

use super::{History, verdicts_of};
use crate::support::{Bed, PATIENCE, Scene};

/// Killed when dropped.
struct Interrupted(Child);

impl Drop for Interrupted {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn arguments<'a>(history: &'a History, file: &'a str) -> Vec<&'a str> {
    let [early, last] = &history.checkpoints;
    let given =
        ["verify", "--json", "--checkpoint", early, "--checkpoint", last, "--key", &history.key];
    let mut arguments = given.to_vec();
    arguments.extend(["--unsealed-after", "30m", "--jobs", "2", "--resume", file]);
    arguments
}

/// Checks a copy until the early partition is done, while the late one cannot be read, and kills the process there. What is kept is in
/// the file.
async fn interrupted(history: &History, copy: &Scene, file: &Path) -> Result<()> {
    interrupted_in(
        history,
        copy,
        file,
        "begin; lock table audit.events_late in access exclusive mode",
        "events_early",
    )
    .await
}

async fn interrupted_in(
    history: &History,
    copy: &Scene,
    file: &Path,
    hold: &'static str,
    done: &str,
) -> Result<()> {
    let mut holder = copy.sql().await?;
    sqlx::raw_sql(hold).execute(&mut holder).await?;
    let name = file.display().to_string();
    let mut command = copy.command(&arguments(history, &name));
    let verify = Interrupted(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    is_done(file, done).await?;
    // By SIGKILL.
    drop(verify);
    ends(holder).await
}

/// The server ends its connections instead.
#[tokio::test(flavor = "multi_thread")]
async fn it_says_how_to_go_on_after_a_lost_connection() -> Result<()> {
    let history = History::shared().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("progress");
    let name = file.display().to_string();
    let copy = history.copy().await?;
    let hold = "begin; lock table audit.events_late in access exclusive mode";
    let mut holder = copy.sql().await?;
    sqlx::raw_sql(hold).execute(&mut holder).await?;
    // One that was killed while it wrote has left this.
    fs::write(folder.path().join("progress.new"), "{")?;
    let mut command = copy.command(&arguments(history, &name));
    let verify = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    is_done(&file, "events_early").await?;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::raw_sql(end).execute(&mut holder).await?;
    let output = verify.wait_with_output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(69) && output.stdout.is_empty(), "{said}");
    ensure!(said.contains("has what is done, and the same command goes on from there"), "{said}");
    ends(holder).await?;
    let said = goes_on(history, &copy, &file)?;
    ensure!(said["clean"] == true && said["taken"]["events"].as_i64() > Some(100), "{said:#}");
    Ok(())
}

/// Awaits that this partition is kept as done.
async fn is_done(file: &Path, partition: &str) -> Result<()> {
    let done = format!(r#""partition":"{partition}""#);
    eventually("a partition is done", PATIENCE, async || {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        if text.contains(&done) { Ok(()) } else { Err(format!("{} bytes", text.len())) }
    })
    .await
}

async fn ends(mut holder: PgConnection) -> Result<()> {
    sqlx::raw_sql("rollback").execute(&mut holder).await?;
    Ok(holder.close().await?)
}

/// What the same command says when it goes on.
fn goes_on(history: &History, copy: &Scene, file: &Path) -> Result<Value> {
    let name = file.display().to_string();
    let answer = copy.asks(&arguments(history, &name))?;
    ensure!(answer.stderr.is_empty() && answer.status < 2, "{answer:?}");
    ensure!(!file.exists(), "it is not removed");
    let said: Value = serde_json::from_str(answer.text())?;
    ensure!((said["clean"] == true) == (answer.status == 0), "{said:#}");
    Ok(said)
}

/// Does it to a copy of the history.
async fn after(history: &History, sql: &str) -> Result<Scene> {
    let copy = history.copy().await?;
    Bed::shared().await?.postgres.sql(&copy.name, sql).await?;
    Ok(copy)
}

/// Without what differs from one run to the next.
fn lasting(mut said: Value) -> Value {
    if let Some(said) = said.as_object_mut() {
        said.retain(|key, _| !["seconds", "taken"].contains(&&**key));
    }
    said
}

/// One event changed in the partition that is done, one gone in the other, and one of the batch that has events in both.
const DAMAGE: &str = "
    update audit.events_early set source = 'somebody' where seq = (select seq from audit.events_early where payload is not null
                                                                     order by seq offset 70 limit 1);
    delete from audit.events_late where seq = (select seq from audit.events_late where payload is not null order by seq offset 70 limit 1);
    delete from audit.events_late where seq = (select max(b.first_seq + b.events - 1) from audit.batches b
                                                where b.leaves is not null and b.first_seq in (select seq from audit.events_early)
                                                  and b.first_seq + b.events - 1 in (select seq from audit.events_late))";

/// The header of a batch that has events in both partitions says no more how many.
const NO_NUMBER: &str = "
    alter table audit.batches alter column events drop not null;
    update audit.batches set events = null where leaves is not null and first_seq in (select seq from audit.events_early)
                                             and first_seq + events - 1 in (select seq from audit.events_late)";

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_is_what_one_that_was_not_interrupted_says() -> Result<()> {
    let history = History::shared().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("progress");
    for (sql, verdicts) in
        [("select", &[][..]), (DAMAGE, &["ALTERED", "DELETED"]), (NO_NUMBER, &["ALTERED"])]
    {
        let copy = after(history, sql).await?;
        let whole: Value = serde_json::from_str(history.verifies(&copy, &[])?.text())?;
        ensure!(verdicts_of(&whole)? == verdicts && whole["taken"].is_null(), "{whole:#}");
        interrupted(history, &copy, &file).await?;
        let said = goes_on(history, &copy, &file)?;
        let early = said["taken"]["events"].as_i64().context("events that were taken")?;
        ensure!(early > 100 && said["taken"]["partitions"].as_i64() > Some(0), "{said:#}");
        ensure!(said["taken"]["from"].is_string(), "{said:#}");
        assert_eq!(lasting(said), lasting(whole));
    }
    Ok(())
}

/// What is done is not read again; what was found stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_believed() -> Result<()> {
    let history = History::shared().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("progress");
    let forge = "update audit.events_early set source = 'somebody' where seq = (select min(seq) from audit.events_early
                  where payload is not null)";
    let copy = history.copy().await?;
    interrupted(history, &copy, &file).await?;
    let postgres = &Bed::shared().await?.postgres;
    postgres.sql(&copy.name, forge).await?;
    let said = goes_on(history, &copy, &file)?;
    ensure!(said["clean"] == true, "{said:#}");

    // The same before, and mended meanwhile; and a header.
    let copy = after(
        history,
        &format!("{forge}; update audit.nodes set level = 7 where (level, index) = (1, 0)"),
    )
    .await?;
    interrupted(history, &copy, &file).await?;
    let mended = "update audit.events_early e set source = o.source from (select seq from audit.events_early
                    where source = 'somebody') f, audit.events_early o where e.seq = f.seq and o.seq = f.seq + 1;
                  update audit.nodes set level = 1 where level = 7";
    postgres.sql(&copy.name, mended).await?;
    let said = goes_on(history, &copy, &file)?;
    ensure!(verdicts_of(&said)? == ["ALTERED", "DELETED", "INSERTED"], "{said:#}");
    ensure!(said.to_string().contains("and not any more"), "{said:#}");
    Ok(())
}

/// A partition that is done and is dropped with no word is missed; one that has got more since is read again.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_others_since_are_read_again() -> Result<()> {
    let history = History::shared().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("progress");
    let postgres = &Bed::shared().await?.postgres;
    let copy = history.copy().await?;
    interrupted(history, &copy, &file).await?;
    postgres.sql(&copy.name, "drop table audit.events_early").await?;
    let said = goes_on(history, &copy, &file)?;
    ensure!(verdicts_of(&said)? == ["DELETED"], "{said:#}");

    // As retention does it: the act first, then its seal, then the partition; but nobody signs the act here.
    let copy = history.copy().await?;
    interrupted(history, &copy, &file).await?;
    postgres.sql(&copy.name, super::lawful::EXPIRED).await?;
    super::lawful::seals(&copy).await?;
    let said = goes_on(history, &copy, &file)?;
    ensure!(verdicts_of(&said)? == ["UNSIGNED"] && said["verdicts"]["UNSIGNED"] == 1, "{said:#}");
    ensure!(said["taken"]["events"].as_i64() > Some(100), "{said:#}");

    let copy = history.copy().await?;
    let hold = "begin; lock table audit.events_early in access exclusive mode";
    interrupted_in(history, &copy, &file, hold, "events_late").await?;
    let before = copy.number("select count(*) from audit.events").await?;
    let daemon = copy.clone().with("ledger.key_file", &history.key_file).daemon().await?;
    copy.publish(&(0..20).map(crate::support::event).collect::<Vec<_>>()).await?;
    copy.counts(before + 20, "select count(*) from audit.events").await?;
    daemon.stops_cleanly().await?;
    let said = goes_on(history, &copy, &file)?;
    ensure!(said["clean"] == true, "{said:#}");
    ensure!(said["events"].as_i64() == Some(before - 30 + 20), "{before}: {said:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_check_is_refused() -> Result<()> {
    let history = History::shared().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("progress");
    let name = file.display().to_string();
    let copy = history.copy().await?;
    interrupted(history, &copy, &file).await?;
    let kept = fs::read(&file)?;
    let all = arguments(history, &name);
    let without = |option: &str| -> Vec<&str> {
        let at = all.iter().position(|argument| *argument == option).unwrap_or(all.len());
        let outside = |(place, _): &(usize, &&str)| *place != at && *place != at + 1;
        all.iter().enumerate().filter(outside).map(|(_, argument)| *argument).collect()
    };
    copy.asks(&without("--checkpoint"))?.refuses(2, "other checkpoints were given");
    copy.asks(&without("--key"))?.refuses(2, "other keys were given");
    copy.asks(&[&all[..], &["--since", "2020-01-01"]].concat())?.refuses(2, "--since was another");
    copy.asks(&[&all[..], &["--until", "2100-01-01"]].concat())?.refuses(2, "--until was another");
    // Another history, made by the same daemon; the same one, made anew.
    let other = Scene::set(Bed::shared().await?).await?;
    let daemon = other.daemon().await?;
    daemon.stops_cleanly().await?;
    other.asks(&all)?.refuses(2, "on another history");
    let rewritten = after(history, "update audit.batches set lane = gen_random_uuid() where position = (select min(position) from audit.batches)").await?;
    rewritten.asks(&all)?.refuses(2, "on another history");
    ensure!(fs::read(&file)? == kept, "a refusal has changed it");

    fs::write(&file, &kept[..kept.len() / 2])?;
    copy.asks(&all)?.refuses(2, "was cut off");
    fs::write(&file, String::from_utf8(kept.clone())?.replacen("progress 1", "progress 0", 1))?;
    copy.asks(&all)?.refuses(2, "its format is of another version");
    fs::write(&file, "[1]")?;
    copy.asks(&all)?.refuses(2, "is not what an interrupted verify keeps");
    fs::remove_file(&file)?;
    fs::create_dir(&file)?;
    copy.asks(&all)?.refuses(2, "cannot be read");
    let nowhere = folder.path().join("none/progress").display().to_string();
    copy.asks(&arguments(history, &nowhere))?.refuses(74, "cannot write");
    Ok(())
}
