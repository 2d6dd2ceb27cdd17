//! One case: a backlog, the daemon, and what PostgreSQL does meanwhile.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use testbed::{Mode, Proxy};

use crate::bench::bus::{Bus, Kind};
use crate::bench::cpu::peak_memory;
use crate::bench::database::Database;
use crate::bench::envelope::{BODY_BYTES, Message, message, message_of};
use crate::bench::scene::Scene;
use crate::history::{Digest, History, Totals};
use crate::stage::Daemon;

/// Random letters and digits that a large body repeats, longer than what compression looks back at.
const BLOCK: usize = 256 << 10;
/// Large ones that come one behind the other in a mixed backlog, and small ones before them.
const BURST: u32 = 50;
const BEFORE_BURST: u32 = 5_000;
/// How long a slow PostgreSQL is made to wait for each 64 KiB.
const SLOW: Duration = Duration::from_millis(2);
/// How long nothing may be settled.
const STUCK: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What waits in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backlog {
    /// Large bodies
    Large,
    /// Small bodies
    Small,
    /// Large ones in bursts, each behind small ones that open the window wide
    Mixed,
}

/// What PostgreSQL does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Postgres {
    /// Answers as fast as it can
    Up,
    /// Is 20 to 30 MB a second away
    Slow,
    /// Stops in the middle, and is started again
    Away,
}

impl Backlog {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
            Self::Mixed => "mixed",
        }
    }
}

impl Postgres {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Slow => "slow",
            Self::Away => "away",
        }
    }
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Large bodies, where there are any.
    pub large: u32,
    /// Small bodies; in a mixed backlog, those before each burst are not more.
    pub small: u32,
    /// Bytes of a large body.
    pub body: u32,
    /// How long PostgreSQL is away.
    pub away: Duration,
}

/// What is done.
#[derive(Debug)]
pub struct Case {
    pub backlog: Backlog,
    pub postgres: Postgres,
    pub scale: Scale,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub backlog: Backlog,
    pub postgres: Postgres,
    pub events: u64,
    /// From the daemon's start until everything is stored.
    pub took: Duration,
    /// Most memory of the daemon, in bytes.
    pub peak: u64,
    /// Published bodies that are not stored.
    pub missing: usize,
    /// Stored bodies that were not published, or are stored already.
    pub foreign: u64,
    /// Messages in the queue and in the dead-letter queue.
    pub left: u32,
}

impl Outcome {
    /// Whether everything is stored once, and nothing else.
    pub fn is_exact(&self) -> bool {
        (self.missing, self.foreign, self.left) == (0, 0, 0)
    }

    /// Whether the daemon stayed under so many bytes.
    pub fn is_under(&self, bound: u64) -> bool {
        self.peak < bound
    }
}

impl fmt::Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}, PostgreSQL {}", self.backlog.name(), self.postgres.name())
    }
}

impl Case {
    /// Runs it, and clears everything away.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub async fn run(&self, scene: &Scene) -> Result<Outcome> {
        let bus = Bus::declare(scene.address(), Kind::Quorum).await?;
        let database = Database::migrated(scene).await?;
        let slow = Proxy::start(scene.postgres.port()).await?;
        slow.set(Mode::Delay(SLOW)).await;
        let url = match self.postgres {
            Postgres::Slow => scene.postgres.url_at(slow.port(), &database.name),
            Postgres::Up | Postgres::Away => database.url.clone(),
        };
        let behind = Database { name: database.name.clone(), url };

        let mut digests: HashSet<Digest> = HashSet::new();
        let mut messages = self.messages().inspect(|message| {
            digests.insert(Sha256::digest(&message.body).into());
        });
        bus.publish(messages.by_ref().take(self.published_first())).await.context("publish")?;
        let started = Instant::now();
        let daemon = scene.start_daemon(&bus, &behind)?;
        if self.postgres == Postgres::Away {
            until_settled(&database, &daemon, self.settled_first()).await?;
            scene.postgres.stop().await?;
            bus.publish(messages).await.context("publish the rest")?;
            tokio::time::sleep(self.scale.away).await;
            scene.postgres.start_again().await?;
        }
        until_settled(&database, &daemon, self.events()).await?;
        let took = started.elapsed();
        let peak = peak_memory(daemon.pid().context("the daemon is gone")?)?;
        let status = daemon.stop().await?;
        ensure!(status.success(), "the daemon ended with {status}:\n{}", daemon.log_tail());

