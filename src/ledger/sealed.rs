//! The other leaves of the tree: a batch itself, before those of its events, and an act.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    encode::{FORMAT, Kind, Writing as _, microseconds},
    hash::{Hash, leaf_hash},
};

/// The leaf hash of a batch: its header's hash, and what only the database knows of it.
pub fn batch_hash(header: &Hash, committed_at: OffsetDateTime, position: i64) -> Hash {
    let mut data = begun(Kind::Batch);
    data.extend_from_slice(header);
    data.i64(microseconds(committed_at));
    data.i64(position);
    leaf_hash(&data)
}

/// A row of `audit.acts`: what was done to the history on purpose.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// Its id.
    pub id: Uuid,
    /// When it was done, by the clock of whoever did it.
    pub at: OffsetDateTime,
    /// What was done, in a word.
    pub kind: &'a str,
    /// What exactly, as JSON, byte for byte as it is stored.
    pub details: &'a str,
}

impl Act<'_> {
    /// What is hashed, and signed.
    pub fn data(&self) -> Vec<u8> {
        let mut data = begun(Kind::Act);
        data.extend_from_slice(self.id.as_bytes());
        data.i64(microseconds(self.at));
        data.text(self.kind);
        data.text(self.details);
        data
    }

    /// Its leaf hash.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.data())
    }
}

fn begun(kind: Kind) -> Vec<u8> {
    let mut data = Vec::with_capacity(128);
    data.extend_from_slice(FORMAT);
    data.push(kind as u8);
    data
}
