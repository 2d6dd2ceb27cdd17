//! How much of everything.

use std::time::Duration;

use serde::Serialize;

use super::Options;

/// The numbers of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Scale {
    /// How often each measurement is taken.
    pub runs: u32,
    /// Events of a backlog.
    pub events: u32,
    /// Events a second, for each measurement of latency.
    pub rates: Vec<u32>,
    /// How long each of those takes.
    #[serde(serialize_with = "seconds")]
    pub steady: Duration,
    /// How long each goes on before it counts.
    #[serde(serialize_with = "seconds")]
    pub warm_up: Duration,
    /// How long the servers may take to become quiet before each drain.
    #[serde(serialize_with = "seconds")]
    pub settling: Duration,
    /// Rows that the table holds before it grows; the empty one comes first.
    pub growth: Vec<u64>,
    /// Days that those rows spread over, the present one included.
    pub growth_days: u32,
    /// Events of the past that is asked, and the days that they spread over.
    pub past: u64,
    pub past_days: u64,
    /// How long a paced replay takes.
    #[serde(serialize_with = "seconds")]
    pub paced: Duration,
    /// How often each question is asked.
    pub questions: u32,
    /// Whether the figures mean nothing.
    pub quick: bool,
}

impl Scale {
    /// As asked for.
    pub fn of(options: &Options) -> Self {
        if options.scene.quick {
            return Self {
                runs: 1,
                events: 2_000,
                rates: vec![200],
                steady: Duration::from_millis(500),
                warm_up: Duration::from_millis(200),
                settling: Duration::ZERO,
                growth: vec![0, 2_000],
                growth_days: 2,
                past: 6_000,
                past_days: 3,
                paced: Duration::from_secs(1),
                questions: 2,
                quick: true,
            };
        }
        let asked: Vec<u64> = match options.growth.is_empty() {
            true => options.growth_rows.clone(),
            false => options.growth.iter().map(|millions| millions * 1_000_000).collect(),
        };
        Self {
            runs: options.runs,
            events: options.events,
            rates: vec![200, 2_000, 10_000],
            steady: Duration::from_secs(5),
            warm_up: Duration::from_secs(1),
            settling: Duration::from_secs(20),
            growth: [0].into_iter().chain(asked.into_iter().filter(|&rows| rows > 0)).collect(),
            growth_days: 10,
            past: u64::from(options.past) * 1_000_000,
            past_days: 60,
            paced: Duration::from_secs(30),
            questions: 200,
            quick: false,
        }
    }
}

fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}
