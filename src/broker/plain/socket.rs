//! A socket to the broker, and the login.

use std::{fmt::Display, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    super::{
        Address, Auth, Expiry, Fault, Kind,
        fault::is_cut_short,
        tls::{Secured, Seen},
    },
    method::{Frame, Garbled, Method},
    request,
};

/// Room for what is read at once, in bytes.
const READ: usize = 16 << 10;

/// Plain TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection of its own: what is said on it comes in whole frames.
pub struct Socket {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// What it is for, in words.
    purpose: &'static str,
    /// What TLS showed, where it is spoken.
    seen: Option<Arc<Seen>>,
    /// What the broker has said of its ways to log in, once it has.
    mechanisms: Option<String>,
    /// Longest frame in bytes that the broker takes; 0 for no bound.
    pub frame_max: u32,
}

impl Socket {
    /// Connects to the first host that lets it, logs in under that name, and opens one channel; each host may take as
    /// long as `limit`. With a heartbeat of 0 seconds none is agreed on.
    pub async fn open(
        address: &Address,
        name: &str,
        heartbeat: u16,
        purpose: &'static str,
        limit: Duration,
    ) -> Result<Socket, Fault> {
        let mut faults = Vec::new();
        for one in address.each() {
            let opening = async {
                let mut socket = Socket::connect(&one, purpose).await?;
                socket.log_in(&one, name, heartbeat).await?;
                socket.open_channel(&one.vhost).await?;
                Ok(socket)
            };
            match timeout(limit, opening).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(fault)) => faults.push(fault),
                Err(_) => {
                    let within = humantime::format_duration(limit);
                    let cause = format!("the broker at {one} does not answer within {within}");
                    faults.push(lost(purpose, &cause));
                }
            }
        }
        Err(Fault::of_each(faults))
    }

    /// Connects, over TLS where the address says so. Of TLS it is known only by the broker's first words that it has
    /// accepted our certificate, or that it does without.
    pub async fn connect(address: &Address, purpose: &'static str) -> Result<Socket, Fault> {
        let (stream, seen) = connect(address, purpose).await?;
        let (received, mechanisms) = (Vec::new(), None);
        let mut socket = Socket { stream, received, purpose, seen, mechanisms, frame_max: 0 };
        if let Some(seen) = socket.seen.clone() {
            socket.greet().await.map_err(|fault| {
                let cut = is_cut_short(&fault.message);
                let of_ours = || seen.left_wanting().or_else(|| seen.turned_away());
                match seen.trouble(&fault.message).or_else(|| of_ours().filter(|_| cut)) {
                    Some(trouble) => refused(address, &trouble),
                    None => fault,
                }
            })?;
        }
        Ok(socket)
    }

    /// Until when the certificates are valid that were shown.
    pub fn expiry(&self) -> Expiry {
        self.seen.as_ref().map_or_else(Expiry::default, |seen| seen.expiry())
    }

    async fn greet(&mut self) -> Result<(), Fault> {
        self.say(request::PROTOCOL).await?;
        let start = |said| match said {
            Method::Start { mechanisms } => Some(mechanisms),
            _ => None,
        };
        self.mechanisms = Some(self.answer(start).await?);
        Ok(())
    }

    /// Logs in under that name.
    pub async fn log_in(
        &mut self,
        address: &Address,
        name: &str,
        heartbeat: u16,
    ) -> Result<(), Fault> {
        if self.mechanisms.is_none() {
            self.greet().await?;
        }
        let offered = self.mechanisms.as_deref().unwrap_or_default();
        if address.auth == Auth::External && !offered.split(' ').any(|one| one == "EXTERNAL") {
            return Err(Fault::no_external(address));
        }
        self.say(&request::login(name, address)).await?;
        let limits = |said| match said {
            Method::Tune { channel_max, frame_max } => Some((channel_max, frame_max)),
            _ => None,
        };
        let (channel_max, frame_max) = self.answer(limits).await?;
        self.frame_max = frame_max;
        self.say(&request::tuned(channel_max, frame_max, heartbeat)).await
    }

    /// Opens the virtual host, and the channel in it.
    pub async fn open_channel(&mut self, vhost: &str) -> Result<(), Fault> {
        self.say(&request::open(vhost)).await?;
        self.answer(|said| (said == Method::Opened).then_some(())).await?;
        self.say(&request::open_channel()).await?;
        self.answer(|said| (said == Method::ChannelOpened).then_some(())).await
    }

    /// The first of the broker's words that `wanted` takes.
    pub async fn answer<T>(
        &mut self,
        wanted: impl Fn(Method) -> Option<T> + Send,
    ) -> Result<T, Fault> {
        loop {
            match self.frame().await? {
                Frame::Method(Method::ChannelClosed { code, text }) => {
                    let text = format!("the broker closed the channel: {code} {text}");
                    return Err(Fault::of_reply(code, &text));
                }
                Frame::Method(said) => {
                    if let Some(answer) = wanted(said) {
                        return Ok(answer);
                    }
                }
                _ => {}
            }
        }
    }

    /// The next frame, however long it takes.
    pub async fn frame(&mut self) -> Result<Frame, Fault> {
        loop {
            if let Some(frame) = self.received().await? {
                return Ok(frame);
            }
            self.read().await?;
        }
    }

    /// The next frame, where it has come as a whole; or why there will be none.
    pub async fn received(&mut self) -> Result<Option<Frame>, Fault> {
        match Frame::take(&mut self.received) {
            Ok(Some(Frame::Method(Method::Closed { code, text }))) => {
                // It goes either way.
                let _ = self.say(&request::close_agreed()).await;
                let text = format!("the broker closed the connection: {code} {text}");
                Err(Fault::of_reply(code, &text))
            }
            Ok(frame) => Ok(frame),
            Err(Garbled) => Err(self.lost("what comes is not AMQP")),
        }
    }

    /// Waits for more bytes. May be dropped at any time.
    pub async fn read(&mut self) -> Result<(), Fault> {
        self.received.reserve(READ);
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err(self.lost("the broker closed the socket")),
            Ok(_) => Ok(()),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Sends all of it.
    pub async fn say(&mut self, words: &[u8]) -> Result<(), Fault> {
        let said = async {
            self.stream.write_all(words).await?;
            self.stream.flush().await
        };
        said.await.map_err(|error| self.lost(&error))
    }

    /// The connection is lost, for that reason.
    pub fn lost(&self, cause: &(impl Display + ?Sized)) -> Fault {
        lost(self.purpose, cause)
    }
}

type Connected = (Box<dyn Stream>, Option<Arc<Seen>>);

async fn connect(address: &Address, purpose: &str) -> Result<Connected, Fault> {
    let failed = |error| lost(purpose, &error);
    let host = address.host.as_str();
    let socket = TcpStream::connect((host, address.port)).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let Some(secured) = Secured::of(address)? else {
        return Ok((Box::new(socket), None));
    };
    match secured.connect(socket).await {
        Ok(stream) => Ok((Box::new(stream), Some(secured.seen))),
        Err(error) => Err(match secured.seen.trouble(&error.to_string()) {
            Some(trouble) => refused(address, &trouble),
            None => failed(error),
        }),
    }
}

fn refused(address: &Address, trouble: &str) -> Fault {
    Fault::new(Kind::Refused, format!("the broker at {address}: {trouble}"))
}

/// The connection with that purpose is lost.
fn lost(purpose: &str, cause: &(impl Display + ?Sized)) -> Fault {
    Fault::new(Kind::Unreachable, format!("the connection that {purpose}: {cause}"))
}
