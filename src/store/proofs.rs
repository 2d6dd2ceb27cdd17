//! What a proof is made from: an event with its leaf, and the hashes beside it in the tree. Reading only.

use std::{collections::HashMap, time::Duration};

use time::OffsetDateTime;

use super::{
    Fault, Settings,
    hashes::hashes,
    link::{Link, answered},
    recorded::{Missing, Place, Recorded},
};
use crate::ledger::{Commitments, EventRow, Hash, Salt, Subtree};

/// A connection for proving.
#[derive(Debug)]
pub struct Prover {
    link: Link,
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
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings, timeout: Duration) -> Result<Prover, Fault> {
        let connection = settings.connect_to_read(timeout).await?;
        Ok(Prover { link: Link { connection, patience: timeout, copies: false } })
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
