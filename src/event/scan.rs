//! One pass over a JSON text: is it JSON, what stands at a few places in it, and what would SQL trip over.
//!
//! It accepts exactly what RFC 8259 does, in UTF-8 and without a byte order mark, at any depth: an open
//! container costs one bit and no stack. It builds no tree; what it finds is borrowed from the text. Every
//! step takes the next byte or compares a key with the few steps that are looked for, so its time is linear
//! in the length of the text, whatever the text is.
//!
//! Of members with one key the last one counts, at every level, as it does for Postgres' `json ->` (not for
//! `#>`, which falls back to earlier ones for what the last lacks).

mod lexer;
mod nesting;
mod paths;
#[cfg(test)]
mod tests;
mod text;

use lexer::Lexer;
use nesting::{Container, Nesting};

pub(super) use paths::Paths;
pub(super) use text::Text;

/// A text that is JSON.
#[derive(Debug)]
pub(super) struct Document<'a> {
    /// What the whole text is.
    pub root: Value<'a>,
    /// A string or key holds `\u0000`.
    pub nul_escape: bool,
    /// A string or key holds half a surrogate pair.
    pub lone_surrogate: bool,
    /// Containers around the innermost value; 0 for a lone scalar.
    pub max_depth: usize,
    /// What stands at each path, by the slot that [`Paths::new`] gave it.
    found: Vec<Option<Value<'a>>>,
}

impl<'a> Document<'a> {
    /// What stands at a path.
    pub fn at(&self, slot: usize) -> Option<&Value<'a>> {
        self.found.get(slot)?.as_ref()
    }
}

/// A JSON value, where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool,
    /// The number as written.
    Number(&'a str),
    String(Text<'a>),
    /// The array as written, brackets included.
    Array(&'a str),
    /// The object as written, braces included.
    Object(&'a str),
}

/// A text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotJson {
    /// Not UTF-8 from this byte on.
    Utf8 { offset: usize },
    /// Not JSON from this byte on.
    Syntax { offset: usize, what: &'static str },
}

/// Where the pass is among the containers.
struct Scan<'a, 'p> {
    lexer: Lexer<'a>,
    paths: &'p Paths,
    found: Vec<Option<Value<'a>>>,
    nesting: Nesting,
    /// The outermost containers, as far as paths lead into them: a prefix of those that are open.
    followed: Vec<Followed>,
}

/// An open container that paths lead into.
struct Followed {
    node: usize,
    start: usize,
    /// Number of the element being read, if it is an array.
    index: usize,
}

/// Reads a whole text.
pub(super) fn scan<'a>(input: &'a [u8], paths: &Paths) -> Result<Document<'a>, NotJson> {
    let text = std::str::from_utf8(input)
        .map_err(|error| NotJson::Utf8 { offset: error.valid_up_to() })?;
    let mut scan = Scan {
        lexer: Lexer::new(text),
        paths,
        found: vec![None; paths.len()],
        nesting: Nesting::default(),
        followed: Vec::new(),
    };
    let root = scan.values()?;
    scan.lexer.skip_space();
    if scan.lexer.peek().is_some() {
        return Err(scan.lexer.fault("something follows the value"));
    }
    Ok(Document {
        root,
        nul_escape: scan.lexer.nul_escape,
        lone_surrogate: scan.lexer.lone_surrogate,
        max_depth: scan.nesting.deepest(),
        found: scan.found,
    })
}

impl<'a> Scan<'a, '_> {
    /// Reads one value and all within it; each turn reads one value or opens one container.
    fn values(&mut self) -> Result<Value<'a>, NotJson> {
        let mut node = Some(Paths::ROOT);
        loop {
            self.lexer.skip_space();
            let opened = match self.lexer.peek() {
                Some(b'{') => Some(Container::Object),
                Some(b'[') => Some(Container::Array),
                _ => None,
            };
            let mut done = match opened {
                None => {
                    let value = self.lexer.scalar()?;
                    self.keep(node, value);
                    value
                }
                Some(container) => {
                    self.open(container, node);
                    self.lexer.skip_space();
                    if self.lexer.peek() != Some(container.end()) {
                        node = self.next_member(container)?;
                        continue;
                    }
                    self.close(container)
                }
            };
            // Closes what ends here, up to the container that goes on.
            loop {
                let Some(container) = self.nesting.innermost() else {
                    return Ok(done);
                };
                self.lexer.skip_space();
                match self.lexer.peek() {
                    Some(b',') => {
                        self.lexer.advance();
                        if let Some(array) = self.innermost_followed() {
                            array.index += 1;
                        }
                        node = self.next_member(container)?;
                        break;
                    }
                    Some(byte) if byte == container.end() => done = self.close(container),
                    _ => return Err(self.lexer.fault(container.expected())),
                }
            }
        }
    }

    fn open(&mut self, container: Container, node: Option<usize>) {
        if let Some(node) = node {
            self.followed.push(Followed { node, start: self.lexer.at(), index: 0 });
        }
        self.nesting.open(container);
        self.lexer.advance();
    }

    fn close(&mut self, container: Container) -> Value<'a> {
        self.lexer.advance();
        let followed = if self.innermost_followed().is_some() { self.followed.pop() } else { None };
        self.nesting.close();
        // The root is always followed, so the text of what is not is never asked for.
        let text = followed.as_ref().map_or("", |followed| self.lexer.since(followed.start));
        let value = match container {
            Container::Array => Value::Array(text),
            Container::Object => Value::Object(text),
        };
        self.keep(followed.map(|followed| followed.node), value);
        value
    }

    /// The innermost open container, if paths lead into it.
    fn innermost_followed(&mut self) -> Option<&mut Followed> {
        if self.followed.len() == self.nesting.depth() { self.followed.last_mut() } else { None }
    }

    /// Reads the key of an object's next member; says which paths lead to the value that comes.
    fn next_member(&mut self, container: Container) -> Result<Option<usize>, NotJson> {
        let paths = self.paths;
        let node = match container {
            Container::Array => {
                self.innermost_followed().and_then(|array| paths.element(array.node, array.index))
            }
            Container::Object => {
                self.lexer.skip_space();
                let key = self.lexer.key()?;
                self.lexer.skip_space();
                self.lexer.colon()?;
                self.innermost_followed().and_then(|object| paths.member(object.node, &key))
            }
        };
        if let Some(node) = node {
            // An earlier member of the same key counts no longer, nor does anything within it.
            if let Some(found) = self.found.get_mut(paths.slots(node)) {
                found.fill(None);
            }
        }
        Ok(node)
    }

    fn keep(&mut self, node: Option<usize>, value: Value<'a>) {
        if let Some(found) =
            node.and_then(|node| self.paths.slot(node)).and_then(|slot| self.found.get_mut(slot))
        {
            *found = Some(value);
        }
    }
}

/// The elements of a [`Value::Array`], in order. Those that are containers come without their text.
pub(super) fn elements<'a>(array: &'a str) -> impl Iterator<Item = Value<'a>> {
    let mut lexer = Lexer::new(array);
    lexer.advance();
    std::iter::from_fn(move || lexer.next_element())
}
