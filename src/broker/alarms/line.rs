//! A connection that asked to be told of alarms, and that publishes, so that it is.

use std::{future, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::{
    super::{
        Fault, Kind, Settings,
        plain::{
            method::{Frame, Method},
            request,
            socket::Socket,
        },
    },
    Alarm,
};

/// How long a polite end may take. Nothing is lost without it but a line in the broker's log.
const GOODBYE: Duration = Duration::from_millis(500);

/// A connection with one channel.
pub(super) struct Line {
    socket: Socket,
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
        let Settings { address, connection_name, heartbeat, connect_timeout, .. } = settings;
        let name = format!("{connection_name}, listening for alarms");
        let seconds = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX);
        let purpose = "listens for alarms";
        let socket = Socket::open(address, &name, seconds, purpose, *connect_timeout).await?;
        Ok(Line {
            socket,
            heartbeat: *heartbeat,
            heard_at: Instant::now(),
            publish_at: Some(Instant::now()),
            blocked: false,
        })
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
            match self.socket.received().await? {
                None => {}
                Some(Frame::Method(Method::ChannelClosed { code, text })) => {
                    return Err(refused(code, &text));
                }
                Some(Frame::Method(said)) => return Ok(said),
                Some(_) => return Ok(Method::Other),
            }
            tokio::select! {
                read = self.socket.read() => {
                    read?;
                    self.heard_at = Instant::now();
                }
                () = sleep_until(self.heard_at + 2 * self.heartbeat) => {
                    return Err(self.socket.lost("the broker says nothing any more"));
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
        match timeout(self.heartbeat, self.socket.say(words)).await {
            Ok(said) => said,
            Err(_) => Err(self.socket.lost("the broker takes nothing any more")),
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
            loop {
                if self.next().await? == Method::CloseAgreed {
                    return Ok::<_, Fault>(());
                }
            }
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
