//! The window: how many deliveries a session may take before any is acknowledged.
//!
//! A message that the AMQP client cannot parse ends the session, and every delivery in hand goes back to the queue,
//! which counts how often. With a window of thousands, one such message would drive its neighbours over the queue's
//! delivery limit and into the dead letters, unrecorded. So after a session that ended by itself, what was in hand then
//! is taken one delivery at a time: the neighbours are stored, and only the message at fault is counted again, until
//! the limit moves it out of the way. Then the window opens by steps, so that it stays small where more of its kind
//! follow.

/// Factor between one session's window and the next one's.
const STEP: u16 = 8;
/// How many times its window a session takes before the next, wider one.
const ROUNDS: u64 = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    now: u16,
    full: u16,
    /// Deliveries that went back at once, and have yet to be taken one by one.
    suspects: u64,
}

impl Window {
    pub fn full(prefetch: u16) -> Window {
        Window { now: prefetch, full: prefetch, suspects: 0 }
    }

    /// Deliveries in hand at once.
    pub fn prefetch(self) -> u16 {
        self.now
    }

    /// Deliveries after which the session should give way to a wider one; `None` where it is as wide as can be.
    pub fn take(self) -> Option<u64> {
        let usual = u64::from(self.now) * ROUNDS;
        (self.now < self.full).then_some(self.suspects.max(usual))
    }

    /// After a session that ended by itself, having settled so many.
    pub fn narrow(&mut self, settled: u64) {
        self.suspects = match self.now {
            1 => self.suspects.saturating_sub(settled),
            several => several.into(),
        };
        self.now = 1;
    }

    /// After one that took what it may.
    pub fn widen(&mut self) {
        self.suspects = 0;
        self.now = self.now.saturating_mul(STEP).min(self.full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_back_at_once_is_taken_one_by_one_and_then_it_opens_by_steps() {
        let mut window = Window::full(2_000);
        assert_eq!((window.prefetch(), window.take()), (2_000, None));
        window.narrow(0);
        assert_eq!((window.prefetch(), window.take()), (1, Some(2_000)));
        // The one at fault, after three hundred good ones, and again without any.
        window.narrow(300);
        window.narrow(0);
        let mut steps = Vec::new();
        while let Some(take) = window.take() {
            steps.push((window.prefetch(), take));
            window.widen();
        }
        assert_eq!(steps, [(1, 1_700), (8, 32), (64, 256), (512, 2_048)]);
        assert_eq!(window.prefetch(), 2_000);
    }

    #[test]
    fn a_second_one_while_it_opens_sends_back_no_more_than_the_window() {
        let mut window = Window::full(2_000);
        window.narrow(0);
        window.widen();
        window.narrow(3);
        assert_eq!((window.prefetch(), window.take()), (1, Some(8)));
    }

    #[test]
    fn the_smallest_window_is_always_full() {
        let mut window = Window::full(1);
        window.narrow(0);
        assert_eq!((window.prefetch(), window.take()), (1, None));
    }
}
