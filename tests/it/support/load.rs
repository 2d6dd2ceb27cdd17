//! Traffic that goes on while something is being broken.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bloodbank_audit::broker::Publisher;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use testbed::eventually;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Message, PATIENCE, Scene, event};

/// Pace of the portions, and their largest size: some 400 events a second.
const PACE: Duration = Duration::from_millis(50);
const PORTION: usize = 40;

/// How often a portion is sent again that the broker did not confirm as a whole.
const ATTEMPTS: usize = 20;

/// A publisher of events with ids, in portions of random size.
pub struct Load<'a> {
    scene: &'a Scene,
    seed: u64,
    confirmed: Mutex<Vec<Message>>,
    over: AtomicBool,
}

impl<'a> Load<'a> {
    pub fn new(scene: &'a Scene, seed: u64) -> Load<'a> {
        let (confirmed, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        Load { scene, seed, confirmed, over }
    }

    /// Publishes for as long as `disturb` runs, and tells what the broker has confirmed. A portion that was cut off is
    /// published again, by its ids the same events: some of them may be in the queue twice then.
    pub async fn under(
        self,
        disturb: impl AsyncFnOnce(&Load) -> Result<()>,
    ) -> Result<Vec<Message>> {
        let disturbed = async {
            let end = disturb(&self).await;
            self.over.store(true, Ordering::Relaxed);
            end
        };
        let (published, disturbed) = tokio::join!(self.publish(), disturbed);
        disturbed?;
        published?;
        Ok(self.confirmed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many events the broker has confirmed.
    pub fn confirmed(&self) -> usize {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Awaits that all that the broker has confirmed by now is stored.
    pub async fn is_stored(&self) -> Result<()> {
        let events = i64::try_from(self.confirmed())?;
        self.scene.counts_at_least(events, "select count(*) from audit.events").await
    }

    /// Awaits that the broker has confirmed so many more events than by now.
    pub async fn confirms(&self, more: usize) -> Result<()> {
        let wanted = self.confirmed() + more;
        eventually(&format!("{wanted} events are confirmed"), PATIENCE, async || {
            let confirmed = self.confirmed();
            if confirmed >= wanted { Ok(()) } else { Err(confirmed) }
        })
        .await
    }

    /// Awaits that what is published from now on is confirmed and stored.
    pub async fn goes_on(&self) -> Result<()> {
        // A portion may be under way.
        self.confirms(PORTION + 1).await?;
        self.is_stored().await
    }

    async fn publish(&self) -> Result<()> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut publisher = None;
        while !self.over.load(Ordering::Relaxed) {
            pace.tick().await;
            let first = self.confirmed();
            let size = random.random_range(1..=PORTION);
            let portion: Vec<_> = (first..first + size).map(event).collect();
            publisher = Some(self.publish_surely(publisher, &portion).await?);
            self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).extend(portion);
        }
        if let Some(publisher) = publisher {
            publisher.close().await;
        }
        Ok(())
    }

    async fn publish_surely(
        &self,
        mut before: Option<Publisher>,
        portion: &[Message],
    ) -> Result<Publisher> {
        for _ in 0..ATTEMPTS {
            let publisher = match before.take() {
                Some(publisher) => publisher,
                None => {
                    eventually("the broker lets in a publisher", PATIENCE, async || {
                        self.scene.publisher().await.map_err(|error| format!("{error:#}"))
                    })
                    .await?
                }
            };
            let sent = timeout(PATIENCE, self.scene.publish_with(&publisher, portion)).await;
            if sent.context("the broker neither confirms nor ends the connection")?.is_ok() {
                return Ok(publisher);
            }
        }
        bail!("the broker did not confirm a portion in {ATTEMPTS} attempts");
    }
}
