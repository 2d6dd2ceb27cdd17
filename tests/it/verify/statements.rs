//! Somebody changes what the ledger states of its tree.

use anyhow::{Result, ensure};

use super::{History, Tamper, events::changes, verdicts_of};

const SEAL: &str = "number = (select max(number) / 2 from audit.seals)";
const NODE: &str = "(level, index) = (1, 0)";
const CHECKPOINT: &str = "tree_size = (select s.tree_size from audit.seals s where s.number = (select max(number) / 2 from audit.seals))";

#[tokio::test(flavor = "multi_thread")]
async fn every_column_that_is_altered_shows() -> Result<()> {
    let history = History::shared().await?;
    // When it was written is nobody's word; docs/ledger.md says so.
    let of_none = ["sealed_at", "signed_at", "began_at"];
    for (table, which) in [
        ("audit.seals", SEAL),
        ("audit.nodes", NODE),
        ("audit.checkpoints", CHECKPOINT),
        ("audit.epochs", "true"),
        ("audit.acts", "true"),
    ] {
        for (column, change) in changes(history, table).await? {
            if of_none.contains(&&*column) {
                continue;
            }
            let change = match &*column {
                "number" | "position" | "index" | "tree_size" => format!("{column} + 1000000000"),
                // Not that of another node, which a large tree has.
                "level" => "level + 10".to_owned(),
                _ => change,
            };
            let said = history
                .after(&format!("update {table} set {column} = {change} where {which}"))
                .await?;
            let known = ["ALTERED", "DELETED", "INSERTED", "FORKED", "MOVED", "UNSEALED"];
            let verdicts = verdicts_of(&said)?;
            ensure!(
                !verdicts.is_empty() && verdicts.iter().all(|verdict| known.contains(verdict)),
                "{table}.{column}: {said:#}"
            );
            let within = [
                "root",
                "edge",
                "hash",
                "note",
                "acts",
                "batches",
                "tree_from",
                "position_from",
                "position_to",
            ];
            if within.contains(&&*column) && table != "audit.epochs" {
                ensure!(verdicts == ["ALTERED"], "{table}.{column}: {said:#}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_or_forged_shows() -> Result<()> {
    let history = History::shared().await?;
    history
        .tells(&[
            Tamper { what: "a node", sql: &format!("delete from audit.nodes where {NODE}"), verdicts: &["DELETED"] },
            Tamper {
                what: "a node too many",
                sql: "insert into audit.nodes (epoch, level, index, hash) select 1, 1, max(index) + 1, '\\x00' from audit.nodes",
                verdicts: &["INSERTED"],
            },
            Tamper {
                what: "the last seal",
                sql: "delete from audit.seals where number = (select max(number) from audit.seals)",
                verdicts: &["FORKED", "INSERTED"],
            },
            Tamper {
                what: "a checkpoint of another tree",
                sql: "update audit.checkpoints set note = (select c.note from audit.checkpoints c order by c.tree_size limit 1)
                       where tree_size = (select max(tree_size) from audit.checkpoints)",
                verdicts: &["ALTERED"],
            },
        ])
        .await
}
