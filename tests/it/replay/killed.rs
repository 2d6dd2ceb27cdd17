//! Killed at any moment, and gone on with: none is missing, and no more come twice than were on their way.

use anyhow::Result;
use bloodbank_audit::replay::WINDOW;
use nix::sys::signal::Signal;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    YESTERDAY, begins, each_in_order, history, last_replay, numbers, quorum_queue, replays, taken,
    waits_at_least,
};
use crate::support::Bed;

/// How often it is killed here; `REPLAY_KILLS` says another number.
const KILLS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn none_is_missing_after_any_number_of_kills() -> Result<()> {
    let kills = std::env::var("REPLAY_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let events = i32::try_from(kills)? * 2000 + 1000;
    let scene = history(Bed::shared().await?, events).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let mut random = StdRng::seed_from_u64(6);
    let first = [&YESTERDAY[..], &["--to-queue", &queue, "--rate", "4000/s"]].concat();
    let mut replay = begins(&scene, &first)?;
    let mut wanted = 0;
    let mut killed = 0;
    for _ in 0..kills {
        wanted += random.random_range(1..2000);
        waits_at_least(&scene, &queue, wanted).await?;
        replay.signal(Signal::SIGKILL)?;
        drop(replay);
        killed += 1;
        wanted = scene.ready(&queue).await?;
        let id = last_replay(&scene).await?;
        // The server may not have noticed yet that the killed one is gone, and holds its lock.
        let resumable = "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1
                            and database = (select oid from pg_database where datname = current_database())";
        scene.counts(0, resumable).await?;
        replay = begins(&scene, &["--resume", &id])?;
        scene.counts(killed + 1, "select runs::int8 from audit.replays").await?;
    }
    assert_eq!(replay.ends().await?, 0, "{:?}", replay.log());
    let numbers = numbers(&taken(&scene, &queue).await?)?;
    each_in_order(&numbers, i64::from(events), usize::try_from(killed)? * WINDOW);
    assert_eq!(replays(&scene, &["--resume", &last_replay(&scene).await?])?.status, 1);
    Ok(())
}
