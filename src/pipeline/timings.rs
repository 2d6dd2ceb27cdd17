//! Timings: how long things took, for the metrics.

use std::time::Duration;

use metrics::{Histogram, histogram};
use time::OffsetDateTime;

use crate::{event::now, measures, store::Batch};

/// Where durations of one pipeline are recorded; nowhere, where nobody serves metrics.
pub(super) struct Timings {
    batch: Histogram,
    commit: Histogram,
    age: Histogram,
    latency: Histogram,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            batch: histogram!(measures::BATCH_DELIVERIES),
            commit: histogram!(measures::COMMIT),
            age: histogram!(measures::EVENT_AGE),
            latency: histogram!(measures::COMMIT_LATENCY),
        }
    }
}

impl Timings {
    /// This batch has just been committed.
    pub fn committed(&self, batch: &Batch, took: Duration) {
        let now = now();
        let deliveries = u32::try_from(batch.entries().len()).unwrap_or(u32::MAX);
        self.batch.record(deliveries);
        self.commit.record(took);
        for entry in batch.entries() {
            let received = entry.delivery().received_at;
            self.latency.record(between(received, now));
            if let Some(happened) = entry.event().event_time {
                self.age.record(between(happened, received));
            }
        }
    }
}

/// Seconds; none where a clock is ahead.
fn between(from: OffsetDateTime, to: OffsetDateTime) -> f64 {
    (to - from).as_seconds_f64().max(0.0)
}
