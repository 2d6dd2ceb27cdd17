//! Which fault comes when: drawn from the seed and the duration alone.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use testbed::Direction;

use super::fault::{Fault, Side};
use crate::draw::Draw;

/// Before the first fault, so that there is traffic to disturb.
const FIRST: Duration = Duration::from_secs(2);
/// Between the end of a fault and the next one: long enough to recover mostly, and not always.
const PAUSE_MS: (usize, usize) = (800, 4_500);

/// All faults of a run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(pub Vec<Planned>);

/// One fault of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, from the start of the run. Later where the one before took longer than planned.
    pub at: Duration,
    /// What happens.
    pub fault: Fault,
    /// Whether the daemon is killed, and started again, in the middle of it.
    pub with_kill: bool,
    /// Whether the next fault waits, a while longer than planned, until events are stored again.
    pub patient: bool,
}

/// One card of the deck that faults are dealt from: every kind comes before any comes a second time, except
/// those that lie in it more than once.
#[derive(Debug, Clone, Copy)]
enum Card {
    DaemonKilled,
    DaemonStopped,
    Killed(Side),
    Restarted(Side),
    BothKilled,
    BothRestarted,
    Stalled(Side),
    StalledOneWay(Side),
    HalfOpen(Side),
    Cut(Side),
    CutInside(Side),
    AnswerLost,
    MemoryAlarm,
    DiskFull,
}

const DECK: [Card; 26] = [
    Card::DaemonKilled,
    Card::DaemonKilled,
    Card::DaemonKilled,
    Card::DaemonStopped,
    Card::Killed(Side::Broker),
    Card::Killed(Side::Database),
    Card::Killed(Side::Database),
    Card::Restarted(Side::Broker),
    Card::Restarted(Side::Database),
    Card::BothKilled,
    Card::BothRestarted,
    Card::Stalled(Side::Broker),
    Card::Stalled(Side::Database),
    Card::StalledOneWay(Side::Broker),
    Card::StalledOneWay(Side::Database),
    Card::HalfOpen(Side::Broker),
    Card::HalfOpen(Side::Database),
    Card::Cut(Side::Broker),
    Card::Cut(Side::Database),
    Card::CutInside(Side::Broker),
    Card::CutInside(Side::Database),
    Card::AnswerLost,
    Card::AnswerLost,
    Card::AnswerLost,
    Card::MemoryAlarm,
    Card::DiskFull,
];

impl Schedule {
    /// The schedule of that seed for a run of that duration. A longer run's begins with a shorter one's.
    pub fn of(seed: u64, duration: Duration) -> Self {
        let mut draw = Draw::new(seed, u32::MAX);
        let mut planned = Vec::new();
        let mut at = FIRST;
        loop {
            for card in shuffled(&mut draw) {
                let fault = card.play(&mut draw);
                let with_kill = draw.below(4) == 0 && fault.held().is_some();
                if at + fault.nominal() > duration {
                    return Self(planned);
                }
                let patient = draw.below(3) > 0;
                planned.push(Planned { at, fault, with_kill, patient });
                at += fault.nominal() + milliseconds(&mut draw, PAUSE_MS);
            }
        }
    }

    /// What tells one schedule from another.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.to_string());
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for planned in &self.0 {
            let hasty = if planned.patient { "" } else { "; the next one does not wait" };
            writeln!(f, "{:>8.3}  {planned}{hasty}", planned.at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kill = if self.with_kill { ", and the daemon killed meanwhile" } else { "" };
        write!(f, "{}{kill}", self.fault)
    }
}

impl Card {
    fn play(self, draw: &mut Draw) -> Fault {
        match self {
            Self::DaemonKilled => Fault::DaemonKilled,
            Self::DaemonStopped => Fault::DaemonStopped,
            Self::Killed(side) => Fault::Killed { side, away: milliseconds(draw, (0, 3_000)) },
            Self::Restarted(side) => Fault::Restarted(side),
            Self::BothKilled => Fault::BothKilled,
            Self::BothRestarted => Fault::BothRestarted,
            // Longer and shorter than the timeouts that notice it.
            Self::Stalled(side) => {
                Fault::Stalled { side, lasts: milliseconds(draw, (500, 12_000)) }
            }
            Self::StalledOneWay(side) => Fault::StalledTowards {
                side,
                direction: direction(draw),
                lasts: milliseconds(draw, (500, 12_000)),
            },
            Self::HalfOpen(side) => {
                Fault::HalfOpen { side, lasts: milliseconds(draw, (1_000, 12_000)) }
            }
            Self::Cut(side) => Fault::Cut(side),
            Self::CutInside(side) => {
                let direction = direction(draw);
                // Events fill the one direction; acknowledgements, and the answers to statements, are small.
                let events = matches!(
                    (side, direction),
                    (Side::Broker, Direction::ToClient) | (Side::Database, Direction::ToServer)
                );
                let bytes = draw.below(if events { 60_000 } else { 600 }) as u64;
                Fault::CutInside { side, direction, bytes }
            }
            Self::AnswerLost => Fault::AnswerLost,
            Self::MemoryAlarm => Fault::MemoryAlarm { lasts: milliseconds(draw, (1_000, 5_000)) },
            Self::DiskFull => Fault::DiskFull { lasts: milliseconds(draw, (1_000, 6_000)) },
        }
    }
}

fn direction(draw: &mut Draw) -> Direction {
    if draw.below(2) == 0 { Direction::ToServer } else { Direction::ToClient }
}

fn shuffled(draw: &mut Draw) -> [Card; DECK.len()] {
    let mut deck = DECK;
    for place in (1..deck.len()).rev() {
        deck.swap(place, draw.below(place + 1));
    }
    deck
}

fn milliseconds(draw: &mut Draw, (from, to): (usize, usize)) -> Duration {
    Duration::from_millis((from + draw.below(to - from)) as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::Schedule;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        for seed in [0, 1, 7, u64::MAX] {
            assert_eq!(Schedule::of(seed, TEN_MINUTES), Schedule::of(seed, TEN_MINUTES));
        }
        let digests: BTreeSet<_> =
            (0..100).map(|seed| Schedule::of(seed, TEN_MINUTES).digest()).collect();
        assert_eq!(digests.len(), 100);
        // A change of the drawing changes what a seed that was reported stands for: say so in its commit.
        assert_eq!(Schedule::of(7, TEN_MINUTES).digest(), "05eceb499ecf");
    }

    #[test]
    fn a_longer_run_begins_as_a_shorter_one_and_none_outlasts_its_time() {
        let long = Schedule::of(7, TEN_MINUTES);
        for seconds in [0, 1, 30, 120, 599] {
            let duration = Duration::from_secs(seconds);
            let short = Schedule::of(7, duration);
            assert_eq!(short.0, long.0[..short.0.len()]);
            assert!(short.0.iter().all(|planned| planned.at + planned.fault.nominal() <= duration));
        }
    }

    #[test]
    fn every_kind_of_fault_comes_within_ten_minutes_one_after_the_other() {
        for seed in 0..20 {
            let schedule = Schedule::of(seed, TEN_MINUTES);
            let kinds: BTreeSet<_> =
                schedule.0.iter().map(|planned| planned.fault.kind()).collect();
            assert_eq!(kinds.len(), 21, "{kinds:?}");
            for pair in schedule.0.windows(2) {
                assert!(pair[0].at + pair[0].fault.nominal() < pair[1].at);
            }
        }
    }
}
