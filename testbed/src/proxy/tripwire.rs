//! A condition that cuts a connection.

use super::Direction;

/// What is cut when bytes are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The connection on which they pass.
    ThatOne,
    /// All that are live.
    All,
}

/// Comes true on one connection: once, or again and again.
#[derive(Debug)]
pub(super) struct Tripwire {
    direction: Direction,
    condition: Condition,
    pub(super) cut: Cut,
    pub(super) again: bool,
}

#[derive(Debug)]
enum Condition {
    /// That many bytes are left to pass.
    Bytes(u64),
    Seen(Vec<u8>),
}

impl Tripwire {
    pub(super) fn after(direction: Direction, bytes: u64) -> Self {
        Self::once(direction, Condition::Bytes(bytes))
    }

    pub(super) fn seen(direction: Direction, bytes: Vec<u8>) -> Self {
        Self::once(direction, Condition::Seen(bytes))
    }

    /// The same, again and again.
    pub(super) fn again(self, cut: Cut) -> Self {
        Self { cut, again: true, ..self }
    }

    fn once(direction: Direction, condition: Condition) -> Self {
        Self { direction, condition, cut: Cut::ThatOne, again: false }
    }

    /// How much of `chunk` is still to be handed on before the cut, if it trips the wire. `before` is what
    /// passed just before it on the same connection.
    pub(super) fn trips(
        &mut self,
        direction: Direction,
        before: &[u8],
        chunk: &[u8],
    ) -> Option<usize> {
        if direction != self.direction {
            return None;
        }
        match &mut self.condition {
            Condition::Bytes(left) => match usize::try_from(*left) {
                Ok(pass) if pass <= chunk.len() => Some(pass),
                _ => {
                    *left = left.saturating_sub(chunk.len() as u64);
                    None
                }
            },
            Condition::Seen(bytes) => {
                // All but the last byte may lie in what passed before.
                let overlap = before.len().min(bytes.len().saturating_sub(1));
                let text = [&before[before.len() - overlap..], chunk].concat();
                text.windows(bytes.len().max(1))
                    .any(|window| window == bytes.as_slice())
                    .then_some(chunk.len())
            }
        }
    }
}
