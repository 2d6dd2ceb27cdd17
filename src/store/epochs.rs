//! Epochs: whether the database still has the tree that a checkpoint outside speaks of, and how another one is begun.

use std::fmt;

use serde::Serialize;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use super::{
    ExportLog, Fault, Ledger, SealLog, Settings,
    acts::{Act, wants_key},
    link::{Link, answered},
};
use crate::ledger::Checkpoint;

/// What the database has lost of the ledger, by a checkpoint that is kept outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The tree itself.
    Epoch {
        /// The checkpoint's.
        epoch: u64,
        /// The database's last one.
        has: i32,
    },
    /// Leaves of the tree.
    Leaves {
        /// Which tree.
        epoch: u64,
        /// As many as the checkpoint speaks of.
        size: u64,
        /// As many as the database has.
        has: i64,
    },
    /// What the leaves were: with others the tree has another root at that size, or was never sealed there.
    Root {
        /// Which tree.
        epoch: u64,
        /// As many as the checkpoint speaks of.
        size: u64,
    },
    /// What the leaves were: the tree that the database has does not begin with those.
    Past {
        /// Which tree.
        epoch: u64,
        /// As many as were seen.
        size: u64,
    },
    /// The tree itself, by another one that was begun without a word that counts.
    Unbegun {
        /// Which tree.
        epoch: u64,
        /// The database's last one.
        has: i32,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Epoch { epoch, has } => {
                write!(
                    f,
                    "a checkpoint of epoch {epoch}, where the database has no later one than {has}"
                )
            }
            Lost::Leaves { epoch, size, has } => write!(
                f,
                "a checkpoint of {size} leaves in epoch {epoch}, of which the database has {has}"
            ),
            Lost::Root { epoch, size } => write!(
                f,
                "a checkpoint of {size} leaves in epoch {epoch}, which were others than those that the database has"
            ),
            Lost::Past { epoch, size } => write!(
                f,
                "a checkpoint of {size} leaves in epoch {epoch}, and the tree that the database has does not begin with those"
            ),
            Lost::Unbegun { epoch, has } => write!(
                f,
                "a checkpoint of epoch {epoch}, where the database has epoch {has}, and this key has signed no act that begins it"
            ),
        }
    }
}

impl SealLog {
    /// What the database has lost of what these checkpoints speak of, if anything.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn lost(&mut self, outside: &[Checkpoint]) -> Result<Option<Lost>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        Ok(answered(*patience, lost(connection, outside)).await?)
    }
}

impl ExportLog {
    /// The same.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn lost(&mut self, outside: &[Checkpoint]) -> Result<Option<Lost>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        Ok(answered(*patience, lost(connection, outside)).await?)
    }
}

async fn lost(
    connection: &mut PgConnection,
    outside: &[Checkpoint],
) -> Result<Option<Lost>, sqlx::Error> {
    for checkpoint in outside {
        // What is none of ours says nothing of it.
        let Ok(epoch) = checkpoint.epoch() else { continue };
        let size = checkpoint.size();
        let (has_epoch, has, root): (i32, i64, Option<Vec<u8>>) = sqlx::query_as(
            "select (select max(e.epoch) from audit.epochs e),
                    coalesce((select max(s.tree_size) from audit.seals s where s.epoch = $1), 0),
                    (select s.root from audit.seals s where s.epoch = $1 and s.tree_size = $2)",
        )
        .bind(i32::try_from(epoch).unwrap_or(i32::MAX))
        .bind(i64::try_from(size).unwrap_or(i64::MAX))
        .fetch_one(&mut *connection)
        .await?;
        if epoch > u64::from(has_epoch.unsigned_abs()) {
            return Ok(Some(Lost::Epoch { epoch, has: has_epoch }));
        }
        // What an earlier tree has lost is on record since the later one was begun.
        if epoch < u64::from(has_epoch.unsigned_abs()) {
            continue;
        }
        if size > has.unsigned_abs() {
            return Ok(Some(Lost::Leaves { epoch, size, has }));
        }
        if root.as_deref() != Some(checkpoint.root().as_slice()) {
            return Ok(Some(Lost::Root { epoch, size }));
        }
    }
    Ok(None)
}

