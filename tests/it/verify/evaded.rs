//! Somebody who may do anything to the database, and has no key, looks for what is not looked at.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{History, verdicts_of};
use crate::support::{Bed, Scene, event};

/// A copy of the history, in which a daemon that has no key has recorded and sealed twenty events more.
async fn with_more(history: &History) -> Result<Scene> {
    let copy = history.copy().await?;
    let stored = copy.number("select count(*) from audit.events").await?;
    let daemon = copy.daemon().await?;
    daemon.says("and this daemon has none", 1).await?;
    let more: Vec<_> = (5_000..5_020).map(event).collect();
    copy.publish(&more).await?;
    copy.counts(stored + 20, "select count(*) from audit.events").await?;
    daemon.stops_cleanly().await?;
    Ok(copy)
}

/// Takes the seals of those twenty back, and moves their batches.
const MOVE: &str = "begin;
    create temp table last as select max(tree_size) as size from audit.checkpoints;
    create temp table kept as select s.position_to from audit.seals s join last l on s.tree_size = l.size;
    delete from audit.nodes n using last l where ((n.index + 1) << (8 * n.level)) > l.size;
    delete from audit.seals s using last l where s.tree_size > l.size;
    alter table audit.batches alter column position drop not null;
    update audit.batches b set CHANGE from kept k where b.position >= k.position_to;
    commit";

async fn said_of(history: &History, copy: &Scene) -> Result<Value> {
    let answer = history.verifies(copy, &[])?;
    ensure!(answer.stderr.is_empty() && answer.status < 2, "{answer:?}");
    Ok(serde_json::from_str(answer.text())?)
}

/// Batches with leaves, which no tree has.
#[tokio::test(flavor = "multi_thread")]
async fn batches_at_impossible_places_are_found() -> Result<()> {
    let history = History::shared().await?;
    let bed = Bed::shared().await?;
    for (change, verdicts) in [
        ("position = -1 - b.number", &["INSERTED"][..]),
        ("position = null", &["INSERTED"]),
        ("position = b.position + 1000000000000, committed_at = '2999-01-01'", &["UNSEALED"]),
        ("position = b.position + 1000000000000, committed_at = 'infinity'", &["UNSEALED"]),
    ] {
        let copy = with_more(history).await?;
        bed.postgres.sql(&copy.name, &MOVE.replace("CHANGE", change)).await?;
        let answer = copy.asks(&["verify", "--json", "--checkpoint", &history.checkpoints[1]])?;
        ensure!(answer.stderr.is_empty() && answer.status < 2, "{change}: {answer:?}");
        let said: Value = serde_json::from_str(answer.text())?;
        ensure!(verdicts_of(&said)? == verdicts, "{change}: {said:#}");
    }
    Ok(())
}

/// What nobody has signed, where a key was in use before.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_signed_is_nobodys_word() -> Result<()> {
    let history = History::shared().await?;
    let copy = with_more(history).await?;
    let said = said_of(history, &copy).await?;
    ensure!(verdicts_of(&said)? == ["UNSIGNED"], "{said:#}");
    let of_events = said["findings"].as_array().into_iter().flatten();
    ensure!(of_events.clone().all(|finding| finding["kind"] == "batch"), "{said:#}");
    let answer = history.verifies(&copy, &["--unsigned-before", "2999-01-01"])?;
    ensure!(answer.status == 0, "{answer:?}");

    // Somebody erases an event and says so, and cannot sign it.
    let copy = history.copy().await?;
    let bed = Bed::shared().await?;
    let id = "select event_id::text from audit.events where event_id is not null limit 1";
    let id: String = sqlx::query_scalar(id).fetch_one(&mut copy.sql().await?).await?;
    let unable = copy.asks(&["redact", &id, "--reason", "a request", "--yes"])?;
    unable.refuses(2, "the ledger is signed, and ledger.key_file is not set here");
    let signing = copy.clone().with("ledger.key_file", &history.key_file);
    let erased = signing.asks(&["redact", &id, "--reason", "a request", "--yes"])?;
    ensure!(erased.status == 0, "{erased:?}");
    let unsigned = "update audit.acts set signature = null, key_id = null where kind = 'erased'";
    bed.postgres.sql(&copy.name, unsigned).await?;
    signing.daemon().await?.stops_cleanly().await?;
    let said = said_of(history, &copy).await?;
    ensure!(verdicts_of(&said)? == ["UNSIGNED"] && said["verdicts"]["UNSIGNED"] == 1, "{said:#}");
    ensure!(said["findings"][0]["kind"] == "act" && said["events_erased"] == 1, "{said:#}");
    Ok(())
}

