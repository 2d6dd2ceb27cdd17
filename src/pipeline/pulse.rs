//! The pulse: whether each stage gets on with what it has, for whoever has to restart a daemon that does not.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Takes deliveries and passes them on.
    Intake,
    /// Gathers and commits what was passed on.
    Write,
    /// Tells the broker what is committed.
    Acknowledge,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::Intake, Stage::Write, Stage::Acknowledge];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Intake => "intake",
            Stage::Write => "write",
            Stage::Acknowledge => "acknowledge",
        }
    }
}

/// Since when each stage has been at one thing. What has nothing to do, or waits for the next attempt at something that
/// failed, is well for any length of time; what neither gets on nor fails is not.
#[derive(Debug)]
pub struct Pulse {
    begin: Instant,
    /// Milliseconds from `begin` to the latest sign of life of a stage that has something to do, and one more; zero where it
    /// has nothing.
    signs: [AtomicU64; 3],
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { begin: Instant::now(), signs: Default::default() }
    }
}

impl Pulse {
    /// Something came for an idle stage; one that is busy stays with what it was at.
    pub(super) fn has_work(&self, stage: Stage) {
        // Said of each delivery: where it is known, no clock is asked.
        if self.sign(stage).load(Ordering::Acquire) != 0 {
            return;
        }
        let now = self.now();
        // Where another sign stands already, that one counts.
        let _ = self.sign(stage).compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The stage got on, or failed, and goes on.
    pub(super) fn beat(&self, stage: Stage) {
        // Of two batches one may get on while the other waits for its next attempt.
        self.sign(stage).fetch_max(self.now(), Ordering::AcqRel);
    }

    /// The stage will not get on for so long, and knows it.
    pub(super) fn pause(&self, stage: Stage, delay: Duration) {
        let until = self.now().saturating_add(millis(delay));
        self.sign(stage).store(until, Ordering::Release);
    }

    /// The stage has nothing to do.
    pub(super) fn rest(&self, stage: Stage) {
        self.sign(stage).store(0, Ordering::Release);
    }

    /// At work on one thing until the guard is dropped.
    pub(super) fn at_work(&self, stage: Stage) -> AtWork<'_> {
        self.beat(stage);
        AtWork { pulse: self, stage }
    }

    /// The stage that has had something to do for longest without a sign of life, where that is longer than `limit`, and for how
    /// long.
    pub fn stuck(&self, limit: Duration) -> Option<(Stage, Duration)> {
        let now = self.now();
        let still = |stage: &Stage| match self.sign(*stage).load(Ordering::Acquire) {
            0 => Duration::ZERO,
            sign => Duration::from_millis(now.saturating_sub(sign)),
        };
        let late = Stage::ALL.iter().map(|stage| (*stage, still(stage)));
        late.filter(|(_, still)| *still > limit).max_by_key(|(_, still)| *still)
    }

    fn sign(&self, stage: Stage) -> &AtomicU64 {
        &self.signs[stage as usize]
    }

    fn now(&self) -> u64 {
        millis(self.begin.elapsed()).saturating_add(1)
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A stage at work on one thing.
pub(super) struct AtWork<'a> {
    pulse: &'a Pulse,
    stage: Stage,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.pulse.rest(self.stage);
    }
}

/// Lets every stage rest at the end of a pipeline, however it ends.
pub(super) struct Rest<'a>(pub &'a Pulse);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        for stage in Stage::ALL {
            self.0.rest(stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::ZERO;

    fn begun_an_hour_ago() -> Pulse {
        let hour = Duration::from_secs(3600);
        Pulse { begin: Instant::now().checked_sub(hour).unwrap(), signs: Default::default() }
    }

    #[test]
    fn what_has_nothing_to_do_is_never_stuck() {
        let pulse = begun_an_hour_ago();
        assert_eq!(pulse.stuck(NEVER), None);
        drop(pulse.at_work(Stage::Intake));
        pulse.beat(Stage::Write);
        pulse.rest(Stage::Write);
        assert_eq!(pulse.stuck(NEVER), None);
    }

    #[test]
    fn what_neither_gets_on_nor_fails_is_stuck() {
        let mut pulse = begun_an_hour_ago();
        pulse.has_work(Stage::Write);
        let minute = Duration::from_secs(60);
        pulse.begin -= 2 * minute;
        // More work is no sign of life.
        pulse.has_work(Stage::Write);
        let (stage, still) = pulse.stuck(minute).unwrap();
        assert_eq!(stage, Stage::Write);
        assert!(still >= 2 * minute, "{still:?}");
        pulse.beat(Stage::Write);
        assert_eq!(pulse.stuck(minute), None);
    }

    #[test]
    fn whoever_waits_before_the_next_attempt_says_for_how_long() {
        let mut pulse = begun_an_hour_ago();
        let minute = Duration::from_secs(60);
        pulse.pause(Stage::Write, 5 * minute);
        pulse.begin -= 5 * minute;
        assert_eq!(pulse.stuck(minute), None);
        pulse.begin -= 2 * minute;
        assert_eq!(pulse.stuck(minute).unwrap().0, Stage::Write);
    }

    #[test]
    fn with_the_pipeline_every_stage_rests() {
        let pulse = begun_an_hour_ago();
        pulse.has_work(Stage::Write);
        pulse.beat(Stage::Acknowledge);
        drop(Rest(&pulse));
        assert_eq!(pulse.stuck(NEVER), None);
    }
}
