//! How long to wait before trying again.

use std::time::{Duration, Instant};

use rand::RngExt;

/// Doubles from `initial` to `max`, and takes a random part of the upper half each time, so that many clients of a
/// server that comes back do not all come at once. Never longer than `max`. Times are whole milliseconds, for people
/// who read them in a log.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    attempts: u32,
    since: Option<Instant>,
}

impl Backoff {
    /// Waits between half of `initial` and `max`.
    pub fn new(initial: Duration, max: Duration) -> Backoff {
        Backoff { initial, max, attempts: 0, since: None }
    }

    /// The same with a longest wait of at most `max`.
    pub fn at_most(self, max: Duration) -> Backoff {
        Backoff { initial: self.initial.min(max), max: self.max.min(max), ..self }
    }

    /// The longest wait.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The wait after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        let ceiling = self.initial.saturating_mul(1 << self.attempts.min(30)).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        whole_milliseconds(ceiling.mul_f64(rand::rng().random_range(0.5..=1.0)))
    }

    /// Failures in a row so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts over after a success. Tells how many failures there were and since when, if there were any.
    pub fn reset(&mut self) -> Option<(u32, Duration)> {
        let failures = std::mem::take(&mut self.attempts);
        self.since.take().map(|since| (failures, whole_milliseconds(since.elapsed())))
    }
}

fn whole_milliseconds(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_never_beyond() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        for ceiling in [100, 200, 400, 800, 1600, 3000, 3000] {
            let delay = backoff.next_delay().as_millis();
            assert!((ceiling / 2..=ceiling).contains(&delay), "{delay} for {ceiling}");
        }
        for _ in 0..100 {
            assert!(backoff.next_delay() <= Duration::from_secs(3));
        }
        assert_eq!(backoff.reset().map(|(failures, _)| failures), Some(107));
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }

    #[test]
    fn without_a_failure_there_is_nothing_to_tell() {
        assert_eq!(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).reset(), None);
    }

    #[test]
    fn delays_differ() {
        let delay = || Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).next_delay();
        let first = delay();
        assert!((0..100).any(|_| delay() != first));
    }
}
