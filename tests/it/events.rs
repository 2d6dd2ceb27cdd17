//! `bloodbank-audit events`: who asks the history gets what is there, as it is, or a clear word.

mod conditions;
mod filters;
mod follow;
mod formats;
mod patterns;
mod refusals;
mod terminal;

use anyhow::Result;

use crate::support::{Answer, Bed, Kept, Scene};

/// A scene in which these events are there.
async fn with(events: &[Kept]) -> Result<Scene> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    scene.keeps(events).await?;
    Ok(scene)
}

/// Asks `events` with these arguments.
fn events(scene: &Scene, arguments: &[&str]) -> Result<Answer> {
    scene.asks(&[&["events"], arguments].concat())
}
