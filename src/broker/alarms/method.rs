//! What the broker says: the few methods of AMQP 0-9-1 that a line for alarms has to understand.

/// Type, channel and length stand before a payload, and one byte after it.
const HEAD: usize = 7;
const END: u8 = 0xCE;

/// The type of a frame that holds a method.
const METHOD: u8 = 1;

/// What comes here is short. A frame that claims to be longer than this is none.
const LONGEST: usize = 1 << 20;

/// What the broker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// It wants a login.
    Start,
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
    /// A sign of life, or what nobody asked for.
    Other,
}

/// What came is not AMQP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl Method {
    /// Takes a whole frame from the front of `received`, where there is one.
    pub fn take(received: &mut Vec<u8>) -> Result<Option<Method>, Garbled> {
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
        match kind {
            METHOD => Method::read(&mut Reader(&frame[HEAD..end])).ok_or(Garbled).map(Some),
            _ => Ok(Some(Method::Other)),
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Method> {
        Some(match (from.short()?, from.short()?) {
            (10, 10) => Method::Start,
            (10, 30) => Method::Tune { channel_max: from.short()?, frame_max: from.long()? },
            (10, 41) => Method::Opened,
            (10, 50) => Method::Closed { code: from.short()?, text: from.text()? },
            (10, 51) => Method::CloseAgreed,
            (10, 60) => Method::Blocked { reason: from.text()? },
            (10, 61) => Method::Unblocked,
            (20, 11) => Method::ChannelOpened,
            (20, 40) => Method::ChannelClosed { code: from.short()?, text: from.text()? },
            (60, 11) => Method::QosSet,
            _ => Method::Other,
        })
    }
}

/// Reads numbers and texts off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
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

    fn text(&mut self) -> Option<String> {
        let [length] = self.bytes()?;
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
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
            assert_eq!(Method::take(&mut received), Ok(None));
        }
        received.push(0xCE);
        received.extend(HEARTBEAT);
        assert_eq!(Method::take(&mut received), Ok(Some(Method::Blocked { reason })));
        assert_eq!(Method::take(&mut received), Ok(Some(Method::Other)));
        assert_eq!(Method::take(&mut received), Ok(None));
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
            assert_eq!(Method::take(&mut garbled.to_vec()), Err(Garbled), "{garbled:?}");
        }
    }
}
