//! What a proof is made from: an event with its leaf, and the hashes beside it in the tree. Reading only.

use std::{collections::HashMap, time::Duration};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Access, Fault, ReadError, Reader, Settings, access,
    hashes::hashes,
    link::{Link, SLACK, answered},
    read::of_reading,
    recorded::{Missing, Place, Recorded},
};
use crate::ledger::{Commitments, EventRow, Hash, Salt, Subtree};

/// A connection for proving, and for noting that it is done.
#[derive(Debug)]
pub struct Prover {
    link: Link,
    timeout: Duration,
}

/// A stored event that has a leaf.
#[derive(Debug)]
pub struct Exhibit {
    recorded: Recorded,
    place: Place,
    missing: Option<Missing>,
}

/// Where an event's leaf is in which tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// The tree.
    pub epoch: i32,
    /// Its leaf there, counted from 0.
    pub index: u64,
}

impl Exhibit {
    /// Its columns.
    ///
    /// # Errors
    /// The server sent something else than those columns.
    pub fn columns(&self) -> Result<EventRow<'_>, Fault> {
        Ok(self.recorded.columns()?)
    }

    /// What is left of its salt: of an event whose body was erased, that of its metadata.
    pub fn salt(&self) -> Salt {
        self.place.salt
    }

    /// Its leaf.
    pub fn leaf(&self) -> Hash {
        self.place.leaf
    }

    /// Whether its body was erased, and whether all beside it was.
    pub fn erased(&self) -> (bool, bool) {
        let missing = self.missing.unwrap_or_default();
        (self.missing.is_some(), missing.metadata.is_some())
    }

    /// The commitments that its leaf holds, as far as its columns are what was recorded.
    ///
    /// # Errors
    /// The server sent something else than those columns.
    pub fn commitments(&self) -> Result<Commitments, Fault> {
        Ok(self.missing.unwrap_or_default().commitments(&self.columns()?, &self.place.salt))
    }
}

impl Prover {
    /// Connects to a server that takes writes, and sees to it that the schema is the one that is known here. A statement may
    /// take that long.
    ///
    /// # Errors
    /// The database is away, refuses, or has another schema.
    pub async fn open(settings: &Settings, timeout: Duration) -> Result<Prover, ReadError> {
        let connection = Reader::knowing(settings.connect(timeout).await?, timeout).await?;
        let patience = timeout.saturating_add(SLACK);
        Ok(Prover { link: Link { connection, patience, copies: false }, timeout })
    }

    /// Notes on this very connection who is about to take an event out; when this returns, the row is committed. It is given to
    /// [`Prover::handed_out`] at the end.
    ///
    /// # Errors
    /// The database is away, is a standby, or the role may not: then nothing is to be handed out.
    pub async fn note(&mut self, access: &Access) -> Result<i64, Fault> {
        access::begin(&mut self.link, access).await
    }

    /// Notes that all was handed out, and how many events that were, and ends the connection.
    ///
    /// # Errors
    /// The database is away, or refuses.
    pub async fn handed_out(mut self, noted: i64, events: u64) -> Result<(), Fault> {
        access::end(&mut self.link, noted, events).await?;
        self.link.close().await;
        Ok(())
    }

    /// The events of this id, a uuid in any spelling or not: their numbers, and when they were received; the first one first.
    ///
    /// # Errors
    /// A [`ReadError`].
    pub async fn named(&mut self, id: &str) -> Result<Vec<(i64, OffsetDateTime)>, ReadError> {
        let by_key = "select e.seq, e.received_at from audit.events e where e.event_key = $1 order by e.received_at, e.seq";
        let by_uuid = "select e.seq, e.received_at from audit.events e where e.event_id = $1 order by e.received_at, e.seq";
        let query = match Uuid::try_parse(id) {
            Ok(id) => sqlx::query_as(by_uuid).bind(id),
            Err(_) => sqlx::query_as(by_key).bind(id),
        };
        let Link { connection, patience, .. } = &mut self.link;
        // One that is found in years of partitions seems worth compiling.
        let found = async {
            sqlx::raw_sql("set jit = off").execute(&mut *connection).await?;
            query.fetch_all(connection).await
        };
        answered(*patience, found).await.map_err(|error| of_reading(error, self.timeout))
    }

    /// The newest checkpoint of a tree.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn newest_checkpoint(&mut self, epoch: i32) -> Result<Option<String>, Fault> {
        let query = sqlx::query_scalar(
            "select c.note from audit.checkpoints c where c.epoch = $1 order by c.tree_size desc limit 1",
        )
        .bind(epoch);
        let Link { connection, patience, .. } = &mut self.link;
        Ok(answered(*patience, query.fetch_optional(connection)).await?)
    }

    /// The event that has this number and was received then; nothing where it is not there, or has no leaf.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn exhibit(
        &mut self,
        seq: i64,
        received_at: OffsetDateTime,
    ) -> Result<Option<Exhibit>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        let exhibit = async {
            let recorded = Recorded::find(connection, seq, received_at).await?;
            let place = Place::find(connection, seq, received_at).await?;
            let missing = Missing::find(connection, seq, received_at).await?;
            Ok(recorded.zip(place).map(|(recorded, place)| Exhibit { recorded, place, missing }))
        };
        Ok(answered(*patience, exhibit).await?)
    }

    /// Where its leaf is; nothing where its batch is not sealed yet.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn locate(&mut self, exhibit: &Exhibit) -> Result<Option<Evidence>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        let query = sqlx::query_as(
            "select s.epoch,
                    s.tree_from
                    + (select count(*) from audit.acts a where a.position >= s.position_from and a.position <= $1)
                    + (select coalesce(sum(1 + coalesce(octet_length(b.leaves), 0) / 32), 0) from audit.batches b
                        where b.position >= s.position_from and b.position < $1)
               from audit.seals s where s.position_to > $1 and s.position_from <= $1 order by s.position_to, s.epoch desc limit 1",
        )
        .bind(exhibit.place.position);
        let found: Option<(i32, i64)> =
            answered(*patience, query.fetch_optional(connection)).await?;
        // Behind the batch's own leaf.
        let index = |begin: i64| (begin + 1 + exhibit.place.index).unsigned_abs();
        Ok(found.map(|(epoch, begin)| Evidence { epoch, index: index(begin) }))
    }

    /// The hashes of these complete subtrees of a tree, as far as they are stored.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn hashes(
        &mut self,
        epoch: i32,
        subtrees: impl Iterator<Item = Subtree>,
    ) -> Result<HashMap<Subtree, Hash>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        hashes(connection, *patience, epoch, subtrees).await
    }
}
