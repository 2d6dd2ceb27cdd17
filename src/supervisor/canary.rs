//! The canary: a small event that the daemon publishes through the bus's own exchange, and how long it takes to come back as a
//! row. It goes every event's way: exchange, binding, queue, daemon, database.
//!
//! One is on its way at a time, and given up after a minute, or two intervals where that is longer: while none can come back the
//! queue does not fill with them. Recording does not depend on it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};
use uuid::Uuid;

use super::{Settings, board::Board};
use crate::{
    broker::{Courier, Undelivered},
    event::{Canary, now},
    store::{self, CanaryLog},
};

/// How long one is waited for, at least. Then it is given up, and the next one is sent.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look for one: often in its first second, seldom after that.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// How often one is sent, and how.
#[derive(Debug, Clone)]
pub struct Flights {
    /// How often.
    pub every: Duration,
    /// Its routing key.
    pub routing_key: String,
}

/// Why one did not come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// It could not be marked, or could not be looked for any more.
    Postgres(String),
    /// The broker did not take it, or no queue got it.
    Undelivered(Undelivered),
    /// It was in the queue, and did not become a row in time.
    Lost(Duration),
}

impl Missing {
    pub const OUTCOMES: [&str; 4] = ["unmarked", "unpublished", "unrouted", "lost"];

    /// Its name as a label.
    pub fn outcome(&self) -> &'static str {
        let [unmarked, unpublished, unrouted, lost] = Missing::OUTCOMES;
        match self {
            Missing::Postgres(_) => unmarked,
            Missing::Undelivered(Undelivered::Refused(_)) => unpublished,
            Missing::Undelivered(Undelivered::Unrouted) => unrouted,
            Missing::Lost(_) => lost,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Postgres(fault) => {
                write!(f, "it could not be marked in audit.canaries: {fault}")
            }
            Missing::Undelivered(undelivered) => undelivered.fmt(f),
            Missing::Lost(waited) => write!(
                f,
                "it was published and is not stored after {}: the queue is full of others, or nobody consumes",
                humantime::format_duration(*waited)
            ),
        }
    }
}

/// Sends canaries for the daemon's life.
pub(super) struct Sender<'a> {
    settings: &'a Settings,
    flights: &'a Flights,
    log: Option<CanaryLog>,
    courier: Courier,
    /// What was said last to be wrong.
    said: Option<&'static str>,
}

impl<'a> Sender<'a> {
    pub fn new(settings: &'a Settings, flights: &'a Flights) -> Sender<'a> {
        let courier = Courier::new(&settings.broker, "canary");
        Sender { settings, flights, log: None, courier, said: None }
    }

    /// Runs from when the schema is there until the run ends.
    pub async fn send_all(mut self, board: &Board) {
        let sending = async {
            // Before that it is known not to come back.
            board.coverage().recording().await;
            let mut ticks = interval(self.flights.every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(canary) = self.canary() else { continue };
                let outcome = self.send(&canary).await;
                board.canary(&outcome);
                self.say(canary.id, outcome);
            }
        };
        tokio::select! {
            biased;
            () = board.coverage().ended() => {}
            () = sending => {}
        }
        self.courier.close().await;
    }

    /// None where the envelope would not find it; the daemon does not start with such a one.
    fn canary(&self) -> Option<Canary> {
        Canary::new(&self.settings.rules.envelope, &self.settings.instance, now())
    }

    fn say(&mut self, id: Uuid, outcome: Result<Duration, Missing>) {
        match outcome {
            Ok(took) => {
                if self.said.take().is_some() {
                    let took =
                        Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
                    info!(took = %humantime::format_duration(took), "canaries come back again");
                }
            }
            Err(missing) if self.said != Some(missing.outcome()) => {
                self.said = Some(missing.outcome());
                warn!(%id, "a canary did not come back: {missing}");
            }
            Err(_) => {}
        }
    }

    /// How long it took to be seen as a row, from before it was published.
    async fn send(&mut self, canary: &Canary) -> Result<Duration, Missing> {
        self.mark(canary).await.map_err(|fault| Missing::Postgres(fault.to_string()))?;
        let begun = Instant::now();
        self.publish(canary).await?;
        self.await_row(canary.id, begun).await
    }

    /// On the connection of the last one, or else on a new one: that one may have ended meanwhile, which is nobody's fault.
    async fn mark(&mut self, canary: &Canary) -> Result<(), store::Fault> {
        let exchange = &self.settings.broker.topology.exchange;
        let (instance, key) = (&self.settings.instance, &self.flights.routing_key);
        if let Some(mut log) = self.log.take()
            && log.mark(canary, instance, exchange, key).await.is_ok()
        {
            self.log = Some(log);
            return Ok(());
        }
        let mut log = CanaryLog::open(&self.settings.store).await?;
        log.mark(canary, instance, exchange, key).await?;
        self.log = Some(log);
        Ok(())
    }

    /// The same for the broker.
    async fn publish(&mut self, canary: &Canary) -> Result<(), Missing> {
        let exchange = &self.settings.broker.topology.exchange;
        let to = (exchange.as_str(), self.flights.routing_key.as_str());
        let brought = self.courier.bring(to, &canary.properties, &canary.body).await;
        brought.map_err(Missing::Undelivered)
    }

    async fn await_row(&mut self, id: Uuid, begun: Instant) -> Result<Duration, Missing> {
        let patience = PATIENCE.max(2 * self.flights.every);
        loop {
            let stored = match &mut self.log {
                Some(log) => log.is_stored(id).await,
                None => match CanaryLog::open(&self.settings.store).await {
                    Ok(log) => self.log.insert(log).is_stored(id).await,
                    Err(fault) => Err(fault),
                },
            };
            let waited = begun.elapsed();
            match stored {
                Ok(true) => return Ok(waited),
                Ok(false) if waited > patience => return Err(Missing::Lost(patience)),
                Ok(false) => {}
                Err(fault) if waited > patience => {
                    return Err(Missing::Postgres(fault.to_string()));
                }
                Err(_) => self.log = None,
            }
            let [often, seldom] = LOOKS;
            sleep(if waited < Duration::from_secs(1) { often } else { seldom }).await;
        }
    }
}
