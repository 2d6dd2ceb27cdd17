//! The watch: whether what the bus publishes is still routed to the queue.
//!
//! A consumer outlives its exchange: it stays, and hears nothing. So once per heartbeat interval the topology is
//! established anew. AMQP shows nobody the bindings; declaring and binding what is there changes nothing, and mends
//! what is not. Each look has a channel of its own, which a refusal closes; the broker remembers for as long as a
//! channel lives what its user was permitted. All of it is on a connection beside the session's.

use amqprs::{
    channel::{Channel, ExchangeDeclareArguments},
    connection::Connection,
};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Declare, Depths, Ending, Fault, Settings, Topology,
    session::{close, connect, open_channel},
};
use crate::event::now;

/// The reply code for what is not there.
const NOT_FOUND: u16 = 404;

/// Something about the topology changed under a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An exchange is gone; events published from then on have not come here.
    Missing {
        /// What is missing, in words.
        what: String,
        /// The last time that it was seen.
        since: OffsetDateTime,
    },
    /// Something that was needed to open the session is refused now. Events may still come.
    Refused {
        /// What is refused, and what to do about it, in words.
        what: String,
        /// The last time that it was not.
        since: OffsetDateTime,
    },
    /// All is there again. Events published between the two times may not have come here.
    Restored {
        /// The last time that all was there before.
        since: OffsetDateTime,
        /// From when on it is there again.
        until: OffsetDateTime,
        /// Whether the queue is known to be bound; where nothing is declared, AMQP does not tell.
        bound: bool,
    },
}

/// What is to be there on the broker, and from when on it was.
pub(super) struct Watched {
    settings: Settings,
    since: OffsetDateTime,
}

impl Watched {
    /// To be called before the topology is established: what vanishes meanwhile vanishes later than this.
    pub fn from_now_on(settings: &Settings) -> Watched {
        Watched { settings: settings.clone(), since: now() }
    }

    /// How the session was opened.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Looks at the topology of one session, for as long as it lasts.
pub struct Watch<'a> {
    /// Its own: on the session's, a look that goes wrong, or a broker that allows one channel, would end the session.
    connection: Option<Connection>,
    settings: &'a Settings,
    ended: CancellationToken,
    /// What waits in the queues, by the latest look.
    depths: &'a watch::Sender<Option<Depths>>,
    /// When all was last there.
    good: OffsetDateTime,
    /// What was said about an episode that has not ended.
    bad: Option<Change>,
    /// Found by a look that found more than one thing.
    next: Option<Change>,
}

/// How a look can fail.
enum Failed {
    /// The exchange is not there, and is not ours to declare.
    Missing(String),
    /// The broker said no.
    Refused { code: u16, what: String },
    /// Nobody answered; the session's own end will say more.
    Unanswered,
}

