//! How the checker writes values before it hashes them: from what PostgreSQL sends, with nothing of the writer's.

/// Writing into memory that is used again.
pub(super) trait Put {
    fn i32(&mut self, value: i32);
    fn i64(&mut self, value: i64);
    /// What may be absent, as its bytes are.
    fn optional(&mut self, bytes: Option<&[u8]>);
    /// A number that may be absent.
    fn optional_i64(&mut self, value: Option<i64>);
    /// A text after its length. One that is absent where none may be is written as no text is.
    fn text(&mut self, text: Option<&[u8]>);
    /// A text that may be absent.
    fn optional_text(&mut self, text: Option<&[u8]>);
}

/// No text and no list is so long.
pub(super) const NEVER: u32 = u32::MAX;

impl Put for Vec<u8> {
    fn i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.push(0),
            Some(bytes) => {
                self.push(1);
                self.extend_from_slice(bytes);
            }
        }
    }

    fn optional_i64(&mut self, value: Option<i64>) {
        self.optional(value.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn text(&mut self, text: Option<&[u8]>) {
        let length = text.map_or(NEVER, |text| u32::try_from(text.len()).unwrap_or(NEVER));
        self.extend_from_slice(&length.to_be_bytes());
        self.extend_from_slice(text.unwrap_or_default());
    }

    fn optional_text(&mut self, text: Option<&[u8]>) {
        match text {
            None => self.push(0),
            Some(_) => {
                self.push(1);
                self.text(text);
            }
        }
    }
}
