//! A daemon replaced by another under load, as an upgrade does it: nothing is lost, nothing is stored twice, and
//! `audit.listening` knows of no moment that was missed. What was on its way to the one that stops may come again to the other.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::support::{Bed, Daemon, Load, Scene, lost_0_duplicates_0};

/// How often one takes the place of another.
const ROUNDS: usize = 4;

/// What is answered about each moment at which anything changed, from the first event on.
const ANSWERS: &str = "
    with moment as (select from_at as at from audit.coverage union select to_at from audit.coverage)
    select distinct l.answer
      from moment m, (select min(received_at) as first, max(received_at) as last from audit.events) e, audit.listening(m.at) l
     where m.at between e.first and e.last order by 1";

async fn answers(scene: &Scene) -> Result<Vec<String>> {
    let mut sql = scene.sql().await?;
    let answers = sqlx::query_scalar(ANSWERS).fetch_all(&mut sql).await?;
    sqlx::Connection::close(sql).await?;
    Ok(answers)
}

/// Its stop is clean.
async fn ends(daemon: &Daemon) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    let code = daemon.ends().await?;
    ensure!(code == 0, "it ended with {code}: {:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_one_that_starts_beside_it() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let mut daemon = scene.daemon().await?;
    let published = Load::new(&scene, 1)
        .under(async |load| {
            for _ in 0..ROUNDS {
                load.goes_on().await?;
                let next = scene.daemon().await?;
                load.goes_on().await?;
                ends(&daemon).await?;
                load.goes_on().await?;
                daemon = next;
            }
            Ok(())
        })
        .await?;
    lost_0_duplicates_0(&scene, daemon, &published).await?;
    assert_eq!(answers(&scene).await?, ["recorded"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_one_that_starts_after_it_as_systemd_does() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let mut daemon = scene.daemon().await?;
    let published = Load::new(&scene, 2)
        .under(async |load| {
            for _ in 0..ROUNDS {
                load.goes_on().await?;
                ends(&daemon).await?;
                daemon = scene.daemon().await?;
            }
            load.goes_on().await
        })
        .await?;
    lost_0_duplicates_0(&scene, daemon, &published).await?;
    // What came while nobody was there waited in the queue.
    assert_eq!(answers(&scene).await?, ["delayed", "recorded"]);
    Ok(())
}
