//! The words of JSON: strings, numbers, literals and the space between.

use super::{NotJson, Text, Value};

/// A place in a text, moving forward only.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// A string read so far holds `\u0000`.
    pub nul_escape: bool,
    /// A string read so far holds half a surrogate pair.
    pub lone_surrogate: bool,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0, nul_escape: false, lone_surrogate: false }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// The text from `start` to here.
    pub fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub fn fault(&self, what: &'static str) -> NotJson {
        NotJson::Syntax { offset: self.at, what }
    }

    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// A value that holds no others.
    pub fn scalar(&mut self) -> Result<Value<'a>, NotJson> {
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool),
            Some(b'f') => self.literal("false", Value::Bool),
            Some(b'n') => self.literal("null", Value::Null),
            Some(_) => Err(self.fault("no value begins like this")),
            None => Err(self.fault("a value should stand here")),
        }
    }

    pub fn key(&mut self) -> Result<Text<'a>, NotJson> {
        match self.peek() {
            Some(b'"') => self.string(),
            _ => Err(self.fault("a key should stand here")),
        }
    }

    pub fn colon(&mut self) -> Result<(), NotJson> {
        match self.peek() {
            Some(b':') => self.advance(),
            _ => return Err(self.fault("a colon should stand here")),
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, NotJson> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.fault("no value begins like this"))
        }
    }

    fn number(&mut self) -> Result<Value<'a>, NotJson> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.advance();
        }
        if self.peek() == Some(b'0') {
            self.advance();
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.advance();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.advance();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.advance();
            }
            self.digits()?;
        }
        Ok(Value::Number(self.since(start)))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("a digit should stand here")) } else { Ok(()) }
    }

    /// A string, from its opening quote on.
    fn string(&mut self) -> Result<Text<'a>, NotJson> {
        self.advance();
        let start = self.at;
        let (mut escaped, mut sound) = (false, true);
        loop {
            self.at += plain(self.rest());
            match self.peek() {
                Some(b'"') => {
                    let text = Text::new(self.since(start), escaped, sound);
                    self.advance();
                    return Ok(text);
                }
                Some(b'\\') => {
                    escaped = true;
                    sound &= self.escape()?;
                }
                Some(_) => {
                    return Err(
                        self.fault("a control character in a string is written as an escape")
                    );
                }
                None => return Err(self.fault("the string does not end")),
            }
        }
    }

    /// An escape, from its backslash on; false if it is U+0000 or half a surrogate pair.
    fn escape(&mut self) -> Result<bool, NotJson> {
        self.advance();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.advance();
                return Ok(true);
            }
            Some(b'u') => self.advance(),
            _ => return Err(self.fault("no escape begins like this")),
        }
        match self.unit()? {
            0 => {
                self.nul_escape = true;
                Ok(false)
            }
            0xD800..0xDC00 => {
                let before = self.at;
                let paired = self.rest().starts_with(b"\\u") && {
                    self.at += 2;
                    (0xDC00..0xE000).contains(&self.unit()?)
                };
                if !paired {
                    // What follows is a character of its own.
                    self.at = before;
                    self.lone_surrogate = true;
                }
                Ok(paired)
            }
            0xDC00..0xE000 => {
                self.lone_surrogate = true;
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u32, NotJson> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.fault("a hexadecimal digit should stand here"));
            };
            unit = unit * 16 + digit;
            self.advance();
        }
        Ok(unit)
    }

    /// The next element of an array known to be well-formed, from after its bracket or the last element on.
    pub fn next_element(&mut self) -> Option<Value<'a>> {
        let mut depth = 0_usize;
        let mut container = None;
        loop {
            match self.peek()? {
                b'[' | b'{' => {
                    let kind = if self.peek() == Some(b'[') {
                        Value::Array("")
                    } else {
                        Value::Object("")
                    };
                    container = container.or(Some(kind));
                    depth += 1;
                    self.advance();
                }
                b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    self.advance();
                    if depth == 0 {
                        return container;
                    }
                }
                b' ' | b'\n' | b'\r' | b'\t' | b',' | b':' => self.advance(),
                _ => {
                    let value = self.scalar().ok()?;
                    if depth == 0 {
                        return Some(value);
                    }
                }
            }
        }
    }
}

/// How many bytes from the start on are neither a quote, a backslash nor a control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    /// The high bit of each byte that is zero, exact up to the first.
    fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & HIGHS
    }

    let mut at = 0;
    for chunk in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = control
            | zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest =
        bytes[at..].iter().take_while(|byte| **byte >= b' ' && **byte != b'"' && **byte != b'\\');
    at + rest.count()
}
