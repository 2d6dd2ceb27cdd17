//! A binary COPY of the rows that the daemon wrote, into the same tables, with no broker: what the database can take.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sqlx::PgConnection;

use crate::bench::database::{self, Database};
use crate::bench::drain::Sample;
use crate::bench::meter::{self, Mark};
use crate::bench::scale::Scale;
use crate::bench::scene::Scene;

/// Writes the rows of a database to a file.
///
/// # Errors
/// When the server does not.
pub async fn save(scene: &Scene, from: &mut PgConnection) -> Result<PathBuf> {
    let file = database::server_file(scene, "bench.copy");
    let copy = format!("copy (select * from audit.events) to {} (format binary)", quoted(&file));
    database::run(from, &copy).await?;
    Ok(file)
}

/// Reads them into an empty database.
///
/// # Errors
/// When the server does not.
pub async fn measure(scene: &Scene, scale: &Scale, file: &Path) -> Result<Sample> {
    let database = Database::migrated(scene).await?;
    let mut observer = database.connect().await?;
    let mut writer = database.connect().await?;
    // Where the rows were written before midnight, they belong to the day before.
    database::run(
        &mut writer,
        "select audit.ensure_partition(now() - n * interval '1 day', 'daily') from generate_series(0, 1) n",
    )
    .await?;
    meter::settle(scene, scale, &mut observer).await?;
    let mut sample = {
        let backend = meter::backend(&mut observer).await?;
        let wal = meter::Wal::now(&mut observer).await?;
        let mark = Mark::now(scene, backend)?;
        let copy = format!("copy audit.events from {} (format binary)", quoted(file));
        database::run(&mut writer, &copy).await?;
        let used = mark.until_now(scene)?;
        let mut sample = Sample::of(&used, scale.events, 0.0, 0.0);
        sample.wal = Some(wal.until_now(&mut observer).await? / f64::from(scale.events));
        sample
    };
    let (rows, _) = database.events(&mut observer).await.context("count what COPY wrote")?;
    anyhow::ensure!(rows == i64::from(scale.events), "COPY wrote {rows} rows");
    // It has no consumer, and no broker worth the name.
    sample.broker = 0.0;
    drop((observer, writer));
    database.remove(scene).await?;
    Ok(sample)
}

fn quoted(file: &Path) -> String {
    format!("'{}'", file.display().to_string().replace('\'', "''"))
}
