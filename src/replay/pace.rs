//! How fast events are published.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How far behind its time an event may be published before the times of all that follow are put off as well: after a
/// pause nobody gets at once what was held up.
const BEHIND: Duration = Duration::from_secs(1);

/// How fast events are published. It reads back from its JSON, which is on record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// At most so many events a second; above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// So many times as fast as they were received; above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Only while fewer messages than this wait in the queue that they go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_depth: Option<u32>,
}

impl Pace {
    /// How long so many events take, of which the first and the last were received so far apart; none where only the
    /// broker knows.
    #[must_use]
    pub fn estimate(&self, events: i64, apart: Duration) -> Option<Duration> {
        let by_rate =
            self.rate.map(|rate| seconds(u32::try_from(events).map_or(f64::MAX, f64::from) / rate));
        let by_speed = self.speed.map(|speed| seconds(apart.as_secs_f64() / speed));
        by_rate.max(by_speed)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rate, self.speed) {
            (Some(rate), _) => write!(f, "{rate}/s")?,
            (None, Some(speed)) => write!(f, "{speed} times as fast as they came")?,
            (None, None) => f.write_str("as fast as the broker confirms")?,
        }
        match self.until_depth {
            Some(depth) => write!(f, ", up to {depth} waiting messages"),
            None => Ok(()),
        }
    }
}

/// Tells when each event is due.
#[derive(Debug)]
pub struct Pacer {
    pace: Pace,
    /// From when on times count: by this clock, by the events' own, and how many were published since.
    origin: Option<(Instant, OffsetDateTime, u32)>,
}

impl Pacer {
    /// The first event is due at once.
    #[must_use]
    pub fn new(pace: Pace) -> Pacer {
        Pacer { pace, origin: None }
    }

    /// When the next event is due, which was received at that time; none for at once.
    pub fn due(&mut self, now: Instant, received_at: OffsetDateTime) -> Option<Instant> {
        if self.pace.rate.is_none() && self.pace.speed.is_none() {
            return None;
        }
        let (start, first, published) = self.origin.unwrap_or((now, received_at, 0));
        let by_rate =
            self.pace.rate.map_or(Duration::ZERO, |rate| seconds(f64::from(published) / rate));
        let apart = (received_at - first).as_seconds_f64().max(0.0);
        let by_speed = self.pace.speed.map_or(Duration::ZERO, |speed| seconds(apart / speed));
        let due = start + by_rate.max(by_speed);
        self.origin = Some(match now.checked_duration_since(due) {
            Some(late) if late > BEHIND => (now, received_at, 1),
            // A number that ends gives way to a new origin, at the time that is due.
            _ if published == u32::MAX => (due, received_at, 1),
            _ => (start, first, published + 1),
        });
        (due > now).then_some(due)
    }
}

/// A time that no clock reaches where it is too long for one.
fn seconds(seconds: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |duration| duration.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const FIRST: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    /// When events are published that were received so many milliseconds after the first, by a clock that only waits.
    fn published(pace: Pace, received: impl Iterator<Item = u64>) -> Vec<u128> {
        let start = Instant::now();
        let mut now = start;
        let mut pacer = Pacer::new(pace);
        received
            .map(|millis| {
                let due = pacer.due(now, FIRST + Duration::from_millis(millis));
                now = due.unwrap_or(now);
                (now - start).as_millis()
            })
            .collect()
    }

    #[test]
    fn a_rate_spreads_them_evenly() {
        let pace = Pace { rate: Some(500.0), ..Pace::default() };
        let at = published(pace, std::iter::repeat_n(0, 15_001));
        assert_eq!(at[..4], [0, 2, 4, 6]);
        assert_eq!(at[15_000], 30_000);
    }

    #[test]
    fn a_speed_keeps_the_gaps_in_proportion() {
        let pace = Pace { speed: Some(10.0), ..Pace::default() };
        assert_eq!(published(pace, [0, 100, 150, 10_000].into_iter()), [0, 10, 15, 1000]);
        let slow = Pace { speed: Some(0.5), ..Pace::default() };
        assert_eq!(published(slow, [0, 100].into_iter()), [0, 200]);
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace { rate: Some(10.0), ..Pace::default() });
        assert_eq!(pacer.due(start, FIRST), None);
        let later = start + Duration::from_secs(60);
        assert_eq!(pacer.due(later, FIRST), None);
        assert_eq!(pacer.due(later, FIRST), Some(later + Duration::from_millis(100)));
        // What is short is: the average stays.
        let hiccup = later + Duration::from_millis(600);
        assert_eq!(pacer.due(hiccup, FIRST), None);
        assert_eq!(pacer.due(hiccup, FIRST), None);
    }

    #[test]
    fn without_a_pace_nothing_waits() {
        assert_eq!(published(Pace::default(), [0, 5000].into_iter()), [0, 0]);
    }

    #[test]
    fn what_it_takes_is_estimated() {
        let pace = Pace { rate: Some(100.0), ..Pace::default() };
        assert_eq!(pace.estimate(1000, Duration::ZERO), Some(Duration::from_secs(10)));
        let pace = Pace { speed: Some(60.0), ..Pace::default() };
        assert_eq!(pace.estimate(5, Duration::from_secs(600)), Some(Duration::from_secs(10)));
        assert_eq!(Pace::default().estimate(5, Duration::ZERO), None);
    }
}
