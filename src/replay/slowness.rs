//! Whether the broker's confirms take much longer than they used to: it, or what is behind it, has more than it bears.

use std::time::Duration;

/// What is no longer than that is never slow.
const FLOOR: Duration = Duration::from_secs(1);
/// So many times as long as usual is slow.
const TIMES: u32 = 5;
/// Each confirm counts so much of what is usual.
const WEIGHT: f64 = 0.02;

/// What is usual, and whether it is not like that now.
#[derive(Debug, Default)]
pub struct Slowness {
    usual: Option<Duration>,
    slow: bool,
}

/// It has become slow, or has ended to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This one took that long, and such are slow from now on.
    Slow {
        /// How long it took.
        took: Duration,
        /// How long they took before.
        usual: Duration,
    },
    /// They come as before.
    Usual,
}

impl Slowness {
    /// A confirm took so long from its publish; tells whether that is a turn. What is slow does not become usual: where
    /// nothing is usual yet, the first one is.
    pub fn took(&mut self, took: Duration) -> Option<Turn> {
        let usual = *self.usual.get_or_insert(took.min(FLOOR));
        let slow = took > FLOOR.max(usual.saturating_mul(TIMES));
        if !slow {
            let next = usual.as_secs_f64() + (took.as_secs_f64() - usual.as_secs_f64()) * WEIGHT;
            self.usual = Some(Duration::from_secs_f64(next.max(0.0)));
        }
        match (std::mem::replace(&mut self.slow, slow), slow) {
            (false, true) => Some(Turn::Slow { took, usual }),
            (true, false) => Some(Turn::Usual),
            _ => None,
        }
    }

    /// Whether they are slow now.
    pub fn is_slow(&self) -> bool {
        self.slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What turns, of confirms that take so many milliseconds.
    fn turns(millis: &[u64]) -> Vec<Option<bool>> {
        let mut slowness = Slowness::default();
        let mut turn = |&millis: &u64| {
            let turn = slowness.took(Duration::from_millis(millis))?;
            Some(matches!(turn, Turn::Slow { .. }))
        };
        millis.iter().map(&mut turn).collect()
    }

    #[test]
    fn slow_is_several_times_as_long_as_usual_and_no_trifle() {
        assert_eq!(turns(&[2, 20, 900, 1000]), [None; 4], "a trifle");
        assert_eq!(turns(&[2, 1001, 3000, 2, 2]), [None, Some(true), None, Some(false), None]);
        assert_eq!(turns(&[900, 4000, 5000]), [None, None, Some(true)]);
    }

    #[test]
    fn what_is_slow_for_long_does_not_become_usual() {
        let mut slowness = Slowness::default();
        slowness.took(Duration::from_millis(5));
        for _ in 0..10_000 {
            slowness.took(Duration::from_secs(5));
        }
        assert!(slowness.is_slow());
        assert_eq!(slowness.took(Duration::from_millis(5)), Some(Turn::Usual));
    }

    #[test]
    fn what_is_usual_follows_what_is_not_slow() {
        let mut slowness = Slowness::default();
        slowness.took(Duration::from_millis(1));
        for _ in 0..1000 {
            slowness.took(Duration::from_millis(900));
        }
        assert_eq!(slowness.took(Duration::from_secs(4)), None);
    }
}
