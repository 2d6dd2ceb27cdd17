//! The dead-letter queue, read without taking anything out of it: each message is asked for (`basic.get`) and remains the
//! queue's until it is acknowledged. When the channel ends, what is not acknowledged goes back.
//!
//! On a plain connection, as the AMQP client's own is torn down by a message whose headers it cannot parse, and then the
//! broker has that message back at the head of its queue, before all others. Here such a one is held like any other, and
//! passed by.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::{
    Address, Fault, Kind,
    plain::{
        method::{Frame, Method},
        request,
        socket::Socket,
    },
};
use crate::event::{Delivery, DeliveryTag, Properties, now};

/// How long the broker may take for the next frame: one of a large message may take its time on a slow line.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a polite end may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// Most messages that are asked for ahead. A round trip each would be most of the time that small ones take.
const AHEAD: u32 = 32;
/// Bytes that may be on their way at most: the broker's memory has them, this process one message.
const ON_THE_WAY: usize = 8 << 20;

/// How long a quorum queue may take for the next of the last words, and how often it is asked.
const SETTLING: Duration = Duration::from_secs(2);
const SETTLING_POLL: Duration = Duration::from_millis(2);
/// Messages that are given back at a time.
const RETURNED: usize = 16;

/// What the queue handed out.
#[derive(Debug, Clone, PartialEq)]
pub enum DeadLetter {
    /// A message.
    Message(Box<Delivery>),
    /// One that no client of this program can decode: this one passes it by.
    Unreadable {
        /// Its delivery tag.
        tag: DeliveryTag,
        /// Bytes of its body.
        body_bytes: u64,
        /// What cannot be decoded, in words.
        why: String,
    },
}

/// A dead-letter queue that is being read. What was handed out and not acknowledged is invisible to others for as long.
pub struct DeadLetters {
    socket: Socket,
    queue: String,
    waiting: u32,
    /// Messages that were asked for and have not come.
    asked: u32,
    /// Messages that may still be asked for.
    permitted: u32,
    /// Largest message so far, in bytes.
    largest: usize,
    /// Messages that were handed out and not acknowledged.
    held: BTreeSet<DeliveryTag>,
    /// Consumers that are none of these, for all that is known.
    others: usize,
    /// The channel has ended: nothing is answered on it any more.
    over: bool,
}

impl DeadLetters {
    /// Connects, and looks for the queue. Nothing is asked for before [`DeadLetters::permit`].
    ///
    /// No heartbeats are agreed on: nobody reads while a question waits at a terminal.
    ///
    /// # Errors
    /// A [`Fault`] that names what refused and why.
    pub async fn open(
        address: &Address,
        name: &str,
        limit: Duration,
        queue: &str,
    ) -> Result<DeadLetters, Fault> {
        let mut socket = Socket::open(address, name, 0, "reads dead letters", limit).await?;
        let looked = timeout(limit, look(&mut socket, queue)).await.unwrap_or_else(|_| {
            Err(Fault::new(
                Kind::Unreachable,
                format!(
                    "the broker at {address} does not answer within {}",
                    humantime::format_duration(limit)
                ),
            ))
        });
        let (waiting, _) = looked?;
        Ok(DeadLetters {
            socket,
            queue: queue.to_owned(),
            waiting,
            asked: 0,
            permitted: 0,
            largest: 0,
            held: BTreeSet::new(),
            others: 0,
            over: false,
        })
    }

