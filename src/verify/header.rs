//! A row of `audit.batches` and one of `audit.acts`: their leaves.

use sha2::{Digest as _, Sha256};

use super::encode::Put as _;
use crate::{
    ledger::{Hash, leaf_hash},
    store::{ActRow, BatchRow},
};

/// What the first header of a lane names as the one before it.
pub(super) const NONE_BEFORE: Hash = [0; 32];

/// What of a header is hashed, and signed.
pub(super) fn header_data(batch: &BatchRow) -> Vec<u8> {
    let mut data = Vec::with_capacity(160);
    data.extend_from_slice(b"rbal1\0\x02");
    data.extend_from_slice(batch.lane.as_bytes());
    data.i64(batch.number);
    data.extend_from_slice(batch.previous.as_deref().unwrap_or(&NONE_BEFORE));
    data.optional_i64(batch.first_seq);
    for count in [batch.events, batch.conflicts, batch.duplicates, batch.rejections, batch.replays]
    {
        data.i32(count);
    }
    data.i64(batch.body_bytes);
    data.optional_i64(batch.received_from);
    data.optional_i64(batch.received_to);
    data.extend_from_slice(&Sha256::digest(batch.leaves.as_deref().unwrap_or_default()));
    data
}

/// The hash of a header: what the next one of its lane names.
pub(super) fn header_hash(data: &[u8]) -> Hash {
    leaf_hash(data)
}

/// The leaf of a batch in the tree.
pub(super) fn batch_leaf(header: &Hash, committed_at: i64, position: i64) -> Hash {
    let mut data = Vec::with_capacity(55);
    data.extend_from_slice(b"rbal1\0\x03");
    data.extend_from_slice(header);
    data.i64(committed_at);
    data.i64(position);
    leaf_hash(&data)
}

/// What of an act is hashed, and signed.
pub(super) fn act_data(act: &ActRow) -> Vec<u8> {
    let mut data = Vec::with_capacity(128);
    data.extend_from_slice(b"rbal1\0\x04");
    data.extend_from_slice(act.id.as_bytes());
    data.i64(act.at);
    data.text(Some(act.kind.as_bytes()));
    data.text(Some(act.details.as_bytes()));
    data
}
