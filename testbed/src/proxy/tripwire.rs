//! A condition that cuts a connection.

use super::Direction;

/// Comes true once, on one connection.
#[derive(Debug)]
pub(super) struct Tripwire {
    direction: Direction,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    /// That many bytes are left to pass.
    Bytes(u64),
    Seen(Vec<u8>),
}

impl Tripwire {
    pub(super) fn after(direction: Direction, bytes: u64) -> Self {
        Self { direction, condition: Condition::Bytes(bytes) }
    }

    pub(super) fn seen(direction: Direction, bytes: Vec<u8>) -> Self {
        Self { direction, condition: Condition::Seen(bytes) }
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
