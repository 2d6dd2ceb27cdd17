//! What the broker says: frames, and the few methods of AMQP 0-9-1 that are understood here.

/// Type, channel and length stand before a payload, and one byte after it.
const HEAD: usize = 7;
const END: u8 = 0xCE;

/// The types of a frame that holds a method, the properties of a message, a part of its body.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// RabbitMQ's frames are of 128 KiB unless its operator says otherwise. What claims to be longer than this is none.
const LONGEST: usize = 128 << 20;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// The broker's words.
    Method(Method),
    /// Properties of a message, behind its class, a reserved number and the length of the body.
    Header {
        /// Length of the body in bytes.
        body_bytes: u64,
        /// Flags and properties, as on the wire.
        properties: Vec<u8>,
    },
    /// A part of the body.
    Body(Vec<u8>),
    /// A sign of life, or what nobody knows.
    Other,
}

/// What the broker says.
#[derive(Debug, PartialEq, Eq)]
pub enum Method {
    /// It wants a login.
    Start {
        /// The ways to prove who one is that it takes, separated by spaces.
        mechanisms: String,
    },
    /// The login is good; these are its limits.
    Tune { channel_max: u16, frame_max: u32 },
    /// The virtual host is open.
    Opened,
    /// The channel is open.
    ChannelOpened,
    /// The answer to a question that has no other purpose.
    QosSet,
    /// It takes nothing from this connection any more.
    Blocked { reason: String },
    /// It does again.
    Unblocked,
    /// It refuses what was asked on the channel.
    ChannelClosed { code: u16, text: String },
    /// It ends the connection.
    Closed { code: u16, text: String },
    /// It agrees to the end of the connection.
    CloseAgreed,
    /// It agrees to the end of the channel.
    ChannelCloseAgreed,
    /// The queue is there.
    Queue {
        /// Messages that wait in it, handed out to nobody.
        messages: u32,
        /// Who takes messages from it, or holds some.
        consumers: u32,
    },
    /// A message, whose properties and body follow.
    Got {
        /// Its delivery tag.
        tag: u64,
        /// Whether it was handed out before.
        redelivered: bool,
        /// The exchange it was published to, as bytes.
        exchange: Vec<u8>,
        /// The routing key it was published with, as bytes.
        routing_key: Vec<u8>,
    },
    /// No message waits in the queue.
    GotNone,
    /// A sign of life, or what nobody asked for.
    Other,
}

/// What came is not AMQP.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbled;

impl Frame {
    /// Takes a whole frame from the front of `received`, where there is one.
    pub fn take(received: &mut Vec<u8>) -> Result<Option<Frame>, Garbled> {
        let Some(&[kind, _, _, a, b, c, d]) = received.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Garbled)?;
        if length > LONGEST {
            return Err(Garbled);
        }
        let end = HEAD + length;
        match received.get(end) {
            None => return Ok(None),
            Some(&END) => {}
            Some(_) => return Err(Garbled),
        }
        let frame: Vec<u8> = received.drain(..=end).collect();
        let mut payload = Reader(&frame[HEAD..end]);
        let read = match kind {
            METHOD => Method::read(&mut payload).map(Frame::Method),
            HEADER => Frame::header(&mut payload),
            BODY => Some(Frame::Body(payload.0.to_vec())),
            _ => Some(Frame::Other),
        };
        read.ok_or(Garbled).map(Some)
    }

    fn header(from: &mut Reader<'_>) -> Option<Frame> {
        let _class_and_weight = from.long()?;
        let body_bytes = from.bytes().map(u64::from_be_bytes)?;
        Some(Frame::Header { body_bytes, properties: from.0.to_vec() })
    }
}

impl Method {
    fn read(from: &mut Reader<'_>) -> Option<Method> {
        Some(match (from.short()?, from.short()?) {
            (10, 10) => {
                let _version: [u8; 2] = from.bytes()?;
                from.long_bytes()?;
                let mechanisms = String::from_utf8_lossy(from.long_bytes()?).into_owned();
                Method::Start { mechanisms }
            }
            (10, 30) => Method::Tune { channel_max: from.short()?, frame_max: from.long()? },
            (10, 41) => Method::Opened,
            (10, 50) => Method::Closed { code: from.short()?, text: from.text()? },
            (10, 51) => Method::CloseAgreed,
            (10, 60) => Method::Blocked { reason: from.text()? },
            (10, 61) => Method::Unblocked,
            (20, 11) => Method::ChannelOpened,
            (20, 41) => Method::ChannelCloseAgreed,
            (20, 40) => Method::ChannelClosed { code: from.short()?, text: from.text()? },
            (50, 11) => {
                from.short_bytes()?;
                Method::Queue { messages: from.long()?, consumers: from.long()? }
            }
            (60, 11) => Method::QosSet,
            (60, 71) => Method::Got {
                tag: from.bytes().map(u64::from_be_bytes)?,
                redelivered: from.bytes::<1>()? != [0],
                exchange: from.short_bytes()?.to_vec(),
                routing_key: from.short_bytes()?.to_vec(),
            },
            (60, 72) => Method::GotNone,
            _ => Method::Other,
        })
    }
}

/// Reads numbers and texts off the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn short(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn long(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn short_bytes(&mut self) -> Option<&'a [u8]> {
        let [length] = self.bytes()?;
        let (bytes, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(bytes)
    }

    fn long_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.short_bytes()?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKED: &[u8] = b"\x01\0\0\0\0\0\x12\0\x0a\0\x3c\x0dlow on memory\xce";
    const HEARTBEAT: &[u8] = b"\x08\0\0\0\0\0\0\xce";

    #[test]
    fn frames_are_taken_whole_however_they_come() {
        let reason = "low on memory".to_owned();
        let mut received = Vec::new();
        for byte in &BLOCKED[..BLOCKED.len() - 1] {
            received.push(*byte);
            assert_eq!(Frame::take(&mut received), Ok(None));
        }
        received.push(0xCE);
        received.extend(HEARTBEAT);
        assert_eq!(Frame::take(&mut received), Ok(Some(Frame::Method(Method::Blocked { reason }))));
        assert_eq!(Frame::take(&mut received), Ok(Some(Frame::Other)));
        assert_eq!(Frame::take(&mut received), Ok(None));
        assert!(received.is_empty());
    }

    #[test]
    fn what_is_no_frame_ends_it() {
        for garbled in [
            // A longer text than its frame, another end, an absurd length, another protocol.
            &b"\x01\0\0\0\0\0\x05\0\x0a\0\x3c\x0d\xce"[..],
            b"\x08\0\0\0\0\0\0\xcd",
            b"\x01\0\0\x7f\0\0\0",
            b"AMQP\0\0\x09\x01",
        ] {
            assert_eq!(Frame::take(&mut garbled.to_vec()), Err(Garbled), "{garbled:?}");
        }
    }
}
