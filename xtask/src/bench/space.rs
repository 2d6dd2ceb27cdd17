//! Room on the disk.

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use super::figure::plain;
use super::scene::Scene;

/// Makes sure that so many bytes are free where the servers keep their data.
///
/// # Errors
/// When they are not, or nobody knows.
pub async fn ensure(scene: &Scene, needed: u64, what: &str) -> Result<()> {
    let mut df = Command::new("df");
    df.args(["--output=avail", "--block-size=1"]).arg(scene.postgres.data_dir());
    let output = df.output().await.context("run df")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let free: u64 = said.lines().nth(1).context("df says nothing")?.trim().parse()?;
    let gigabytes = |bytes: u64| plain(bytes as f64 / 1e9);
    ensure!(
        free >= needed,
        "{what} takes {} GB below {}, where {} are free",
        gigabytes(needed),
        scene.postgres.directory().display(),
        gigabytes(free)
    );
    Ok(())
}
