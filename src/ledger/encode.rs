//! How values are written before they are hashed: big-endian, each of a length that is known or said.

use time::OffsetDateTime;

/// What everything that is hashed as a leaf begins with: the format's name and its version.
pub(super) const FORMAT: &[u8] = b"rbal1\0";

/// What follows it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A row of `audit.events`.
    Event = 1,
    /// A lane's header: a row of `audit.batches`, as its writer knows it.
    Header = 2,
    /// That header, with what the database has added to it.
    Batch = 3,
    /// A row of `audit.acts`.
    Act = 4,
}

/// Writing into memory.
pub(super) trait Writing {
    /// A number of 32 bits.
    fn i32(&mut self, value: i32);
    /// A number of 64 bits.
    fn i64(&mut self, value: i64);
    /// A text, after its length in bytes.
    fn text(&mut self, text: &str);
    /// Texts, after their number.
    fn list(&mut self, texts: &[impl AsRef<str>]);
    /// What may be absent, after a byte that says whether it is there.
    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T));
}

impl Writing for Vec<u8> {
    fn i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.extend_from_slice(&length(text.len()));
        self.extend_from_slice(text.as_bytes());
    }

    fn list(&mut self, texts: &[impl AsRef<str>]) {
        self.extend_from_slice(&length(texts.len()));
        for text in texts {
            self.text(text.as_ref());
        }
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.push(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// A frame of AMQP and a field of PostgreSQL end long before.
fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_be_bytes()
}

/// Microseconds since 1970, as PostgreSQL keeps times.
pub(super) fn microseconds(at: OffsetDateTime) -> i64 {
    let whole = at.unix_timestamp_nanos().div_euclid(1000);
    i64::try_from(whole).unwrap_or(i64::MAX)
}
