//! Somebody changes headers.

use anyhow::{Result, ensure};

use super::{History, Tamper, events::changes, verdicts_of};

/// A header in the middle of a lane, and the last one of it: by lane and number.
const MIDDLE: &str = "(select b.lane, b.number from audit.batches b where b.events > 5 and b.leaves is not null and exists (
                           select from audit.batches n where n.lane = b.lane and n.number = b.number + 2)
                        and b.number > 1 order by b.position limit 1)";
const LAST: &str = "(select b.lane, b.number from audit.batches b where b.events > 1 and b.leaves is not null and not exists (
                         select from audit.batches n where n.lane = b.lane and n.number > b.number)
                      order by b.position desc limit 1)";

#[tokio::test(flavor = "multi_thread")]
async fn every_column_that_is_altered_shows() -> Result<()> {
    let history = History::shared().await?;
    for (column, change) in changes(history, "audit.batches").await? {
        for (place, which) in [("in the middle", MIDDLE), ("at the end", LAST)] {
            let change = match &*column {
                // Not a number that another one has.
                "number" | "position" => format!("{column} + 1000000000"),
                _ => change.clone(),
            };
            let sql = format!(
                "update audit.batches set {column} = {change} where (lane, number) = {which}"
            );
            let said = history.after(&sql).await?;
            let verdicts = verdicts_of(&said)?;
            let expected: &[&[&str]] = match &*column {
                // The last one of a lane looks as if it were not sealed yet.
                "position" => &[&["MOVED"], &["DELETED"]],
                _ => &[&["ALTERED"]],
            };
            ensure!(expected.contains(&&*verdicts), "{column} {place}: {said:#}");
        }
    }
    Ok(())
}

/// Without the key the chain of the lane tells which one it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_header_that_was_altered_is_named_without_a_key() -> Result<()> {
    let history = History::shared().await?;
    let copy = history.copy().await?;
    let bed = crate::support::Bed::shared().await?;
    for column in ["duplicates", "previous"] {
        let change = if column == "previous" {
            "set_byte(previous, 0, get_byte(previous, 0) # 1)"
        } else {
            "duplicates + 1"
        };
        let named = bed
            .postgres
            .sql(&copy.name, &format!("select lane || ' ' || number from {MIDDLE} m"))
            .await?;
        bed.postgres
            .sql(
                &copy.name,
                &format!(
                    "update audit.batches set {column} = {change} where (lane, number) = {MIDDLE}"
                ),
            )
            .await?;
        let answer = copy.asks(&["verify", "--json"])?;
        ensure!(answer.status == 1, "{answer:?}");
        let said: serde_json::Value = serde_json::from_str(answer.text())?;
        let finding = &said["findings"][0];
        let found =
            format!("{} {}", finding["lane"].as_str().unwrap_or_default(), finding["number"]);
        ensure!(
            verdicts_of(&said)? == ["ALTERED"] && found == named.trim(),
            "{column}: {named}: {said:#}"
        );
        ensure!(said["findings"].as_array().map(Vec::len) == Some(1), "{column}: {said:#}");
        let back = if column == "previous" { change } else { "duplicates - 1" };
        bed.postgres
            .sql(
                &copy.name,
                &format!(
                    "update audit.batches set {column} = {back} where (lane, number) = {MIDDLE}"
                ),
            )
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_or_forged_shows() -> Result<()> {
    let history = History::shared().await?;
    let with_events = |which: &str| {
        format!(
            "with gone as (delete from audit.batches where (lane, number) = {which} returning *)
             delete from audit.events e using gone b where e.seq >= b.first_seq and e.seq < b.first_seq + b.events"
        )
    };
    let forged = |lane: &str, number: &str, previous: &str, position: &str| {
        format!(
            "insert into audit.batches (lane, number, committed_at, events, conflicts, duplicates, rejections, replays, body_bytes,
                                        previous, leaves, salts, position)
             select {lane}, {number}, b.committed_at, 0, 0, 1, 0, 0, 0, {previous}, '', '', {position}
               from audit.batches b where (b.lane, b.number) = {MIDDLE}"
        )
    };
    history
        .tells(&[
            Tamper { what: "a batch with its events", sql: &with_events(MIDDLE), verdicts: &["DELETED"] },
            Tamper { what: "the last of a lane with its events", sql: &with_events(LAST), verdicts: &["DELETED"] },
            Tamper {
                what: "a header alone",
                sql: &format!("delete from audit.batches where (lane, number) = {MIDDLE}"),
                verdicts: &["DELETED", "INSERTED"],
            },
            Tamper {
                what: "a lane's tail with its events",
                sql: "with gone as (delete from audit.batches b using (select lane, max(number) as last from audit.batches
                                         where leaves is not null group by lane having max(number) > 8 limit 1) l
                                     where b.lane = l.lane and b.number > l.last - 3 returning b.*)
                      delete from audit.events e using gone b where e.seq >= b.first_seq and e.seq < b.first_seq + b.events",
                verdicts: &["DELETED"],
            },
            Tamper {
                what: "a forged lane",
                sql: &forged("gen_random_uuid()", "1", "decode(repeat('00', 32), 'hex')", "(select p from generate_series(
                    (select min(position_from) from audit.seals), (select max(position_to) from audit.seals)) p
                     where not exists (select from audit.batches o where o.position = p) limit 1)"),
                verdicts: &["INSERTED"],
            },
            Tamper {
                what: "a forged batch that is in no seal",
                sql: &forged("gen_random_uuid()", "1", "decode(repeat('00', 32), 'hex')", "b.position + 1000000000")
                    .replace("b.committed_at,", "now() - interval '1 hour',"),
                verdicts: &["UNSEALED"],
            },
            Tamper { what: "an act", sql: "delete from audit.acts", verdicts: &["DELETED"] },
            Tamper { what: "a word of an act", sql: "update audit.acts set kind = 'keys'", verdicts: &["ALTERED"] },
        ])
        .await
}
