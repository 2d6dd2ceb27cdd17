//! Metrics in Prometheus' text format.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use metrics_util::MetricKindMask;

use crate::measures::{self, Kind};

/// A gauge that was not set for that long is told no more: each one is set whenever they are asked for, as long as it is known.
const STALE: Duration = Duration::from_secs(1);

/// Where this process's metrics are kept and read.
#[derive(Debug, Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    process: Collector,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The buckets of a histogram make no sense.
    #[error("the metrics cannot be set up: {0}")]
    Buckets(#[from] BuildError),
    /// Metrics are kept somewhere else in this process.
    #[error("the metrics are set up already")]
    Installed,
}

impl Exporter {
    /// How often what was observed has to be put into buckets: until then each observation takes memory.
    pub const TIDY: Duration = Duration::from_secs(1);

    /// Keeps the metrics of this process from now on. Before, they go nowhere.
    ///
    /// # Errors
    /// It has been called before.
    pub fn install() -> Result<Exporter, ExporterError> {
        let mut builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(STALE));
        for measure in measures::ALL {
            if let Kind::Histogram(buckets) = measure.kind {
                let name = Matcher::Full(measure.name.to_owned());
                builder = builder.set_buckets_for_metric(name, buckets)?;
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| ExporterError::Installed)?;
        measures::describe();
        let process = Collector::default();
        process.describe();
        Ok(Exporter { handle, process })
    }

    /// Puts into buckets what was observed.
    pub fn tidy(&self) {
        self.handle.run_upkeep();
    }

    /// All metrics as they are now.
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }
}
