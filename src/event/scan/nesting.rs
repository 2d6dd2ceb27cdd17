//! Which containers are open, at one bit each.

/// A JSON value that holds others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Object,
}

impl Container {
    pub fn end(self) -> u8 {
        match self {
            Container::Array => b']',
            Container::Object => b'}',
        }
    }

    /// What is wrong where neither its end nor another element stands.
    pub fn expected(self) -> &'static str {
        match self {
            Container::Array => "a comma or ] should stand here",
            Container::Object => "a comma or } should stand here",
        }
    }
}

/// A stack of containers: 16 MiB of `[` take 2 MiB. The innermost 64 or fewer need no memory beside it.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    outer: Vec<u64>,
    inner: u64,
    depth: usize,
    deepest: usize,
}

impl Nesting {
    pub fn open(&mut self, container: Container) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.inner);
        }
        self.inner = (self.inner << 1) | u64::from(container == Container::Object);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }

    pub fn close(&mut self) {
        self.inner >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.inner = self.outer.pop().unwrap_or_default();
        }
    }

    pub fn innermost(&self) -> Option<Container> {
        match (self.depth, self.inner & 1) {
            (0, _) => None,
            (_, 0) => Some(Container::Array),
            (_, _) => Some(Container::Object),
        }
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn deepest(&self) -> usize {
        self.deepest
    }
}
