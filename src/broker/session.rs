//! A session: one connection, one channel, one consumer.

use std::time::Duration;

use amqprs::{
    channel::{BasicAckArguments, BasicRejectArguments, Channel, QueueDeclareArguments},
    connection::{Connection, OpenConnectionArguments},
    security::SecurityCredentials,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Acker, Address, Alarms, Auth, Deliveries, Depths, Ending, Expiry, Fault, Kind, Topology, Watch,
    deliveries::Consumer,
    ending::ChannelWatch,
    tls::{Secured, Seen},
    watch::Watched,
};
use crate::event::DeliveryTag;

/// How long a polite request may take at the end of a session; after that the socket is just closed.
const GOODBYE: Duration = Duration::from_secs(3);

/// How long the queue may take to take the last acknowledgements, and how often it is asked.
const SETTLING: Duration = Duration::from_secs(2);
const SETTLING_POLL: Duration = Duration::from_millis(20);

/// How to open a session.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the broker is.
    pub address: Address,
    /// What must be there.
    pub topology: Topology,
    /// Name of the connection, as the broker shows it.
    pub connection_name: String,
    /// Bound on connecting and logging in, and again on all that follows until it consumes.
    pub connect_timeout: Duration,
    /// Interval of heartbeats, in whole seconds; a silent peer is given up after two of them.
    pub heartbeat: Duration,
}

/// An open session that consumes.
pub struct Session {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    ending: Ending,
    ended: CancellationToken,
    queue: String,
    depths: Depths,
    expiry: Expiry,
    watched: Box<Watched>,
}

impl Session {
    /// Connects, establishes the topology and starts to consume, with at most `prefetch` deliveries in hand, at the first host
    /// that lets it.
    ///
    /// # Errors
    /// A [`Fault`] that names what refused and why.
    pub async fn open(settings: &Settings, prefetch: u16) -> Result<Session, Fault> {
        let mut faults = Vec::new();
        for host in settings.address.each() {
            // What is beside the session goes where that has come to.
            let address = settings.address.led_by(&host);
            let there = Settings { address, ..settings.clone() };
            match Session::open_at(&host, &there, prefetch).await {
                Ok(session) => {
                    if !faults.is_empty() {
                        let passed_by = Fault::of_each(faults);
                        warn!(%host, %passed_by, "the session is with another host than the first");
                    }
                    return Ok(session);
                }
                // It is the same wherever it is asked, or has been with the queue.
                Err(fault) if matches!(fault.kind, Kind::Clash | Kind::LostConsuming { .. }) => {
                    return Err(fault);
                }
                Err(fault) => faults.push(fault),
            }
        }
        Err(Fault::of_each(faults))
    }

    async fn open_at(host: &Address, settings: &Settings, prefetch: u16) -> Result<Session, Fault> {
        let ending = Ending::default();
        let ended = CancellationToken::new();
        let (name, heartbeat) = (&settings.connection_name, settings.heartbeat);
        let limit = settings.connect_timeout;
        let (connection, expiry) = connect_to(host, name, heartbeat, limit, &ending).await?;
        let watched = Box::new(Watched::from_now_on(settings));
        let consuming = async {
            let channel = open_channel(&connection, &ending, &ended).await?;
            let depths = settings.topology.establish(&channel, &ending).await?;
            let queue = &settings.topology.queue;
            let started = Consumer::start(&channel, queue, prefetch, &ending).await;
            let consumer = started.map_err(|fault| match fault.kind {
                // The queue was asked; deliveries may have come before the answer, and ended the connection.
                Kind::Unreachable => Fault {
                    kind: Kind::LostConsuming { dead_letters: depths.dead_letters },
                    ..fault
                },
                _ => fault,
            })?;
            // It was asked before this consumer was there.
            let depths = Depths { consumers: depths.consumers.saturating_add(1), ..depths };
            Ok((channel, consumer, depths))
        };
        match timeout(settings.connect_timeout, consuming).await {
            Ok(Ok((channel, consumer, depths))) => {
                let queue = settings.topology.queue.clone();
                Ok(Session {
                    connection,
                    channel,
                    consumer,
                    ending,
                    ended,
                    queue,
                    depths,
                    expiry,
                    watched,
                })
            }
            Ok(Err(fault)) => {
                close(connection).await;
                Err(fault)
            }
            Err(_) => Err(Fault::new(
                Kind::Unreachable,
                format!(
                    "the broker at {} does not answer within {} what concerns the queue '{}'; a quorum queue without \
                     a leader answers nothing",
                    host,
                    humantime::format_duration(settings.connect_timeout),
                    settings.topology.queue
                ),
            )),
        }
    }

    /// What waited in the queues when it opened.
    pub fn depths(&self) -> Depths {
        self.depths
    }

    /// Until when the certificates are valid that both sides showed when it opened.
    pub fn expiry(&self) -> Expiry {
        self.expiry
    }

    /// The two ends of the pipeline. The session lives as long as the handle.
    pub fn ends(self) -> (Deliveries, AckHandle, SessionHandle) {
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let (ending, ended) = (self.ending.clone(), self.ended.clone());
        let deliveries = Deliveries::new(self.consumer, channel, queue, ending, ended);
        let handle = SessionHandle {
            channel: self.channel.clone(),
            connection: self.connection,
            queue: self.queue,
            watched: self.watched,
            ended: self.ended,
        };
        let acker = AckHandle { channel: self.channel, ending: self.ending };
        (deliveries, acker, handle)
    }
}

/// Keeps the connection open.
pub struct SessionHandle {
    channel: Channel,
    connection: Connection,
    queue: String,
    watched: Box<Watched>,
    ended: CancellationToken,
}

