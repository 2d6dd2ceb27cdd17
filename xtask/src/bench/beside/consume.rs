//! Consuming and acknowledging with the daemon's own client, nothing stored: what the broker can give.

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::broker::{Acker as _, Source as _};

use crate::bench::bus::{Bus, Kind};
use crate::bench::drain::Sample;
use crate::bench::meter::{self, Mark};
use crate::bench::scale::Scale;
use crate::bench::scene::Scene;
use crate::history;

/// As the daemon's default.
const PREFETCH: u16 = 2_000;
/// About as many as are acknowledged at once where batches are stored.
const ACK_EVERY: u64 = 500;

/// Drains a backlog.
///
/// # Errors
/// When it does not come to its end.
pub async fn measure(scene: &Scene, scale: &Scale, kind: Kind) -> Result<Sample> {
    let bus = Bus::declare(scene.address(), kind).await?;
    bus.fill(scale.events).await.context("fill the queue")?;
    let mut observer = history::connect(&scene.postgres.admin_url()).await?;
    meter::settle(scene, scale, &mut observer).await?;
    let mark = Mark::now(scene, meter::backend(&mut observer).await?)?;
    let (mut deliveries, mut acker, handle) = bus.consume(PREFETCH).await?.ends();
    let all = u64::from(scale.events);
    for count in 1..=all {
        let Some(delivery) = deliveries.next().await else {
            anyhow::bail!("after {count} deliveries: {}", deliveries.ending());
        };
        if count % ACK_EVERY == 0 || count == all {
            acker.ack_up_to(delivery.tag).await?;
        }
    }
    let used = mark.until_now(scene)?;
    handle.close().await;
    ensure!(bus.depth().await? == 0, "the queue is not empty");
    bus.delete().await?;
    Ok(Sample::of(&used, scale.events, used.us, 0.0))
}
