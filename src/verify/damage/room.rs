//! How much of what is damaged is kept, to be compared with each other.

use crate::verify::{finding::KEPT, row::Copied};

/// How many rows and events are compared with each other: each with each.
pub(super) const COMPARED: usize = 1_000;
/// Bytes of rows that are kept for it.
const KEPT_BYTES: usize = 8 << 20;
/// How many spans of missing events are remembered.
const REMEMBERED: usize = 100_000;

/// How much may still be kept, of one partition or of all of them.
#[derive(Debug)]
pub(in crate::verify) struct Room {
    rows: usize,
    bytes: usize,
    missing: usize,
    slots: usize,
    pub findings: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            rows: COMPARED,
            bytes: KEPT_BYTES,
            missing: REMEMBERED,
            slots: COMPARED,
            findings: KEPT,
        }
    }
}

impl Room {
    /// Whether there is room for a row of so many bytes, which is taken then.
    pub fn takes_row(&mut self, bytes: usize) -> bool {
        let room = self.rows > 0 && bytes < self.bytes;
        if room {
            (self.rows, self.bytes) = (self.rows - 1, self.bytes - bytes);
        }
        room
    }

    pub fn takes(&mut self, row: Option<&Copied>) -> bool {
        self.takes_row(row.map_or(0, Copied::size))
    }

    /// Of so many leaves, how many there is room for where there is any for what is missing.
    pub fn takes_missing(&mut self, slots: usize) -> Option<usize> {
        self.missing = self.missing.checked_sub(1)?;
        let taken = slots.min(self.slots);
        self.slots -= taken;
        Some(taken)
    }
}