impl SessionHandle {
    /// Watches over what the session needs on the broker, and tells with each look what waits there.
    pub fn watch<'a>(&'a self, depths: &'a watch::Sender<Option<Depths>>) -> Watch<'a> {
        Watch::new(&self.watched, self.ended.clone(), depths)
    }

    /// Listens for the broker's alarms.
    pub fn alarms(&self) -> Alarms<'_> {
        Alarms::new(self.watched.settings(), self.ended.clone())
    }

    /// Closes the channel and then the connection, however long the broker takes to agree. True where it agreed: it has
    /// then taken every acknowledgement that was sent before. Otherwise, or cut short, the fate of the last ones is open.
    ///
    /// The client takes itself for closed as soon as it asks for the end of a connection, drops the socket at the next
    /// frame that comes, a delivery perhaps, and what the broker has not read by then is lost. So the channel goes
    /// first: its end is answered only after all that came before it.
    pub async fn close(self) -> bool {
        self.acks_taken().await;
        let channel = self.channel.close().await;
        let agreed = channel.is_ok();
        for closed in [channel, self.connection.close().await] {
            if let Err(error) = closed {
                debug!(%error, "closing the session with the broker");
            }
        }
        agreed
    }

    /// Waits until a quorum queue has taken the acknowledgements into its log, behind what publishers send it. It keeps
    /// a cancelled consumer for as long as deliveries of it are open, and counts it; a channel that is closed before
    /// overtakes its own acknowledgements, and what they were for is delivered again (seen on RabbitMQ 3.10).
    ///
    /// Ended early it only costs a redelivery, which is recognised. But not in the middle of a question: the client's
    /// channel would die of the answer, and with it all that was acknowledged and is not sent yet.
    async fn acks_taken(&self) {
        let since = Instant::now();
        let mut most = 0;
        while since.elapsed() < SETTLING {
            let passive = QueueDeclareArguments::new(&self.queue).passive(true).finish();
            let Ok(Some((_, _, consumers))) = self.channel.queue_declare(passive).await else {
                return;
            };
            // Others may consume from it too.
            if consumers == 0 || consumers < most {
                return;
            }
            most = most.max(consumers);
            sleep(SETTLING_POLL).await;
        }
    }
}

/// Opens a connection to the first host that lets it, each bounded in time.
pub(super) async fn connect(
    address: &Address,
    name: &str,
    heartbeat: Duration,
    limit: Duration,
    ending: &Ending,
) -> Result<Connection, Fault> {
    let mut faults = Vec::new();
    for one in address.each() {
        match connect_to(&one, name, heartbeat, limit, ending).await {
            Ok((connection, _)) => return Ok(connection),
            Err(fault) => {
                debug!(%fault, "trying the next host");
                faults.push(fault);
            }
        }
    }
    Err(Fault::of_each(faults))
}

async fn connect_to(
    address: &Address,
    name: &str,
    heartbeat: Duration,
    limit: Duration,
    ending: &Ending,
) -> Result<(Connection, Expiry), Fault> {
    let (host, login) = (address.bracketed_host(), address.login());
    let mut arguments =
        OpenConnectionArguments::new(&host, address.port, &login.user, &login.password);
    if address.auth == Auth::External {
        arguments.credentials(SecurityCredentials::new_external());
    }
    arguments
        .virtual_host(&address.vhost)
        .connection_name(name)
        .heartbeat(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX));
    let secured = Secured::of(address)?;
    if let Some(secured) = &secured {
        arguments.tls_adaptor(secured.adaptor());
    }
    let seen = secured.as_ref().map(|secured| &*secured.seen);
    let connection = match timeout(limit, Connection::open(&arguments)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(Fault::of_opening(address, seen, &error)),
        Err(_) => return Err(silent(address, limit)),
    };
    connection
        .register_callback(ending.clone())
        .await
        .map_err(|error| Fault::of_call("watching the connection", ending, &error))?;
    Ok((connection, seen.map_or_else(Expiry::default, Seen::expiry)))
}

pub(super) async fn open_channel(
    connection: &Connection,
    ending: &Ending,
    ended: &CancellationToken,
) -> Result<Channel, Fault> {
    let failed = |error| Fault::of_call("opening a channel", ending, &error);
    let channel = connection.open_channel(None).await.map_err(failed)?;
    let watch = ChannelWatch::new(ending.clone(), ended.clone());
    channel.register_callback(watch).await.map_err(failed)?;
    Ok(channel)
}

pub(super) async fn close(connection: Connection) {
    if let Ok(Err(error)) = timeout(GOODBYE, connection.close()).await {
        debug!(%error, "closing the connection to the broker");
    }
}

fn silent(address: &Address, limit: Duration) -> Fault {
    Fault::new(
        Kind::Unreachable,
        format!(
            "the broker at {address} says nothing within {}",
            humantime::format_duration(limit)
        ),
    )
}

/// The session's verdicts.
pub struct AckHandle {
    channel: Channel,
    ending: Ending,
}

impl AckHandle {
    fn lost(&self, error: &amqprs::error::Error) -> Fault {
        Fault::of_call("acknowledging", &self.ending, error)
    }
}

impl Acker for AckHandle {
    async fn ack_up_to(&mut self, tag: DeliveryTag) -> Result<(), Fault> {
        self.channel
            .basic_ack(BasicAckArguments::new(tag, true))
            .await
            .map_err(|error| self.lost(&error))
    }

    async fn dead_letter(&mut self, tag: DeliveryTag) -> Result<(), Fault> {
        self.channel
            .basic_reject(BasicRejectArguments::new(tag, false))
            .await
            .map_err(|error| self.lost(&error))
    }
}