        let left = bus.depth().await? + bus.dead_letters().await?;
        let mut foreign = 0;
        let each = |digest| foreign += u64::from(!digests.remove(&digest));
        History::open(&database.url).await?.each_body(each).await?;
        let missing = digests.len();
        database.remove(scene).await?;
        bus.delete().await?;
        let (backlog, postgres, events) = (self.backlog, self.postgres, self.events());
        Ok(Outcome { backlog, postgres, events, took, peak, missing, foreign, left })
    }

    /// All that is published, each made when its turn comes.
    fn messages(&self) -> impl Iterator<Item = Message> + use<> {
        let (block, bytes) = (block(), usize::try_from(self.scale.body).unwrap_or(usize::MAX));
        let (burst, before) = self.burst();
        let all = self.events();
        (0..all).map(move |number| match number % (burst + before) < before {
            true => message(),
            false => message_of(bytes, &block),
        })
    }

    /// Large ones one behind the other, and small ones before them.
    fn burst(&self) -> (u64, u64) {
        let Scale { large, small, .. } = self.scale;
        match self.backlog {
            Backlog::Large => (1, 0),
            Backlog::Small => (0, 1),
            Backlog::Mixed => (large.min(BURST).into(), small.min(BEFORE_BURST).into()),
        }
    }

    fn events(&self) -> u64 {
        let Scale { large, small, .. } = self.scale;
        let (burst, before) = self.burst();
        match self.backlog {
            Backlog::Large => large.into(),
            Backlog::Small => small.into(),
            Backlog::Mixed => u64::from(large).div_ceil(burst) * (burst + before),
        }
    }

    /// Bytes of all bodies.
    pub fn bytes(&self) -> u64 {
        let Scale { large, body, .. } = self.scale;
        let large = if self.backlog == Backlog::Small { 0 } else { large };
        u64::from(large) * u64::from(body) + self.events() * BODY_BYTES as u64
    }

    /// How many are in the queue when the daemon starts. Of a mixed backlog that meets with no PostgreSQL, what opens the
    /// window: the large ones come when nothing can be stored.
    fn published_first(&self) -> usize {
        let first = match (self.backlog, self.postgres) {
            (Backlog::Mixed, Postgres::Away) => self.burst().1,
            _ => self.events(),
        };
        usize::try_from(first).unwrap_or(usize::MAX)
    }

    /// How many are stored when PostgreSQL goes away.
    fn settled_first(&self) -> u64 {
        (self.published_first() as u64).min(self.events().div_ceil(2))
    }
}

fn block() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = vec![0; BLOCK];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
    random.into_iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect()
}

/// Returns once so many events are stored, or rejected, which is then found to be wrong.
async fn until_settled(database: &Database, daemon: &Daemon, events: u64) -> Result<()> {
    let mut history = History::open(&database.url).await?;
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let Totals { stored, rejections, .. } = history.totals().await?;
        let settled = stored + rejections;
        if settled >= events {
            return Ok(());
        }
        if settled > before {
            (before, since) = (settled, Instant::now());
        }
        if !daemon.is_running() || since.elapsed() > STUCK {
            bail!(
                "{settled} of {events} events are settled; the daemon's log ends:\n{}",
                daemon.log_tail()
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backlog, Case, Outcome, Postgres, Scale};

    const SCALE: Scale =
        Scale { large: 120, small: 1_000_000, body: 2_000, away: Duration::from_secs(1) };

    #[test]
    fn large_ones_come_in_bursts_behind_small_ones() {
        let case = Case { backlog: Backlog::Mixed, postgres: Postgres::Away, scale: SCALE };
        let large: Vec<bool> = case.messages().map(|message| message.body.len() == 2_000).collect();
        assert_eq!(large.len() as u64, case.events());
        let (small, burst) = large[..5_050].split_at(5_000);
        assert!(small.iter().all(|large| !large) && burst.iter().all(|large| *large));
        assert!(!large[5_050] && large.ends_with(&[true; 50]));
        assert_eq!((case.published_first(), case.settled_first()), (5_000, 5_000));
    }

    #[test]
    fn a_peak_at_the_bound_is_too_much_and_one_missing_is_one_too_few() {
        let outcome = Outcome {
            backlog: Backlog::Large,
            postgres: Postgres::Up,
            events: 1,
            took: Duration::ZERO,
            peak: 256,
            missing: 0,
            foreign: 0,
            left: 0,
        };
        assert!(outcome.is_under(257) && !outcome.is_under(256) && outcome.is_exact());
        for (missing, foreign, left) in [(1, 0, 0), (0, 1, 0), (0, 0, 1)] {
            let outcome = Outcome { missing, foreign, left, ..outcome };
            assert!(!outcome.is_exact());
        }
    }
}
