//! Sessions with the broker, one after the other, until all is settled.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Job, Places, Watcher,
    alarms::say_alarms,
    carried::{Carried, LONGEST_NACK},
    ledger::Ledger,
    outgoing::Rules,
    patience::Patience,
    publish::{InFlight, Publishing},
    report::Report,
    select::{self, Rooms, WINDOW},
    settle::{Left, Settling},
    target::To,
};
use crate::{
    backoff::Backoff,
    broker::{Address, Fault, Kind, Lookout, Publisher},
    store::Arrivals,
};

/// Events that were read and wait for their pace.
const READ_AHEAD: usize = 256;

/// What sessions are made of.
pub struct Sessions<'a, W> {
    pub job: &'a Job,
    pub places: &'a Places,
    pub ledger: &'a Ledger,
    pub rooms: &'a Rooms,
    pub report: &'a mut Report,
    /// Nothing more is to be published.
    pub stop: &'a CancellationToken,
    pub watcher: &'a W,
}

/// How a session ended.
enum End {
    /// Each event is settled.
    Complete,
    /// It was told to.
    Stopped,
    /// The broker did not take some events.
    Nacked,
    /// It was lost.
    Lost(Fault),
}

impl<W: Watcher> Sessions<'_, W> {
    /// Publishes until each event is settled, or until it is told to stop; tells whether each is.
    ///
    /// # Errors
    /// Something has to be mended first.
    pub async fn run(mut self) -> Result<bool, Failure> {
        let mut carried = Carried::new(self.places.patience.min(LONGEST_NACK));
        let mut patience = Patience::new(self.places.patience);
        let mut channels = anew();
        let mut away = false;
        loop {
            let before = self.ledger.progress();
            let fault = match self.session(&mut carried).await? {
                End::Complete => return Ok(true),
                End::Stopped => return Ok(false),
                End::Nacked => {
                    if carried.nacks().one_more_channel() {
                        self.watcher.say(
                            "the broker does not take what is published; trying on another channel, in case it is the \
                             channel's fault",
                        );
                    }
                    None
                }
                End::Lost(fault) => {
                    // Nothing can be published to the only exchange that there is.
                    let closed = !fault.is_of_one_key() || !carried.closed_exchanges.is_empty();
                    if fault.kind == Kind::Refused && closed && self.job.target.to != To::Original {
                        return Err(Failure::Broker(fault));
                    }
                    Some(fault)
                }
            };
            if self.ledger.progress() != before {
                patience.renew();
                if std::mem::take(&mut away) {
                    self.watcher.say("the broker was back for a while");
                }
            }
            if carried.nacks().is_empty() {
                channels = anew();
            }
            let delay = match fault {
                // That is no absence: it is settled when it has been tried for long enough.
                None => channels.next_delay(),
                Some(fault) => {
                    let Some(delay) = patience.next() else {
                        return Err(Failure::Broker(carried.last_word(fault)));
                    };
                    if fault.kind == Kind::Unreachable && !std::mem::replace(&mut away, true) {
                        self.watcher.say(&format!("{fault}; connecting again"));
                    }
                    delay
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(false),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One session: from the first event that is not settled on.
    async fn session(&mut self, carried: &mut Carried) -> Result<End, Failure> {
        let (address, limit) = (&self.places.broker.address, self.places.broker.connect_timeout);
        let name = format!("{} replay {}", self.places.broker.connection_name, self.job.id);
        let (publisher, mut lookout) = match open(address, &name, limit).await {
            Ok(both) => both,
            Err(fault) => return Ok(End::Lost(self.not_opened(fault))),
        };
        let end = self.with(&publisher, &mut lookout, carried).await;
        lookout.close().await;
        publisher.close().await;
        end
    }

    /// What is refused while the broker starts may be granted a moment later.
    fn not_opened(&self, fault: Fault) -> Fault {
        Fault { kind: Kind::Unreachable, ..fault }
    }

    async fn with(
        &mut self,
        publisher: &Publisher,
        lookout: &mut Lookout,
        carried: &mut Carried,
    ) -> Result<End, Failure> {
        let progress = self.ledger.progress();
        let limit = self.job.most.map(|most| most - progress.settled());
        let arrivals = Arrivals { after: progress.reached, limit, ..self.job.arrivals.clone() };
        let rules = Rules {
            replay: self.job.id,
            target: self.job.target.clone(),
            user: self.places.broker.address.user.clone(),
            frame_max: usize::try_from(publisher.frame_max()).unwrap_or(usize::MAX),
        };
        let (halt, over) = (self.stop.child_token(), CancellationToken::new());
        let (read, to_publish) = mpsc::channel(READ_AHEAD);
        let (published, to_settle) = mpsc::channel(WINDOW);
        let in_flight = InFlight::default();
        let publishing = Publishing {
            job: self.job,
            rules: &rules,
            publisher,
            lookout,
            in_flight: &in_flight,
            halt: &halt,
            watcher: self.watcher,
        };
        let mut found = carried.of_answers();
        let settling = Settling {
            publisher,
            in_flight: &in_flight,
            halt: &halt,
            ledger: self.ledger,
            report: self.report,
            by_the_target: self.job.pace.until_depth.is_some(),
            watcher: self.watcher,
        };
        let feed = async {
            tokio::select! {
                biased;
                () = over.cancelled() => Ok(()),
                fed = select::feed(self.places, arrivals, self.rooms, read, self.watcher) => fed,
            }
        };
        let publish = async {
            let outcome = publishing.run(to_publish, published, carried).await;
            over.cancel();
            outcome
        };
        let settle = async {
            let settled = settling.run(to_settle, &mut found).await;
            halt.cancel();
            settled
        };
        let ended = CancellationToken::new();
        let listen = say_alarms(|words| self.watcher.say(words), &self.places.broker, &ended);
        let work = async {
            let work = tokio::join!(feed, publish, settle);
            ended.cancel();
            work
        };
        let ((fed, published, settled), ()) = tokio::join!(work, listen);
        // The next one finds out by itself.
        self.watcher.slow(false);
        let Left { nacked, lost, fault } = settled.map_err(Failure::Report)?;
        carried.learn(found);
        let fault = fault.or(published.err());
        if let Some(fault) = &fault {
            let silent = fault.kind == Kind::Unreachable && lost.len() == 1;
            let lives = silent && lookout.lives(self.places.broker.connect_timeout).await;
            if let Some(words) = carried.lost(&lost, fault, lives) {
                self.watcher.say(&words);
            }
        }
        fed?;
        Ok(match fault {
            Some(fault) => End::Lost(fault),
            None if self.stop.is_cancelled() => End::Stopped,
            None if nacked => End::Nacked,
            None => End::Complete,
        })
    }
}

/// Connects to publish, and beside that to look at what is published to.
pub async fn open(
    address: &Address,
    name: &str,
    limit: Duration,
) -> Result<(Publisher, Lookout), Fault> {
    let publisher = Publisher::open(address, name, limit).await?;
    match Lookout::open(address, &format!("{name}, looking"), limit).await {
        Ok(lookout) => Ok((publisher, lookout)),
        Err(fault) => {
            publisher.close().await;
            Err(fault)
        }
    }
}

/// Waits between channels that nack.
fn anew() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(2))
}
