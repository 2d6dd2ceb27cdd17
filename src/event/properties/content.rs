//! Properties as they are on the wire, read where the AMQP client is not to be asked: it dies of what it cannot read.

use std::collections::BTreeMap;

use super::{FieldValue, Properties, wire};

/// Bytes that are no properties, or hold what no [`Properties`] can: a text that is no UTF-8, a type of value that AMQP's
/// specification does not have. It says what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(&'static str);

const HEADERS: Unreadable =
    Unreadable("its headers hold a text that is no UTF-8, or a type of value that nobody knows");
const CUT_SHORT: Unreadable = Unreadable("its properties end early");
const TEXT: Unreadable = Unreadable("a property of it is no UTF-8");

/// Properties, in the order in which they come: each has a flag, from the highest bit on.
const FIRST: u16 = 1 << 15;
/// The lowest bit says that more flags follow; AMQP 0-9-1 has no property for them.
const MORE: u16 = 1;

impl Properties {
    /// Reads the flags and properties of a content header's frame, as [`Properties::wire_size`] counts them but for the
    /// class, the weight and the length of the body before them. Of headers of one name the last one counts.
    ///
    /// # Errors
    /// They are not [`Properties`].
    pub fn from_wire(bytes: &[u8]) -> Result<Properties, Unreadable> {
        let mut input = Input(bytes);
        let flags = u16::from_be_bytes(input.bytes()?);
        if flags & MORE != 0 {
            return Err(Unreadable("it has more properties than AMQP 0-9-1 knows"));
        }
        let mut next = FIRST;
        let mut set = || {
            let set = flags & next != 0;
            next >>= 1;
            set
        };
        // In the order of the wire.
        Ok(Properties {
            content_type: input.text_where(set())?,
            content_encoding: input.text_where(set())?,
            headers: if set() { Some(input.table()?) } else { None },
            delivery_mode: if set() { Some(input.bytes::<1>()?[0]) } else { None },
            priority: if set() { Some(input.bytes::<1>()?[0]) } else { None },
            correlation_id: input.text_where(set())?,
            reply_to: input.text_where(set())?,
            expiration: input.text_where(set())?,
            message_id: input.text_where(set())?,
            timestamp: if set() { Some(u64::from_be_bytes(input.bytes()?)) } else { None },
            message_type: input.text_where(set())?,
            user_id: input.text_where(set())?,
            app_id: input.text_where(set())?,
            cluster_id: input.text_where(set())?,
        })
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (slice, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(slice)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn text_where(&mut self, set: bool) -> Result<Option<String>, Unreadable> {
        if !set {
            return Ok(None);
        }
        let [length] = self.bytes()?;
        let text = std::str::from_utf8(self.slice(length.into())?).map_err(|_| TEXT)?;
        Ok(Some(text.to_owned()))
    }

    fn table(&mut self) -> Result<BTreeMap<String, FieldValue>, Unreadable> {
        let length = self.0.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let length = length.and_then(|length| usize::try_from(length).ok()?.checked_add(4));
        match wire::decode(b'F', self.slice(length.ok_or(CUT_SHORT)?)?) {
            Some(FieldValue::Table(table)) => Ok(table),
            _ => Err(HEADERS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flag for each property that is set, and what is behind them.
    fn on_the_wire(flags: u16, properties: &[&[u8]]) -> Vec<u8> {
        [&flags.to_be_bytes()[..], &properties.concat()].concat()
    }

    #[test]
    fn each_flag_stands_for_its_property() {
        let read = |flag: u32, bytes: &[u8]| {
            Properties::from_wire(&on_the_wire(1 << flag, &[bytes])).unwrap()
        };
        let none = Properties::default;
        let x = || Some("x".to_owned());
        let text = b"\x01x";
        assert_eq!(read(15, text), Properties { content_type: x(), ..none() });
        assert_eq!(read(14, text), Properties { content_encoding: x(), ..none() });
        let headers = Some(BTreeMap::from([("x".to_owned(), FieldValue::I16(7))]));
        assert_eq!(read(13, b"\0\0\0\x05\x01xs\0\x07"), Properties { headers, ..none() });
        assert_eq!(read(12, b"\x02"), Properties { delivery_mode: Some(2), ..none() });
        assert_eq!(read(11, b"\x09"), Properties { priority: Some(9), ..none() });
        assert_eq!(read(10, text), Properties { correlation_id: x(), ..none() });
        assert_eq!(read(9, text), Properties { reply_to: x(), ..none() });
        assert_eq!(read(8, text), Properties { expiration: x(), ..none() });
        assert_eq!(read(7, text), Properties { message_id: x(), ..none() });
        let seconds = [0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(read(6, &seconds), Properties { timestamp: Some(256), ..none() });
        assert_eq!(read(5, text), Properties { message_type: x(), ..none() });
        assert_eq!(read(4, text), Properties { user_id: x(), ..none() });
        assert_eq!(read(3, text), Properties { app_id: x(), ..none() });
        assert_eq!(read(2, text), Properties { cluster_id: x(), ..none() });
        assert_eq!(Properties::from_wire(&[0, 0]).unwrap(), none());
    }

    #[test]
    fn what_it_cannot_be_it_is_not() {
        let bad_text = on_the_wire(1 << 15, &[b"\x02\xff\xfe"]);
        assert_eq!(Properties::from_wire(&bad_text), Err(TEXT));
        let bad_header = on_the_wire(1 << 13, &[b"\0\0\0\x09\x01xS\0\0\0\x02\xff\xfe"]);
        assert_eq!(Properties::from_wire(&bad_header), Err(HEADERS));
        let bad_tag = on_the_wire(1 << 13, &[b"\0\0\0\x04\x01xL\0"]);
        assert_eq!(Properties::from_wire(&bad_tag), Err(HEADERS));
        let whole = on_the_wire(1 << 13 | 1 << 12, &[b"\0\0\0\x05\x01xs\0\x07", b"\x02"]);
        for length in 0..whole.len() {
            assert!(Properties::from_wire(&whole[..length]).is_err(), "{length}");
        }
        assert!(Properties::from_wire(&on_the_wire(MORE, &[])).is_err());
    }
}