/// Signatures are in no tree: they are taken away from all that came before what was erased.
#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_are_taken_away_from_the_beginning_on_are_missed() -> Result<()> {
    let history = History::shared().await?;
    let said = history
        .after(
            "update audit.acts set signature = null, key_id = null;
             update audit.batches set signature = null, key_id = null
              where lane in (select b.lane from audit.batches b group by b.lane
                              having max(b.position) < (select max(position) from audit.batches where leaves is null))",
        )
        .await?;
    ensure!(verdicts_of(&said)? == ["UNSIGNED"], "{said:#}");
    ensure!(said["headers_signed"].as_i64() > Some(0), "{said:#}");
    ensure!(said["verdicts"]["UNSIGNED"].as_i64() > Some(1), "{said:#}");
    Ok(())
}

/// A tree that nobody has begun.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_nobody_has_begun_is_found() -> Result<()> {
    let history = History::shared().await?;
    let begun = "insert into audit.epochs (epoch, position_from) select 2, max(position_to) from audit.seals";
    let said = history.after(begun).await?;
    ensure!(verdicts_of(&said)? == ["INSERTED"], "{said:#}");
    Ok(())
}

/// What no column can hold, where somebody has taken away what keeps it from that.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_found_and_ends_nothing() -> Result<()> {
    let history = History::shared().await?;
    let one = "(select b.lane, b.number from audit.batches b where b.events > 5 and b.leaves is not null order by b.position limit 1)";
    for column in
        ["committed_at", "events", "conflicts", "body_bytes", "first_seq", "number", "lane"]
    {
        let said = history
            .after(&format!(
                "alter table audit.batches drop constraint batches_pkey cascade;
                 alter table audit.batches alter column {column} drop not null;
                 update audit.batches set {column} = null where (lane, number) = {one}"
            ))
            .await?;
        ensure!(said["verdicts"]["ALTERED"].as_i64() >= Some(1), "{column}: {said:#}");
    }
    for change in [
        "update audit.seals set tree_size = 9223372036854775807 where number = (select max(number) from audit.seals)",
        "update audit.seals set number = 9223372036854775807 where number = (select max(number) / 2 from audit.seals)",
        "update audit.seals set position_to = -9223372036854775808 where number = (select max(number) / 2 from audit.seals)",
        "insert into audit.nodes values (1, 9, 9223372036854775807, ''), (1, -3, -9223372036854775808, ''), (1, 32767, 5, '')",
        "update audit.seals set edge = '', root = '' where number = 1",
        "insert into audit.epochs values (2147483647, 9223372036854775807), (-2147483648, -9223372036854775808);
         insert into audit.seals select 2147483647, 1, 0, 9223372036854775807, 9223372036854775807, 9223372036854775807, 0, 0, '', ''",
        "update audit.batches set number = 9223372036854775807 where (lane, number) = ONE",
        "update audit.batches set number = -9223372036854775808 where (lane, number) = ONE",
        "update audit.batches set first_seq = -9223372036854775808 where (lane, number) = ONE",
        "update audit.batches set first_seq = 9223372036854775807 where (lane, number) = ONE",
        "update audit.batches set received_from = '-infinity', received_to = 'infinity' where (lane, number) = ONE",
        "update audit.acts set at = '-infinity'",
    ] {
        history.after(&change.replace("ONE", one)).await?;
    }
    Ok(())
}
