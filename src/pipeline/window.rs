//! The window: how many deliveries may be in hand at once.
//!
//! The AMQP client buffers whatever the broker sends, so the number of unacknowledged deliveries that the broker is
//! granted is the only bound on memory, and on what goes back to the queue, and is counted by it, when something breaks.
//! So it is as narrow as there is reason for:
//!
//! - Large deliveries: as many as fit the budget in bytes, going by the sizes of late.
//! - Suspects: a message that the client cannot parse ends the session, and every delivery in hand goes back. With a
//!   window of thousands, one such message would drive its neighbours over the queue's delivery limit and into the dead
//!   letters, unrecorded. So after a session that ended by itself, what was in hand then is taken one at a time: the
//!   neighbours are stored, and only the message at fault, which came right behind them, is counted again, until the
//!   limit moves it out of the way.
//!   Then the window opens by steps, so that it stays small where more of its kind follow.
//! - Deliveries that the queue has counted often: one at a time as well, whoever kept failing on them.
//! - A new session: nothing is known of what waits, so a few are taken one by one, and then all at once. A quorum queue
//!   takes back, and counts, what was on its way to a consumer that is cancelled to make room for a wider one: so there
//!   are no more steps than needed, and none costs anything from one on (see the intake).

use crate::event::Delivery;

/// Factor between one width and the next, after a session that ended by itself.
const STEP: u16 = 8;
/// How many times its width passes before the window opens further.
const ROUNDS: u64 = 4;
/// Weight of a delivery in the mean of sizes: large ones count at once, and are forgotten slowly.
const ATTACK: f64 = 1.0 / 8.0;
const DECAY: f64 = 1.0 / 64.0;
/// Part of [`Bounds::bytes`] that is planned for: sizes vary.
const PLANNED: f64 = 0.75;

/// How far a window may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most deliveries in hand.
    pub deliveries: u16,
    /// Most bytes of deliveries in hand, as [`Delivery::size`] counts them. One delivery may be larger by itself.
    pub bytes: usize,
    /// Redeliveries, as the queue counts them, from which on a delivery is taken alone and committed alone.
    pub wary: u64,
}

impl Bounds {
    /// Whether the queue has counted this delivery so often that it must not be lost among others.
    pub(super) fn is_wary_of(&self, delivery: &Delivery) -> bool {
        delivery.delivery_count() >= self.wary
    }
}

/// How many deliveries may be in hand. Lasts from session to session.
#[derive(Debug, Clone)]
pub struct Window {
    bounds: Bounds,
    now: u16,
    /// Deliveries taken since it is as wide as it is.
    taken: u64,
    /// Deliveries that went back at once, and have yet to be taken one by one.
    suspects: u64,
    /// Whether it opens by steps.
    careful: bool,
    /// Mean of the squares of sizes: a few large deliveries among small ones weigh as much as they may take.
    mean_square: f64,
}

impl Window {
    /// A window that has seen nothing yet.
    pub fn new(bounds: Bounds) -> Window {
        Window { bounds, now: 1, taken: 0, suspects: 0, careful: false, mean_square: 0.0 }
    }

    /// Deliveries in hand at once.
    pub fn width(&self) -> u16 {
        self.now
    }

    /// Whether it is as wide as configured.
    pub fn is_wide_open(&self) -> bool {
        self.now == self.bounds.deliveries
    }

    /// Its width, where that is less than configured, or so little that nothing else is in hand beside a delivery.
    pub(super) fn narrowed(&self) -> Option<u16> {
        (self.now == 1 || !self.is_wide_open()).then_some(self.now)
    }

    /// Takes notice of a delivery. True where the window is of another width from now on.
    pub(super) fn took(&mut self, delivery: &Delivery) -> bool {
        self.taken += 1;
        self.weigh(delivery.size());
        let allowed = self.allowed();
        if self.bounds.is_wary_of(delivery) {
            self.taken = 0;
            return self.set(1);
        }
        if allowed <= self.now / 2 {
            return self.set(allowed);
        }
        let step = if self.careful { self.now.saturating_mul(STEP) } else { u16::MAX };
        let wider = step.min(allowed);
        let enough = self.suspects.max(u64::from(self.now) * ROUNDS);
        if self.taken < enough || wider < self.now.saturating_mul(2).min(self.bounds.deliveries) {
            return false;
        }
        self.suspects = 0;
        self.careful &= wider < self.bounds.deliveries;
        self.set(wider)
    }

    /// A new session begins, after one that ended in good order.
    pub fn begin_anew(&mut self) {
        self.set(1);
    }

    /// A session ended by itself, after which so many deliveries may come again.
    pub fn narrow(&mut self, coming_again: usize) {
        let left = if self.now == 1 { self.suspects.saturating_sub(self.taken) } else { 0 };
        // More than the window was wide cannot have been without an acknowledgement.
        let suspects = u64::from(self.now).min(coming_again as u64 + 1);
        self.suspects = left.max(suspects);
        self.careful = true;
        self.set(1);
    }

