//! An event's leaf: what the tree holds of one row of `audit.events`.
//!
//! Every column is in it: `seq`, `received_at` and the flags as they are, all others in one of two commitments, each under a salt of
//! its own: content, and metadata. Who drops a salt and
//! the bytes leaves a leaf that proves that there was an event, and nothing of what it was. docs/ledger.md has the format.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    encode::{FORMAT, Kind, Writing as _, microseconds},
    hash::Hash,
};

/// The columns of one row, as `audit.events` names them; `seq` aside.
#[derive(Debug, Clone)]
pub struct EventRow<'a> {
    /// When the delivery was taken over.
    pub received_at: OffsetDateTime,
    /// When it happened, by its producer.
    pub event_time: Option<OffsetDateTime>,
    /// Its id where that is a uuid.
    pub event_id: Option<Uuid>,
    /// The broker said that it may have been handed out before.
    pub redelivered: bool,
    /// Another one of the same id has other content.
    pub conflict: bool,
    /// The body is not what the envelope expects.
    pub malformed: bool,
    /// Its id where that is no uuid.
    pub event_key: Option<&'a str>,
    /// Its type.
    pub event_type: Option<&'a str>,
    /// Who produced it.
    pub source: Option<&'a str>,
    /// The exchange it was published to.
    pub exchange: Cow<'a, str>,
    /// The routing key it was published with.
    pub routing_key: Cow<'a, str>,
    /// Ids of the events that led to it.
    pub correlation_ids: &'a [String],
    /// What was unusual about it, by name.
    pub defects: Option<Vec<&'a str>>,
    /// AMQP properties, as JSON.
    pub properties: &'a str,
    /// The body where it is JSON.
    pub payload: Option<&'a str>,
    /// The body where it is anything else.
    pub body: Option<&'a [u8]>,
    /// Of a conflict: SHA-256 of what makes it this event.
    pub conflict_digest: Option<[u8; 32]>,
}

/// The salt of an event's content, 16 random bytes. That of its metadata is made from it, and not the other way round.
pub type Salt = [u8; 16];

/// What a leaf holds of an event's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitments {
    /// That of the body.
    pub content: Hash,
    /// That of all columns beside it.
    pub metadata: Hash,
}

/// Makes leaf hashes; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct Leaves(Vec<u8>);

impl Leaves {
    /// The leaf hash of a row, numbered `seq`.
    pub fn hash(&mut self, seq: i64, row: &EventRow<'_>, salt: &Salt) -> Hash {
        let commitments = Commitments {
            content: self.content(row, salt),
            metadata: self.metadata(row, &metadata_salt(salt)),
        };
        self.hash_of(seq, row, &commitments)
    }

    /// The leaf hash of a row of which these are the commitments.
    pub fn hash_of(&mut self, seq: i64, row: &EventRow<'_>, commitments: &Commitments) -> Hash {
        let flags = [row.redelivered, row.conflict, row.malformed];
        let flags = flags.iter().rev().fold(0_u8, |bits, &flag| bits << 1 | u8::from(flag));
        let data = &mut self.0;
        data.clear();
        data.push(0);
        data.extend_from_slice(FORMAT);
        data.push(Kind::Event as u8);
        data.i64(seq);
        data.i64(microseconds(row.received_at));
        data.push(flags);
        data.extend_from_slice(&commitments.metadata);
        data.extend_from_slice(&commitments.content);
        Sha256::digest(&*data).into()
    }

    /// The commitment of a row's content, under its salt.
    pub fn content(&mut self, row: &EventRow<'_>, salt: &Salt) -> Hash {
        let (class, body) = match (row.payload, row.body) {
            (Some(payload), _) => (1, payload.as_bytes()),
            (None, body) => (2, body.unwrap_or_default()),
        };
        let data = &mut self.0;
        data.clear();
        data.extend_from_slice(b"rbal1 content\0");
        data.extend_from_slice(salt);
        data.optional(row.conflict_digest, |data, digest| data.extend_from_slice(&digest));
        data.push(class);
        let mut hash = Sha256::new_with_prefix(&*data);
        // Not copied first: it may be many megabytes.
        hash.update(body);
        hash.finalize().into()
    }

    /// The commitment of a row's metadata, under its salt.
    pub fn metadata(&mut self, row: &EventRow<'_>, salt: &Salt) -> Hash {
        let data = &mut self.0;
        data.clear();
        data.extend_from_slice(b"rbal1 metadata\0");
        data.extend_from_slice(salt);
        data.optional(row.event_time, |data, time| data.i64(microseconds(time)));
        data.optional(row.event_id, |data, id| data.extend_from_slice(id.as_bytes()));
        data.optional(row.event_key, |data, key| data.text(key));
        data.optional(row.event_type, |data, name| data.text(name));
        data.optional(row.source, |data, source| data.text(source));
        data.text(&row.exchange);
        data.text(&row.routing_key);
        data.list(row.correlation_ids);
        data.optional(row.defects.as_deref(), |data, defects| data.list(defects));
        data.text(row.properties);
        Sha256::digest(&*data).into()
    }
}

/// The salt of an event's metadata, from that of its content.
pub fn metadata_salt(content: &Salt) -> Salt {
    let hash = Sha256::new_with_prefix(b"rbal1 salt\0").chain_update(content).finalize();
    let mut salt = Salt::default();
    salt.copy_from_slice(&hash[..16]);
    salt
}
