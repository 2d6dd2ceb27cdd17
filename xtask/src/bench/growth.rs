//! Growth: draining into a table that holds many rows already, beside an empty one.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::bus::Kind;
use super::database::Database;
use super::drain::{self, Sample};
use super::figure::Figure;
use super::past::{self, Past};
use super::scale::Scale;
use super::scene::Scene;
use super::space;
use crate::figures::count;
use crate::screen::Screen;

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

/// Measures; each run drains once into a fresh copy of each. A past that is there already needs not be generated.
///
/// # Errors
/// When something fails, or the disk is too small.
pub async fn measure(
    screen: &Screen,
    scene: &Scene,
    scale: &Scale,
    mut ready: Option<Past>,
) -> Result<Growth> {
    let largest = scale.growth.iter().max().copied().unwrap_or_default();
    let what = format!("a copy of {} rows", count(largest));
    space::ensure(scene, largest * past::ROW_BYTES + (4 << 30), &what)
        .await
        .context("ask for fewer rows")?;
    let mut templates = Vec::new();
    for &rows in &scale.growth {
        let past = match ready.take_if(|past| past.rows == rows) {
            Some(past) => past,
            None => past::generate(screen, scene, rows, scale.growth_days.into()).await?,
        };
        templates.push((rows, past.database));
    }
    let mut growth = Growth { samples: BTreeMap::new() };
    for run in 1..=scale.runs {
        for (rows, template) in &templates {
            let status =
                || format!("  run {run} of {}: drain beside {} rows", scale.runs, count(*rows));
            let measuring = async {
                let database = Database::copy_of(scene, template).await?;
                database.warm(false).await?;
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
