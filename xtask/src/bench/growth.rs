//! Growth: draining into a table that holds many rows already, beside an empty one.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, PgConnection};

use super::bus::Kind;
use super::database::{self, Database};
use super::drain::{self, Sample};
use super::figure::Figure;
use super::scale::Scale;
use super::scene::Scene;
use super::space;
use crate::figures::count;
use crate::screen::Screen;

/// Bytes on disk of a generated row with its indexes, measured; their bodies are small, since what fills the disk is
/// not what makes ingest slower.
const ROW_BYTES: u64 = 360;
/// Rows of one generating statement.
const STEP: u64 = 250_000;

/// What was measured, by rows that were there.
pub struct Growth {
    pub samples: BTreeMap<u64, Vec<Sample>>,
}

impl Growth {
    /// The figure of some measurement.
    pub fn figure(&self, rows: u64, value: impl Fn(&Sample) -> f64) -> Option<Figure> {
        Figure::of(self.samples.get(&rows)?.iter().map(value))
    }
}

/// Measures; each run drains once into a fresh copy of each.
///
/// # Errors
/// When something fails, or the disk is too small.
pub async fn measure(screen: &Screen, scene: &Scene, scale: &Scale) -> Result<Growth> {
    ensure_space(scene, scale).await?;
    let mut templates = Vec::new();
    for &rows in &scale.growth {
        let status = || format!("  growth: generating {} rows", count(rows));
        let template = screen.during(status, template(scene, scale, rows)).await?;
        templates.push((rows, template));
    }
    let mut growth = Growth { samples: BTreeMap::new() };
    for run in 1..=scale.runs {
        for (rows, template) in &templates {
            let status =
                || format!("  run {run} of {}: drain beside {} rows", scale.runs, count(*rows));
            let measuring = async {
                let database = Database::copy_of(scene, template).await?;
                drain::daemon(scene, scale, Kind::Quorum, database, None, None).await
            };
            let sample = screen.during(status, measuring).await?;
            growth.samples.entry(*rows).or_default().push(sample);
        }
    }
    for (_, template) in templates {
        template.remove(scene).await?;
    }
    Ok(growth)
}

/// All templates lie there together, beside one copy of the largest.
async fn ensure_space(scene: &Scene, scale: &Scale) -> Result<()> {
    let largest = scale.growth.iter().max().copied().unwrap_or_default();
    let needed = (scale.growth.iter().sum::<u64>() + largest) * ROW_BYTES + (4 << 30);
    let what = format!("growth beside {} rows", count(largest));
    space::ensure(scene, needed, &what).await.context("ask for fewer rows")
}

async fn template(scene: &Scene, scale: &Scale, rows: u64) -> Result<Database> {
    let database = Database::migrated(scene).await?;
    let mut connection = database.connect().await?;
    // It need not survive the machine, and has to be made.
    database::run(&mut connection, "set synchronous_commit = off").await?;
    let days = u64::from(scale.growth_days);
    for day in 0..days {
        let of_this_day = rows * (day + 1) / days - rows * day / days;
        let mut left = of_this_day;
        while left > 0 {
            let step = left.min(STEP);
            generate(&mut connection, i64::try_from(day)?, i64::try_from(step)?).await?;
            left -= step;
        }
    }
    // As a server that has been running for long, and so that neither happens in the middle of a measurement.
    database::run(&mut connection, "vacuum (freeze, analyze)").await?;
    database::run(&mut connection, "checkpoint").await?;
    Ok(database)
}

/// Rows of the day so many days ago, into its partition with the indexes in place, random ids and all.
async fn generate(connection: &mut PgConnection, day: i64, rows: i64) -> Result<()> {
    let made = sqlx::query("select audit.ensure_partition(now() - $1 * interval '1 day', 'daily')");
    made.bind(day).execute(&mut *connection).await.context("make a partition")?;
    let partition: String = sqlx::query_scalar(
        "select format('audit.%I', p.name) from audit.partitions p, (select now() - $1 * interval '1 day' as at) day
          where p.from_at <= day.at and day.at < p.to_at",
    )
    .bind(day)
    .fetch_one(&mut *connection)
    .await
    .context("find a partition")?;
    let insert = format!(
        "insert into {partition} (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_type,
             source, exchange, routing_key, correlation_ids, properties, payload)
         select -n, at, at, gen_random_uuid(), false, false, false, 'llm.prompt.submitted', 'workstation-7', 'bench',
                'llm.prompt.submitted', '{{}}', '{{\"delivery_mode\":2}}', '{{\"event_type\":\"llm.prompt.submitted\"}}'
           from (select now() - $1 * interval '1 day' as at) day, generate_series(1, $2) n"
    );
    let query = sqlx::query(AssertSqlSafe(insert)).bind(day).bind(rows);
    query.execute(connection).await.with_context(|| format!("generate rows of {partition}"))?;
    Ok(())
}
