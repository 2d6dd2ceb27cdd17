//! Somebody makes all of it anew, or an older state comes back.

use anyhow::{Result, ensure};

use super::{History, of_the_history, verdicts_of};

/// Everything is as a daemon without the key would have recorded it.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_made_anew_is_forked() -> Result<()> {
    let history = History::shared().await?;
    let copy = history.copy().await?;
    let bed = crate::support::Bed::shared().await?;
    // The schema's own tables are emptied, and another daemon records other events.
    bed.postgres
        .sql(
            &copy.name,
            "truncate audit.events, audit.seals, audit.nodes, audit.checkpoints, audit.acts, audit.replayed; delete from audit.rejections;
             delete from audit.batches",
        )
        .await?;
    let daemon = copy.clone().with("ledger.seal_every", "200ms").daemon().await?;
    // More of them, so that each checkpoint meets a root of its size.
    let events: Vec<_> = (0..of_the_history() + 900).map(crate::support::event).collect();
    copy.publish(&events).await?;
    copy.stored(events.len()).await?;
    daemon.stops_cleanly().await?;
    let alone = copy.asks(&["verify", "--json"])?;
    assert_eq!(alone.json()?["clean"], true);
    let answer = history.verifies(&copy, &[])?;
    let said: serde_json::Value = serde_json::from_str(answer.text())?;
    ensure!(answer.status == 1 && verdicts_of(&said)? == ["FORKED", "UNSIGNED"], "{answer:?}");
    ensure!(said["verdicts"]["FORKED"] == 2 && said["findings"][2]["kind"] == "ledger", "{said:#}");
    ensure!(!answer.text().contains("went back in time"), "{said:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_is_forked() -> Result<()> {
    let history = History::shared().await?;
    let copy = history.copy().await?;
    let bed = crate::support::Bed::shared().await?;
    // As a backup of that time has it: all that came later is not there.
    bed.postgres
        .sql(
            &copy.name,
            "create temp table last as select * from audit.seals where number = (select max(number) / 2 from audit.seals);
             create temp table later as select generate_series(b.first_seq, b.first_seq + b.events - 1) as seq
               from audit.batches b, last l where b.position >= l.position_to and b.events > 0;
             analyze later;
             delete from audit.events e using later where e.seq = later.seq;
             delete from audit.rejections r using audit.batches b, last l
              where (r.lane, r.number) = (b.lane, b.number) and b.position >= l.position_to;
             delete from audit.replayed r using audit.batches b, last l
              where (r.lane, r.number) = (b.lane, b.number) and b.position >= l.position_to;
             delete from audit.batches b using last l where b.position >= l.position_to;
             delete from audit.acts a using last l where a.position >= l.position_to;
             delete from audit.seals s using last l where s.number > l.number;
             delete from audit.checkpoints c using last l where c.tree_size > l.tree_size;
             delete from audit.nodes n using last l where ((n.index + 1) << (8 * n.level)) > l.tree_size",
        )
        .await?;
    let alone = copy.asks(&["verify", "--json", "--key", &history.key])?;
    assert_eq!(alone.json()?["clean"], true);
    let answer = history.verifies(&copy, &[])?;
    let said: serde_json::Value = serde_json::from_str(answer.text())?;
    ensure!(answer.status == 1 && verdicts_of(&said)? == ["FORKED"], "{answer:?}");
    ensure!(answer.text().contains("went back in time"), "{said:#}");
    Ok(())
}
