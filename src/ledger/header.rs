//! A lane's headers: each batch's counts and leaves under one hash, which the next one of the lane names.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    encode::{FORMAT, Kind, Writing as _, microseconds},
    hash::{Hash, leaf_hash},
};

/// The hash that the first header of a lane names.
pub const BEGIN: Hash = [0; 32];

/// A row of `audit.batches`, as its writer knows it before the database adds when and where in the order.
#[derive(Debug, Clone)]
pub struct Header {
    /// The lane: one writer's connection.
    pub lane: Uuid,
    /// Its place in the lane, from 1 on.
    pub number: i64,
    /// The hash of the header before it; [`BEGIN`] where there is none.
    pub previous: Hash,
    /// `seq` of its first event; none without events.
    pub first_seq: Option<i64>,
    /// Events stored, conflicts included.
    pub events: i32,
    /// How many of them are conflicts.
    pub conflicts: i32,
    /// Deliveries of events that were stored already.
    pub duplicates: i32,
    /// Rejections recorded.
    pub rejections: i32,
    /// Replays recorded.
    pub replays: i32,
    /// Bytes of the bodies.
    pub body_bytes: i64,
    /// When its first event was received; none without events.
    pub received_from: Option<OffsetDateTime>,
    /// When its last event was received; none without events.
    pub received_to: Option<OffsetDateTime>,
    /// SHA-256 of the leaf hashes of its events, in order of `seq`.
    pub leaves: Hash,
}

impl Header {
    /// What is hashed, and signed.
    pub fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(192);
        data.extend_from_slice(FORMAT);
        data.push(Kind::Header as u8);
        data.extend_from_slice(self.lane.as_bytes());
        data.i64(self.number);
        data.extend_from_slice(&self.previous);
        data.optional(self.first_seq, |data, seq| data.i64(seq));
        data.i32(self.events);
        data.i32(self.conflicts);
        data.i32(self.duplicates);
        data.i32(self.rejections);
        data.i32(self.replays);
        data.i64(self.body_bytes);
        data.optional(self.received_from, |data, at| data.i64(microseconds(at)));
        data.optional(self.received_to, |data, at| data.i64(microseconds(at)));
        data.extend_from_slice(&self.leaves);
        data
    }
}

/// The hash of a header's data: what the next one of the lane names, and the tree holds.
pub fn header_hash(data: &[u8]) -> Hash {
    leaf_hash(data)
}
