//! Several writers and several sealers, whose connections are killed at any moment.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::{
    ledger::Frontier,
    store::{Kind, Ledger, SealLog, Sealing, Settings},
};
use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sqlx::PgConnection;

use crate::{
    cursor::{settings as daemons, write},
    support::{Bed, Scene},
};

const WRITERS: u64 = 6;
const SEALERS: u64 = 3;

/// How long they are disturbed, in seconds; `LEDGER_SECONDS` says otherwise.
const SECONDS: u64 = 5;

fn settings(bed: &Bed, scene: &Scene, name: &str) -> Result<Settings> {
    Ok(Settings { ledger: Some(Ledger::default()), ..daemons(bed, scene, name)? })
}

/// Seals until told to stop, and then until nothing is left. Tells how often it did.
async fn seal(settings: Settings, over: &AtomicBool) -> Result<usize> {
    let mut sealed = 0;
    let mut log = None;
    loop {
        let last = over.load(Ordering::Relaxed);
        let outcome = async {
            let open = match log.take() {
                Some(open) => open,
                None => SealLog::open(&settings).await?,
            };
            log.insert(open).seal().await
        };
        match outcome.await {
            Ok(Sealing::Sealed(_)) => sealed += 1,
            Ok(Sealing::Nothing) if last => return Ok(sealed),
            Ok(Sealing::Lost(lost)) => anyhow::bail!("{lost}"),
            Ok(Sealing::Nothing | Sealing::Busy) => tokio::task::yield_now().await,
            Err(fault) => {
                ensure!(fault.kind == Kind::Unavailable, "{fault}");
                log = None;
            }
        }
    }
}

async fn disturb(sql: &mut PgConnection, lasting: Duration) -> Result<i64> {
    let (mut random, begin, mut kills) = (StdRng::seed_from_u64(7), Instant::now(), 0);
    while begin.elapsed() < lasting {
        let victim = match random.random_range(0..WRITERS + SEALERS) {
            writer if writer < WRITERS => format!("writer {writer}"),
            sealer => format!("sealer {}", sealer - WRITERS),
        };
        let (killed,): (i64,) = sqlx::query_as(
            "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity, pg_sleep($2)
              where datname = current_database() and application_name = $1",
        )
        .bind(victim)
        .bind(random.random_range(0.0..0.05))
        .fetch_one(&mut *sql)
        .await?;
        kills += killed;
    }
    Ok(kills)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_is_sealed_once_whoever_writes_seals_or_dies() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let mut sql = scene.sql().await?;
    sqlx::query("select audit.ensure_partition(now(), 'daily')").execute(&mut sql).await?;
    let seconds = match std::env::var("LEDGER_SECONDS") {
        Ok(seconds) => seconds.parse().context("LEDGER_SECONDS")?,
        Err(_) => SECONDS,
    };
    let (next, written, sealed) =
        (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let writers = join_all((0..WRITERS).map(|number| {
        let settings = settings(bed, &scene, &format!("writer {number}"));
        let (next, written) = (&next, &written);
        async move {
            write(settings?, number, next, written).await?.close().await;
            anyhow::Ok(())
        }
    }));
    let sealers = join_all((0..SEALERS).map(|number| {
        let settings = settings(bed, &scene, &format!("sealer {number}"));
        let sealed = &sealed;
        async move { seal(settings?, sealed).await }
    }));
    let disturbed = async {
        let kills = disturb(&mut sql, Duration::from_secs(seconds)).await;
        written.store(true, Ordering::Relaxed);
        kills
    };
    let writing = async {
        let (kills, done) = tokio::join!(disturbed, writers);
        sealed.store(true, Ordering::Relaxed);
        done.into_iter().collect::<Result<()>>()?;
        kills
    };
    let (kills, seals) = tokio::join!(writing, sealers);
    let (kills, seals) = (kills?, seals.into_iter().collect::<Result<Vec<_>>>()?);
    assert!(kills > 10, "only {kills} connections were killed");
    assert!(seals.iter().filter(|seals| **seals > 0).count() > 1, "{seals:?}: one sealed alone");

    // Each batch is in the one seal that has its position, and they follow each other.
    let once = "select count(*) from audit.batches b
                 where (select count(*) from audit.seals s where s.position_from <= b.position and b.position < s.position_to) <> 1";
    assert_eq!(scene.number(once).await?, 0);
    let gaps = "select count(*) from (select b.number - lag(b.number, 1, 0::bigint) over w <> 1
                                          or b.position < lag(b.position, 1, b.position) over w as broken
                                        from audit.batches b window w as (partition by b.lane order by b.number)) b where broken";
    assert_eq!(scene.number(gaps).await?, 0);
    let events = scene.number("select count(*) from audit.events").await?;
    assert_eq!(usize::try_from(events)?, next.load(Ordering::Relaxed));
    let leaves = scene.number("select sum(1 + events)::bigint from audit.batches").await?;
    assert_eq!(scene.number("select max(tree_size) from audit.seals").await?, leaves);
    edges_lead_to_roots(&mut sql).await
}

async fn edges_lead_to_roots(sql: &mut PgConnection) -> Result<()> {
    let seals: Vec<(i64, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select tree_size, root, edge from audit.seals").fetch_all(sql).await?;
    for (size, root, edge) in seals {
        let edge = Frontier::from_parts(size.unsigned_abs(), edge.as_chunks().0.to_vec())?;
        assert_eq!(edge.root().as_slice(), root);
    }
    Ok(())
}
