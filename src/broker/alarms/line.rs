//! A connection that asked to be told of alarms, and that publishes, so that it is.

use std::{fmt::Display, future, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::rustls::pki_types::ServerName;
use tracing::debug;

use super::{
    super::{Address, Fault, Kind, Settings, tls},
    Alarm,
    method::{Garbled, Method},
    request,
};

/// How long a polite end may take. Nothing is lost without it but a line in the broker's log.
const GOODBYE: Duration = Duration::from_millis(500);

/// Plain TCP, or TLS over it.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connection with one channel.
pub(super) struct Line {
    socket: Box<dyn Socket>,
    received: Vec<u8>,
    heartbeat: Duration,
    /// When the broker last gave a sign of life.
    heard_at: Instant,
    /// When to publish next; not before the login.
    publish_at: Option<Instant>,
    /// The broker reads nothing at present.
    blocked: bool,
}

impl Line {
    /// Connects and logs in, within the bound for a session.
    pub async fn open(settings: &Settings) -> Result<Line, Fault> {
        let Settings { address, heartbeat, connect_timeout, .. } = settings;
        let opening = async {
            let mut line = Line {
                socket: connect(address).await?,
                received: Vec::new(),
                heartbeat: *heartbeat,
                heard_at: Instant::now(),
                publish_at: None,
                blocked: false,
            };
            line.log_in(settings).await?;
            line.publish_at = Some(Instant::now());
            Ok(line)
        };
        match timeout(*connect_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(lost("the broker does not answer")),
        }
    }

    async fn log_in(&mut self, settings: &Settings) -> Result<(), Fault> {
        let Settings { address, connection_name, heartbeat, .. } = settings;
        self.say(request::PROTOCOL).await?;
        self.answer(|said| (said == Method::Start).then_some(())).await?;
        let name = format!("{connection_name}, listening for alarms");
        self.say(&request::login(&name, &address.user, &address.password)).await?;
        let limits = |said| match said {
            Method::Tune { channel_max, frame_max } => Some((channel_max, frame_max)),
            _ => None,
        };
        let (channel_max, frame_max) = self.answer(limits).await?;
        let heartbeat = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX);
        self.say(&request::tuned(channel_max, frame_max, heartbeat)).await?;
        self.say(&request::open(&address.vhost)).await?;
        self.answer(|said| (said == Method::Opened).then_some(())).await?;
        self.say(&request::open_channel()).await?;
        self.answer(|said| (said == Method::ChannelOpened).then_some(())).await
    }

    /// The first of the broker's words that `wanted` takes.
    async fn answer<T>(&mut self, wanted: impl Fn(Method) -> Option<T> + Send) -> Result<T, Fault> {
        loop {
            if let Some(answer) = wanted(self.next().await?) {
                return Ok(answer);
            }
        }
    }

    /// Publishes now and then, until the broker tells whether there is an alarm. Not to be cut short and gone on with.
    pub async fn hear(&mut self) -> Result<Alarm, Fault> {
        loop {
            match self.next().await? {
                Method::Blocked { reason } => {
                    self.blocked = true;
                    return Ok(Alarm::Raised { cause: reason });
                }
                Method::Unblocked => {
                    self.blocked = false;
                    return Ok(Alarm::Over);
                }
                // It was asked after publishing, and would not have been read under an alarm.
                Method::QosSet if !self.blocked => return Ok(Alarm::Over),
                _ => {}
            }
        }
    }

    /// The broker's next words, or why there will be none.
    async fn next(&mut self) -> Result<Method, Fault> {
        loop {
            match Method::take(&mut self.received) {
                Ok(None) => {}
                Ok(Some(Method::ChannelClosed { code, text })) => return Err(refused(code, &text)),
                Ok(Some(Method::Closed { code, text })) => {
                    // It goes either way.
                    let _ = self.say(&request::close_agreed()).await;
                    let text = format!("the broker closed the connection: {code} {text}");
                    return Err(Fault::of_reply(code, &text));
                }
                Ok(Some(said)) => return Ok(said),
                Err(Garbled) => return Err(lost("what comes is not AMQP")),
            }
            tokio::select! {
                read = self.socket.read_buf(&mut self.received) => match read {
                    Ok(0) => return Err(lost("the broker closed the socket")),
                    Ok(_) => self.heard_at = Instant::now(),
                    Err(error) => return Err(lost(&error)),
                },
                () = sleep_until(self.heard_at + 2 * self.heartbeat) => {
                    return Err(lost("the broker says nothing any more"));
                }
                // A connection that it has blocked the broker expects no sign of life from.
                () = due(self.publish_at), if !self.blocked => self.publish().await?,
            }
        }
    }

    /// As often as a sign of life is due, so that this is one too.
    async fn publish(&mut self) -> Result<(), Fault> {
        self.publish_at = Some(Instant::now() + self.heartbeat / 2);
        self.say(&[request::publish_nothing(), request::anything()].concat()).await
    }

    async fn say(&mut self, words: &[u8]) -> Result<(), Fault> {
        let said = async {
            self.socket.write_all(words).await?;
            self.socket.flush().await
        };
        match timeout(self.heartbeat, said).await {
            Ok(said) => said.map_err(|error| lost(&error)),
            Err(_) => Err(lost("the broker takes nothing any more")),
        }
    }

    /// Ends the connection in good order. A blocked one just ends: the broker would not read that it should.
    pub async fn close(mut self) {
        if self.blocked {
            return;
        }
        self.publish_at = None;
        let agreed = async {
            self.say(&request::close()).await?;
            self.answer(|said| (said == Method::CloseAgreed).then_some(())).await
        };
        if !matches!(timeout(GOODBYE, agreed).await, Ok(Ok(()))) {
            debug!("the broker did not agree to the end of the connection that listens for alarms");
        }
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

async fn connect(address: &Address) -> Result<Box<dyn Socket>, Fault> {
    let host = address.host.as_str();
    let socket = TcpStream::connect((host, address.port)).await.map_err(|error| lost(&error))?;
    socket.set_nodelay(true).map_err(|error| lost(&error))?;
    if !address.tls {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| lost(&error))?;
    let secured = tls::connector(address)?.connect(name, socket).await;
    Ok(Box::new(secured.map_err(|error| lost(&error))?))
}

fn lost(cause: &(impl Display + ?Sized)) -> Fault {
    Fault::new(Kind::Unreachable, format!("the connection that listens for alarms: {cause}"))
}

/// The broker closed the channel, which nothing but publishing is done on.
fn refused(code: u16, text: &str) -> Fault {
    match code {
        403 => Fault::new(
            Kind::Refused,
            format!(
                "the broker refuses an empty message to nobody: {code} {text}; grant the user the permission to write \
                 to 'amq.default'"
            ),
        ),
        _ => Fault::of_reply(code, &format!("the broker closed the channel: {code} {text}")),
    }
}
