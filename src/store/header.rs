//! A batch's header as a row of `audit.batches`.

use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use time::OffsetDateTime;

use super::{Commit, Ledger, append::Target, batch::HeaderKey, rows::Rows};
use crate::ledger::{self, Hash, Leaves, Salt, header_hash};

/// Inserts a header; the values of its columns but for the first follow, as [`Header::bind`] binds them.
///
/// Where it stands is `audit.position()`, written out: calling that took a tenth of the statement of a batch of one event.
///
/// A macro, so that the statement can be a part of a longer one and still be one constant text.
macro_rules! insert_header {
    () => {
        "insert into audit.batches (position, lane, number, first_seq, events, conflicts, duplicates, rejections, replays,
             body_bytes, received_from, received_to, previous, leaves, salts, signature, key_id)
         values ((select pg_current_xact_id()::text::bigint + o.\"offset\" from audit.origin o), "
    };
}
pub(super) use insert_header;

/// What a transaction commits, in numbers, and what the ledger adds to it.
pub(super) struct Header {
    key: HeaderKey,
    first_seq: Option<i64>,
    pub commit: Commit,
    body_bytes: i64,
    received_from: Option<OffsetDateTime>,
    received_to: Option<OffsetDateTime>,
    /// None where the ledger is off.
    entry: Option<Entry>,
}

/// What the ledger adds: the events' leaves, and the header's place in its lane's chain.
struct Entry {
    hash: Hash,
    leaves: Vec<u8>,
    salts: Vec<u8>,
    signature: Option<Vec<u8>>,
    key_id: Option<i64>,
}

impl Header {
    /// The header of a batch that stores these rows.
    pub fn new(target: Target<'_>, commit: Commit, rows: &Rows<'_>) -> Header {
        let Target { ledger, key, first_seq } = target;
        let (received_from, received_to) = rows.received();
        let mut header = Header {
            key,
            first_seq: (rows.len() > 0).then_some(first_seq),
            commit,
            body_bytes: rows.body_bytes(),
            received_from,
            received_to,
            entry: None,
        };
        header.entry = ledger.map(|ledger| header.entry(ledger, first_seq, rows));
        header
    }

    /// What the next header of the lane names; nothing where the ledger is off.
    pub fn hash(&self) -> Option<Hash> {
        self.entry.as_ref().map(|entry| entry.hash)
    }

    fn entry(&self, ledger: &Ledger, first_seq: i64, rows: &Rows<'_>) -> Entry {
        let mut salts = vec![0; rows.len() * size_of::<Salt>()];
        rand::rng().fill_bytes(&mut salts);
        let mut leaves = Vec::with_capacity(rows.len() * size_of::<Hash>());
        let mut leaf = Leaves::default();
        let (each, _) = salts.as_chunks::<16>();
        for ((seq, row), salt) in (first_seq..).zip(rows.iter()).zip(each) {
            leaves.extend_from_slice(&leaf.hash(seq, &row, salt));
        }
        let data = ledger::Header {
            lane: self.key.lane,
            number: self.key.number,
            previous: self.key.previous,
            first_seq: self.first_seq,
            events: count(self.commit.events),
            conflicts: count(self.commit.conflicts),
            duplicates: count(self.commit.duplicates),
            rejections: count(self.commit.rejections),
            replays: count(self.commit.replays),
            body_bytes: self.body_bytes,
            received_from: self.received_from,
            received_to: self.received_to,
            leaves: Sha256::digest(&leaves).into(),
        }
        .data();
        let (signature, key_id) = ledger.sign(&data);
        Entry { hash: header_hash(&data), leaves, salts, signature, key_id }
    }

    /// Binds the columns of [`insert_header!`], in their order.
    pub fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        let entry = self.entry.as_ref();
        query
            .bind(self.key.lane)
            .bind(self.key.number)
            .bind(self.first_seq)
            .bind(count(self.commit.events))
            .bind(count(self.commit.conflicts))
            .bind(count(self.commit.duplicates))
            .bind(count(self.commit.rejections))
            .bind(count(self.commit.replays))
            .bind(self.body_bytes)
            .bind(self.received_from)
            .bind(self.received_to)
            .bind(entry.map(|_| self.key.previous))
            .bind(entry.map(|entry| entry.leaves.as_slice()))
            .bind(entry.map(|entry| entry.salts.as_slice()))
            .bind(entry.and_then(|entry| entry.signature.as_deref()))
            .bind(entry.and_then(|entry| entry.key_id))
    }
}

fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}