/// Why another epoch is begun.
#[derive(Debug, Clone, Default)]
pub struct NewEpoch {
    /// Who begins it.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// The last signed note that is kept outside.
    pub outside: Option<String>,
    /// The epoch of that note.
    pub outside_epoch: u64,
}

/// A new epoch, as the ledger has it.
#[derive(Debug, Serialize)]
struct Details<'a> {
    epoch: i32,
    by: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inside: Option<&'a str>,
}

/// A connection to begin an epoch on.
#[derive(Debug)]
pub struct EpochLog {
    link: Link,
    ledger: Ledger,
}

impl EpochLog {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<EpochLog, Fault> {
        let link = Link::open(settings, settings.statement_timeout).await?;
        Ok(EpochLog { link, ledger: settings.ledger.clone().unwrap_or_default() })
    }

    /// What the database has lost of what these checkpoints speak of, if anything.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn lost(&mut self, outside: &[Checkpoint]) -> Result<Option<Lost>, Fault> {
        let Link { connection, patience, .. } = &mut self.link;
        Ok(answered(*patience, lost(connection, outside)).await?)
    }

    /// Whether what is done here could not be signed, and has to be: a key is on record, and there is none here.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn wants_key(&mut self) -> Result<bool, Fault> {
        let EpochLog { link: Link { connection, patience, .. }, ledger } = self;
        Ok(answered(*patience, wants_key(connection, ledger)).await?)
    }

    /// Begins one, whose tree has all that is not sealed, and puts on record that and why it was begun. Gives its number.
    ///
    /// # Errors
    /// A [`Fault`]; none was begun, or it is unknown whether it was.
    pub async fn begin(&mut self, new: &NewEpoch) -> Result<i32, Fault> {
        let EpochLog { link: Link { connection, patience, .. }, ledger } = self;
        let mut transaction = answered(*patience, connection.begin()).await?;
        let (epoch, inside) = answered(*patience, insert(&mut transaction, new)).await?;
        let details = Details {
            epoch,
            by: &new.by,
            reason: &new.reason,
            outside: new.outside.as_deref(),
            inside: inside.as_deref(),
        };
        let act = Act::new(ledger, "epoch", &details)?;
        let record = sqlx::query("select audit.act($1, $2, 'epoch', $3::json, $4, $5)");
        answered(*patience, act.bind(record).execute(&mut *transaction)).await?;
        answered(*patience, transaction.commit()).await?;
        Ok(epoch)
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

/// The number of the new epoch, and the last checkpoint of those before it.
async fn insert(
    transaction: &mut Transaction<'_, Postgres>,
    new: &NewEpoch,
) -> Result<(i32, Option<String>), sqlx::Error> {
    // Nobody seals meanwhile, so that what is sealed stays what it is.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('audit.seal', 0))")
        .execute(&mut **transaction)
        .await?;
    let inside: Option<(String,)> = sqlx::query_as(
        "select c.note from audit.checkpoints c order by c.epoch desc, c.tree_size desc limit 1",
    )
    .fetch_optional(&mut **transaction)
    .await?;
    // Later than any that a checkpoint outside knows, also where the database has forgotten it.
    let (epoch,): (i32,) = sqlx::query_as(
        "insert into audit.epochs (epoch, position_from)
         select greatest(e.epoch, $1) + 1, coalesce(s.position_to, e.position_from)
           from (select * from audit.epochs e order by e.epoch desc limit 1) e
           left join lateral (select * from audit.seals s where s.epoch = e.epoch order by s.number desc limit 1) s on true
         returning epoch",
    )
    .bind(i32::try_from(new.outside_epoch).unwrap_or(i32::MAX - 1))
    .fetch_one(&mut **transaction)
    .await?;
    Ok((epoch, inside.map(|(note,)| note)))
}
