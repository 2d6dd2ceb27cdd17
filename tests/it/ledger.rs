//! The ledger: what is committed is sealed, each batch once, whoever seals.

use anyhow::Result;

use crate::support::{Bed, Scene, event};

/// Batches and their events are leaves, and nothing else is.
const SEALED: &str =
    "select coalesce(sum(s.tree_size - s.tree_from), 0)::bigint from audit.seals s";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_sealed_before_a_clean_stop_ends() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let events: Vec<_> = (0..700).map(event).collect();
    scene.publish(&events).await?;
    scene.stored(700).await?;
    daemon.stops_cleanly().await?;
    let leaves = scene.number("select sum(1 + events)::bigint from audit.batches").await?;
    scene.counts(leaves, SEALED).await?;
    let broken = "select count(*) from (select s.tree_from <> lag(s.tree_size, 1, 0::bigint) over w
                                             or s.position_from < lag(s.position_to, 1, s.position_from) over w as broken
                                          from audit.seals s window w as (order by s.number)) s where broken";
    assert_eq!(scene.number(broken).await?, 0);
    Ok(())
}