    /// Messages that waited when it was opened.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Longest frame in bytes that the broker takes; 0 for no bound.
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.socket.frame_max
    }

    /// Lets it ask for so many more messages.
    pub fn permit(&mut self, more: u32) {
        self.permitted = self.permitted.saturating_add(more);
    }

    /// The next message; `None` where the queue has none left, or where no more may be asked for.
    ///
    /// # Errors
    /// The connection is lost: all that was not acknowledged is the queue's again.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, Fault> {
        let next = self.take().await;
        self.over |= next.is_err();
        next
    }

    async fn take(&mut self) -> Result<Option<DeadLetter>, Fault> {
        self.ask().await?;
        while self.asked > 0 {
            let got = |said| match said {
                Method::Got { tag, redelivered, exchange, routing_key } => {
                    Some(Some((tag, redelivered, exchange, routing_key)))
                }
                Method::GotNone => Some(None),
                _ => None,
            };
            let got = match timeout(ANSWER, self.socket.answer(got)).await {
                Ok(got) => got?,
                Err(_) => return Err(self.silent()),
            };
            self.asked -= 1;
            let Some((tag, redelivered, exchange, routing_key)) = got else {
                // What comes into the queue from now on is not meant.
                self.permitted = 0;
                continue;
            };
            self.held.insert(tag);
            let (properties, body) = self.content().await?;
            self.largest = self.largest.max(body.len() + properties.len());
            let text = |bytes, what| {
                String::from_utf8(bytes).map_err(|_| format!("its {what} is no UTF-8"))
            };
            let read = || {
                Ok::<_, String>(Delivery {
                    tag,
                    redelivered,
                    exchange: text(exchange, "exchange")?,
                    routing_key: text(routing_key, "routing key")?,
                    properties: Properties::from_wire(&properties)
                        .map_err(|error| error.to_string())?,
                    body: Vec::new(),
                    received_at: now(),
                })
            };
            return Ok(Some(match read() {
                Ok(delivery) => DeadLetter::Message(Box::new(Delivery { body, ..delivery })),
                Err(why) => {
                    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
                    DeadLetter::Unreadable { tag, body_bytes, why }
                }
            }));
        }
        Ok(None)
    }

    /// Asks for as many messages as may be on their way.
    async fn ask(&mut self) -> Result<(), Fault> {
        let room = u32::try_from(ON_THE_WAY / self.largest.max(1)).unwrap_or(AHEAD);
        // How large they are is known when the first one is here.
        let room = if self.largest == 0 { 1 } else { room.clamp(1, AHEAD) };
        let more = room.saturating_sub(self.asked).min(self.permitted);
        if more == 0 {
            return Ok(());
        }
        self.socket.say(&request::get(&self.queue).repeat(more as usize)).await?;
        self.asked += more;
        self.permitted -= more;
        Ok(())
    }

    /// The properties, as on the wire, and the body.
    async fn content(&mut self) -> Result<(Vec<u8>, Vec<u8>), Fault> {
        let Frame::Header { body_bytes, properties } = self.frame().await? else {
            return Err(self.socket.lost("a message comes without its properties"));
        };
        let mut body = Vec::new();
        while u64::try_from(body.len()).unwrap_or(u64::MAX) < body_bytes {
            match self.frame().await? {
                Frame::Body(part) => body.extend_from_slice(&part),
                Frame::Other => {}
                _ => return Err(self.socket.lost("a message comes without its body")),
            }
        }
        Ok((properties, body))
    }

    /// The next frame, which is a part of a message.
    async fn frame(&mut self) -> Result<Frame, Fault> {
        match timeout(ANSWER, self.socket.frame()).await {
            Ok(frame) => frame,
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Fault {
        self.socket.lost("the broker says nothing any more")
    }

    /// Asks the broker for a sign of life. After that no more messages come.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn check(&mut self) -> Result<(), Fault> {
        let asked = async {
            self.take_the_rest().await?;
            look(&mut self.socket, &self.queue).await
        };
        let found = match timeout(GOODBYE, asked).await {
            Ok(found) => found.map(drop),
            Err(_) => Err(self.silent()),
        };
        self.over |= found.is_err();
        found
    }

    /// Takes what was asked for and is not wanted any more: it has to be given back like the rest.
    async fn take_the_rest(&mut self) -> Result<(), Fault> {
        self.permitted = 0;
        while self.take().await?.is_some() {}
        Ok(())
    }

    /// Takes these messages out of the queue for good. That the broker has done so only [`DeadLetters::close`] tells.
    ///
    /// # Errors
    /// The connection is lost: whether the broker has heard it is not known, and those that it has not are the queue's
    /// again.
    pub async fn acknowledge(
        &mut self,
        tags: impl IntoIterator<Item = DeliveryTag>,
    ) -> Result<(), Fault> {
        let mut words = Vec::new();
        for tag in tags {
            words.extend(request::acknowledge(tag));
            self.held.remove(&tag);
        }
        let said = match timeout(ANSWER, self.socket.say(&words)).await {
            Ok(said) => said,
            Err(_) => Err(self.socket.lost("the broker takes nothing any more")),
        };
        self.over |= said.is_err();
        said
    }

    /// Gives back what is not acknowledged, in its order. True where the broker agreed: it has then taken every
    /// acknowledgement. Otherwise what is held goes back all the same, but in a quorum queue in no order.
    pub async fn close(mut self) -> bool {
        if self.over {
            return false;
        }
        let returned = self.give_back().await;
        let end = async {
            self.socket.say(&request::close_channel()).await?;
            self.socket.answer(|said| (said == Method::ChannelCloseAgreed).then_some(())).await?;
            self.socket.say(&request::close()).await?;
            self.socket.answer(|said| (said == Method::CloseAgreed).then_some(())).await
        };
        let agreed = returned.is_ok() && matches!(timeout(GOODBYE, end).await, Ok(Ok(())));
        if !agreed {
            debug!("the broker did not agree to the end of the connection that reads dead letters");
        }
        agreed
    }

    /// One by one and few at a time: a quorum queue of RabbitMQ 3.10 knows no order among messages that come back together,
    /// nor among those whose return the channel puts off because more than 32 are under way. However many there are, it goes
    /// on as long as the broker does.
    async fn give_back(&mut self) -> Result<(), Fault> {
        self.take_the_rest().await?;
        let mut some = Vec::new();
        loop {
            let words: Vec<u8> = some.iter().copied().flat_map(request::give_back).collect();
            some.iter().for_each(|tag| {
                self.held.remove(tag);
            });
            let given = async {
                self.socket.say(&words).await?;
                self.out(self.held.len()).await
            };
            match timeout(ANSWER, given).await {
                Ok(given) => given?,
                Err(_) => return Err(self.silent()),
            }
            some = self.held.iter().copied().take(RETURNED).collect();
            if some.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits until no more than so many messages are out, as the queue has it.
    ///
    /// A quorum queue takes what is said of messages into its log, and a channel that is closed before overtakes it. It
    /// counts each message that is out as a consumer. Others may hold some too, and then this only takes its time; a
    /// classic queue counts none, and takes all in order.
    async fn out(&mut self, most: usize) -> Result<(), Fault> {
        let (mut changed, mut before) = (Instant::now(), usize::MAX);
        loop {
            let (_, consumers) = look(&mut self.socket, &self.queue).await?;
            let out = usize::try_from(consumers).unwrap_or(usize::MAX).saturating_sub(self.others);
            if out <= most {
                return Ok(());
            }
            if out < before {
                (before, changed) = (out, Instant::now());
            } else if changed.elapsed() > SETTLING {
                self.others += out - most;
                return Ok(());
            }
            sleep(SETTLING_POLL).await;
        }
    }
}

/// How many messages wait in a queue that has to be there, and how many consumers it counts.
async fn look(socket: &mut Socket, queue: &str) -> Result<(u32, u32), Fault> {
    socket.say(&request::find_queue(queue)).await?;
    let found = socket.answer(|said| match said {
        Method::Queue { messages, consumers } => Some((messages, consumers)),
        _ => None,
    });
    found.await.map_err(|fault| Fault {
        message: format!("looking for the dead-letter queue '{queue}': {}", fault.message),
        ..fault
    })
}