impl<'a> Watch<'a> {
    /// Begins with a topology that has been established. `ended` says that the session has ended.
    pub(super) fn new(
        watched: &'a Watched,
        ended: CancellationToken,
        depths: &'a watch::Sender<Option<Depths>>,
    ) -> Watch<'a> {
        let Watched { settings, since } = watched;
        Watch { connection: None, settings, ended, depths, good: *since, bad: None, next: None }
    }

    /// Waits for the next change. `None` once `done` is cancelled or the session has ended.
    pub async fn change(&mut self, done: &CancellationToken) -> Option<Change> {
        loop {
            if let Some(change) = self.next.take() {
                return Some(change);
            }
            let ended = self.ended.clone();
            let look = async {
                tokio::time::sleep(self.settings.heartbeat).await;
                self.look().await
            };
            let found = tokio::select! {
                biased;
                () = done.cancelled() => return None,
                () = ended.cancelled() => return None,
                found = look => found,
            };
            if let Some(change) = found {
                return Some(change);
            }
        }
    }

    async fn look(&mut self) -> Option<Change> {
        let asked = now();
        let limit = self.settings.connect_timeout;
        let looked = tokio::time::timeout(limit, self.look_through()).await;
        let found = looked.unwrap_or(Err(Failed::Unanswered));
        // The client never gives the number of a channel free that the broker has closed, and cannot forget what it
        // asked: after a look that failed, the next one has another connection.
        if found.is_err()
            && let Some(connection) = self.connection.take()
        {
            close(connection).await;
        }
        match found {
            Ok(gone) => {
                let since = std::mem::replace(&mut self.good, asked);
                let bound = self.settings.topology.declare == Declare::Create;
                let restored = || Change::Restored { since, until: now(), bound };
                match (gone, self.bad.take()) {
                    (Some(what), None) => {
                        self.next = Some(restored());
                        Some(Change::Missing { what, since })
                    }
                    (_, Some(_)) => Some(restored()),
                    (None, None) => None,
                }
            }
            Err(failed) => {
                let since = self.good;
                let change = match failed {
                    Failed::Missing(what) => Change::Missing { what, since },
                    Failed::Refused { what, .. } => Change::Refused { what, since },
                    Failed::Unanswered => return None,
                };
                // Said once.
                let new = self.bad.as_ref() != Some(&change);
                self.bad = Some(change.clone());
                new.then_some(change)
            }
        }
    }

    /// Establishes what is to be there. Says what was missing and has been made again.
    async fn look_through(&mut self) -> Result<Option<String>, Failed> {
        let Settings { address, connection_name, heartbeat, connect_timeout, .. } = self.settings;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let ending = Ending::default();
                connect(address, connection_name, *heartbeat, *connect_timeout, &ending)
                    .await
                    .map_err(|_| Failed::Unanswered)?
            }
        };
        let connection = &*self.connection.insert(connection);
        let topology = &self.settings.topology;
        let there = on_a_channel(connection, async |channel, ending| {
            exchange_is_there(topology, channel, ending).await
        });
        let gone = match there.await {
            Ok(()) => None,
            Err(Failed::Refused { code: NOT_FOUND, .. }) => {
                let gone = format!("the exchange '{}'", topology.exchange);
                if topology.declare == Declare::Verify {
                    return Err(Failed::Missing(gone));
                }
                Some(gone)
            }
            Err(failed) => return Err(failed),
        };
        let establish = async |channel: &Channel, ending: &Ending| {
            topology.establish(channel, ending).await.map(|depths| {
                self.depths.send_replace(Some(depths));
            })
        };
        match (on_a_channel(connection, establish).await, gone) {
            (Ok(()), gone) => Ok(gone),
            (Err(Failed::Refused { what, .. }), Some(gone)) => {
                Err(Failed::Missing(format!("{gone} (and cannot be declared: {what})")))
            }
            (Err(failed), _) => Err(failed),
        }
    }
}

async fn exchange_is_there(
    topology: &Topology,
    channel: &Channel,
    ending: &Ending,
) -> Result<(), Fault> {
    let passive = ExchangeDeclareArguments::new(&topology.exchange, "topic").passive(true).finish();
    channel
        .exchange_declare(passive)
        .await
        .map_err(|error| Fault::of_call("looking for the exchange", ending, &error))
}

/// Asks on a channel of its own, and tells apart what the broker said from that it said nothing.
async fn on_a_channel(
    connection: &Connection,
    ask: impl AsyncFnOnce(&Channel, &Ending) -> Result<(), Fault>,
) -> Result<(), Failed> {
    let ending = Ending::default();
    let channel = open_channel(connection, &ending, &CancellationToken::new())
        .await
        .map_err(|_| Failed::Unanswered)?;
    match ask(&channel, &ending).await {
        Ok(()) => channel.close().await.map_err(|_| Failed::Unanswered),
        Err(fault) => Err(match ending.said() {
            Some(said) => Failed::Refused { code: said.code, what: fault.message },
            None => Failed::Unanswered,
        }),
    }
}
