//! A history that the daemon has recorded.

use anyhow::{Context as _, Result, ensure};

use super::bus::{Bus, Kind};
use super::database::{self, Database};
use super::drain;
use super::scene::Scene;

/// A database that holds so many events; the daemon has stopped.
///
/// # Errors
/// When something fails.
pub async fn by_the_daemon(
    scene: &Scene,
    events: u32,
    settings: &[(String, String)],
) -> Result<Database> {
    let database = Database::migrated(scene).await?;
    let bus = Bus::declare(scene.address(), Kind::Quorum).await?;
    bus.fill(events).await.context("fill the queue")?;
    let mut observer = database.connect().await?;
    let daemon = scene.start_daemon_with(&bus, &database, settings)?;
    drain::until_stored(&mut observer, &daemon, events).await?;
    let status = daemon.stop().await?;
    ensure!(status.success(), "the daemon ended with {status}:\n{}", daemon.log_tail());
    database::run(&mut observer, "vacuum (analyze)").await?;
    bus.delete().await?;
    Ok(database)
}
