//! The line that tells how it goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::figures::{clock, count, short};
use crate::latency::Quantiles;

/// Over how long the rate is taken.
const WINDOW: Duration = Duration::from_secs(3);

/// Remembers enough to tell a rate.
pub struct Live {
    started: Instant,
    stored: VecDeque<(Instant, u64)>,
}

/// What the line tells.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Sample events published; none without traffic.
    pub published: Option<u64>,
    /// Events in the history.
    pub stored: u64,
    /// Deliveries that could not be stored.
    pub rejections: u64,
    /// From publishing to the row being visible.
    pub latency: Option<Quantiles>,
}

impl Live {
    /// The clock starts.
    pub fn new(now: Instant) -> Self {
        Self { started: now, stored: VecDeque::from([(now, 0)]) }
    }

    /// The line, in its longest form that fits.
    pub fn line(&mut self, figures: Figures, now: Instant, width: usize) -> String {
        self.stored.push_back((now, figures.stored));
        while self.stored.len() > 2 && now - self.stored[1].0 >= WINDOW {
            self.stored.pop_front();
        }
        let mut parts = vec![clock(now - self.started)];
        parts.extend(figures.published.map(|published| format!("published {}", count(published))));
        parts.push(format!("stored {}", count(figures.stored)));
        if figures.rejections > 0 {
            parts.push(format!("rejected {}", count(figures.rejections)));
        }
        parts.push(format!("{}/s", count(self.rate())));
        if let Some(Quantiles { p50, p99 }) = figures.latency {
            parts.push(format!("latency p50 {}, p99 {}", short(p50), short(p99)));
        }
        let long = format!("  {}", parts.join("  "));
        let short = long.replace("latency ", "").replace(", p99", " p99");
        let fits = |line: &String| line.chars().count() <= width;
        match (fits(&long), fits(&short)) {
            (true, _) => long,
            (false, true) => short,
            (false, false) => short.trim_start().to_owned(),
        }
    }

    fn rate(&self) -> u64 {
        let (Some((then, before)), Some((now, after))) = (self.stored.front(), self.stored.back())
        else {
            return 0;
        };
        let seconds = (*now - *then).as_secs_f64();
        if seconds < 0.2 {
            0
        } else {
            (after.saturating_sub(*before) as f64 / seconds).round() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Figures, Live, Quantiles};

    fn latency(p50: u64, p99: u64) -> Option<Quantiles> {
        Some(Quantiles { p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) })
    }

    #[test]
    fn tells_rate_and_latency_of_the_last_seconds() {
        let now = Instant::now();
        let mut live = Live::new(now);
        let figures = Figures {
            published: Some(100),
            stored: 100,
            rejections: 0,
            latency: latency(2_140, 5_000),
        };
        live.line(figures, now + Duration::from_secs(5), 79);
        let figures = Figures { published: Some(201), stored: 200, ..figures };
        let line = live.line(figures, now + Duration::from_secs(10), 79);
        assert_eq!(line, "  0:10  published 201  stored 200  20/s  latency p50 2.1 ms, p99 5.0 ms");
    }

    #[test]
    fn fits_80_columns_after_an_hour_at_5000() {
        let now = Instant::now();
        let mut live = Live::new(now);
        let stored = 17_999_000;
        let figures = Figures {
            published: Some(18_000_000),
            stored,
            rejections: 0,
            latency: latency(12_000, 114_000),
        };
        let line = live.line(figures, now + Duration::from_secs(3600), 79);
        assert!(line.chars().count() <= 79, "{line}");
        assert!(line.ends_with("p50 12 ms p99 114 ms"), "{line}");
    }
}
