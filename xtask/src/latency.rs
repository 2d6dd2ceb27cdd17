//! Quantiles of how long events take, in a memory that does not grow.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Each bucket's bounds are this factor apart, so a quantile is at most 3 % too high.
const STEP: f64 = 1.03;
/// Enough buckets for 1 µs to an hour.
const BUCKETS: usize = 745;
/// What "recent" means.
const RECENT: Duration = Duration::from_secs(5);

/// Counts times in buckets, for the whole run and for each of the last seconds.
#[derive(Debug)]
pub struct Latency {
    all: Histogram,
    seconds: VecDeque<(Instant, Histogram)>,
    max: Duration,
}

/// The middle and the slow end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of the events took at most this.
    pub p50: Duration,
    /// All but one in a hundred took at most this.
    pub p99: Duration,
}

#[derive(Debug)]
struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Latency {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self { all: Histogram::new(), seconds: VecDeque::new(), max: Duration::ZERO }
    }

    /// Counts one event that took `time` and was seen `now`.
    pub fn record(&mut self, time: Duration, now: Instant) {
        self.forget(now);
        if self.seconds.back().is_none_or(|(began, _)| now - *began >= Duration::from_secs(1)) {
            self.seconds.push_back((now, Histogram::new()));
        }
        if let Some((_, second)) = self.seconds.back_mut() {
            second.record(time);
        }
        self.all.record(time);
        self.max = self.max.max(time);
    }

    /// Of the last five seconds or so; `None` where nothing was seen in them.
    pub fn recent(&mut self, now: Instant) -> Option<Quantiles> {
        self.forget(now);
        let mut sum = Histogram::new();
        for (_, second) in &self.seconds {
            sum.add(second);
        }
        sum.quantiles(self.max)
    }

    /// Of the whole run.
    pub fn overall(&self) -> Option<Quantiles> {
        self.all.quantiles(self.max)
    }

    /// The longest of the whole run, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }

    fn forget(&mut self, now: Instant) {
        while self.seconds.front().is_some_and(|(began, _)| now - *began > RECENT) {
            self.seconds.pop_front();
        }
    }
}

impl Histogram {
    fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0 }
    }

    fn record(&mut self, time: Duration) {
        let microseconds = (time.as_secs_f64() * 1e6).max(1.0);
        let bucket = (microseconds.ln() / STEP.ln()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.count += other.count;
    }

    fn quantiles(&self, max: Duration) -> Option<Quantiles> {
        (self.count > 0).then(|| Quantiles {
            p50: self.quantile(0.5).min(max),
            p99: self.quantile(0.99).min(max),
        })
    }

    /// The upper bound of the bucket that holds the quantile.
    fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Duration::from_secs_f64(STEP.powi(bucket.unwrap_or(BUCKETS - 1) as i32 + 1) / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Latency;

    #[test]
    fn quantiles_are_close_and_the_maximum_is_exact() {
        let mut latency = Latency::new();
        let now = Instant::now();
        for milliseconds in 1..=1000 {
            latency.record(Duration::from_millis(milliseconds), now);
        }
        let quantiles = latency.recent(now).unwrap();
        for (found, expected) in [(quantiles.p50, 500.0), (quantiles.p99, 990.0)] {
            let ratio = found.as_secs_f64() * 1e3 / expected;
            assert!((1.0..1.031).contains(&ratio), "{found:?} for {expected}");
        }
        assert_eq!(latency.max(), Duration::from_secs(1));
        assert_eq!(latency.overall(), Some(quantiles));
    }

    #[test]
    fn what_is_long_past_is_no_longer_recent() {
        let mut latency = Latency::new();
        let now = Instant::now();
        latency.record(Duration::from_secs(3), now);
        let later = now + Duration::from_secs(8);
        assert_eq!(latency.recent(later), None);
        latency.record(Duration::from_millis(2), later);
        assert!(latency.recent(later).unwrap().p99 <= Duration::from_micros(2_100));
        assert_eq!(latency.max(), Duration::from_secs(3));
    }
}