    fn set(&mut self, width: u16) -> bool {
        let changed = self.now != width;
        if changed || width == 1 {
            self.taken = 0;
        }
        self.now = width;
        changed
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    fn weigh(&mut self, size: usize) {
        let square = (size as f64).powi(2);
        self.mean_square = match self.mean_square {
            0.0 => square,
            before => {
                let weight = if square > before { ATTACK } else { DECAY };
                before + (square - before) * weight
            }
        };
    }

    /// As many as fit.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a quotient of positive numbers that saturates"
    )]
    fn allowed(&self) -> u16 {
        let fit = self.bounds.bytes as f64 * PLANNED / self.mean_square.sqrt();
        (fit as u16).clamp(1, self.bounds.deliveries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FieldValue, Properties, now};

    const MIB: usize = 1 << 20;

    fn window(deliveries: u16) -> Window {
        Window::new(Bounds { deliveries, bytes: 128 * MIB, wary: 5 })
    }

    fn delivery(size: usize, count: i64) -> Delivery {
        let headers = [("x-delivery-count".to_owned(), FieldValue::I64(count))].into();
        Delivery {
            tag: 1,
            redelivered: count > 0,
            exchange: String::new(),
            routing_key: String::new(),
            properties: Properties { headers: Some(headers), ..Properties::default() },
            body: vec![0; size],
            received_at: now(),
        }
    }

    /// The widths it has, and after how many deliveries each.
    fn widths(window: &mut Window, deliveries: usize, size: usize) -> Vec<(usize, u16)> {
        let delivery = delivery(size, 0);
        let mut widths = Vec::new();
        for number in 1..=deliveries {
            if window.took(&delivery) {
                widths.push((number, window.width()));
            }
        }
        widths
    }

    #[test]
    fn it_begins_with_one_and_then_opens_at_once() {
        let mut window = window(2_000);
        assert_eq!(window.width(), 1);
        assert_eq!(widths(&mut window, 10_000, 600), [(4, 2_000)]);
        window.begin_anew();
        assert_eq!(widths(&mut window, 10_000, 600), [(4, 2_000)]);
        assert!(window.is_wide_open());
    }

    #[test]
    fn what_went_back_at_once_is_taken_one_by_one() {
        let mut window = window(2_000);
        widths(&mut window, 10_000, 600);
        window.narrow(1_999);
        assert_eq!(widths(&mut window, 300, 600), []);
        // The one at fault, after three hundred good ones, and again without any.
        window.narrow(0);
        window.narrow(0);
        let steps = [(1_700, 8), (1_732, 64), (1_988, 512), (4_036, 2_000)];
        assert_eq!(widths(&mut window, 10_000, 600), steps);
    }

    #[test]
    fn a_session_that_ended_with_little_in_hand_narrows_it_for_as_little() {
        let mut window = window(2_000);
        widths(&mut window, 10_000, 600);
        window.narrow(0);
        assert_eq!(widths(&mut window, 10_000, 600)[0], (4, 8));
    }

    #[test]
    fn a_second_one_while_it_opens_sends_back_no_more_than_the_window() {
        let mut window = window(2_000);
        window.narrow(0);
        widths(&mut window, 4, 600);
        assert_eq!(window.width(), 8);
        window.narrow(7);
        assert_eq!(widths(&mut window, 8, 600), [(8, 8)]);
    }

    #[test]
    fn large_deliveries_keep_it_narrow_and_small_ones_after_them_open_it_again() {
        let mut window = window(2_000);
        widths(&mut window, 1_000, 8 * MIB);
        assert_eq!(window.width(), 11, "three quarters of 128 MiB");
        widths(&mut window, 10_000, 600);
        assert!(window.is_wide_open());
        // The first large one after many small ones already narrows it.
        let narrowed = widths(&mut window, 1, 8 * MIB);
        assert!(matches!(narrowed[..], [(1, width)] if width < 100), "{narrowed:?}");
    }

    #[test]
    fn one_larger_than_the_budget_is_taken_alone() {
        let mut window = window(2_000);
        widths(&mut window, 100, 200 * MIB);
        assert_eq!(window.width(), 1);
    }

    #[test]
    fn what_was_counted_often_is_taken_alone_for_as_long_as_it_comes() {
        let mut window = window(2_000);
        widths(&mut window, 10_000, 600);
        assert!(!window.took(&delivery(600, 4)));
        assert!(window.took(&delivery(600, 5)));
        assert_eq!(window.width(), 1);
        for _ in 0..100 {
            assert!(!window.took(&delivery(600, 5)));
        }
        assert_eq!(widths(&mut window, 4, 600), [(4, 2_000)]);
    }

    #[test]
    fn the_smallest_window_is_always_wide_open() {
        let mut window = window(1);
        window.narrow(0);
        assert_eq!(widths(&mut window, 100, 600), []);
        assert!(window.is_wide_open());
    }
}
