//! Signing: a checkpoint of each seal, and the act that puts the key on record.

use serde::Serialize;
use sqlx::{Row as _, postgres::PgRow};

use super::{
    Fault, Lost, Seal, SealLog,
    acts::Act,
    extension::{Seen, parted},
    link::{Link, answered},
    seals::signed,
};
use crate::ledger::{Checkpoint, CheckpointError};

/// A key, as the ledger has it.
#[derive(Debug, Serialize)]
struct KeyDetails {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endorsement: Option<String>,
}

impl SealLog {
    /// The last seal of the tree that is added to, where this key has signed no checkpoint of it: whoever made it was killed before,
    /// or has another key. What is handed out is this key's word alone, so without one it would speak of no such seal until this
    /// daemon comes to make a later one.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn unsigned(&mut self) -> Result<Option<Seal>, Fault> {
        let Some(key) = &self.ledger.key else { return Ok(None) };
        let Link { connection, patience, .. } = &mut self.link;
        let query = sqlx::query(
            "select s.epoch, s.number, s.tree_size, s.root, s.acts, s.batches
               from (select * from audit.seals s where s.epoch = (select max(e.epoch) from audit.epochs e)
                      order by s.number desc limit 1) s
              where not exists (select from audit.checkpoints c
                                 where c.epoch = s.epoch and c.tree_size = s.tree_size and c.key_id = $1)",
        )
        .bind(i64::from(key.signer().verifier().id()));
        let row = answered(*patience, query.fetch_optional(connection)).await?;
        let seal = |row: PgRow| {
            Ok(Seal {
                epoch: row.try_get("epoch")?,
                number: row.try_get("number")?,
                size: row.try_get::<i64, _>("tree_size")?.unsigned_abs(),
                root: row.try_get("root")?,
                acts: row.try_get("acts")?,
                batches: row.try_get("batches")?,
                more: false,
            })
        };
        row.map(seal).transpose().map_err(|error: sqlx::Error| error.into())
    }

    /// Signs a checkpoint of that seal, and keeps it; nothing is signed without a key, nor where its tree does not go on from what
    /// was seen of it: then it tells what is lost.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn sign(&mut self, seal: &Seal) -> Result<Option<Lost>, Fault> {
        let Some(key) = &self.ledger.key else { return Ok(None) };
        let tree = Seen::sealed(seal);
        if let Some(seen) = self.seen.filter(|seen| *seen != tree) {
            let Link { connection, patience, .. } = &mut self.link;
            if let Some(lost) = parted(connection, *patience, &self.ledger, seen, tree).await? {
                return Ok(Some(lost));
            }
        }
        self.seen = Some(tree);
        let signer = key.signer();
        let origin = self.ledger.origin().unwrap_or_default();
        let unsignable = |error: CheckpointError| {
            Fault::misconfigured(format!("a checkpoint cannot be signed: {error}"))
        };
        let checkpoint = Checkpoint::new(origin, seal.size, seal.root)
            .and_then(|checkpoint| checkpoint.with_epoch(u64::from(seal.epoch.unsigned_abs())))
            .map_err(unsignable)?;
        let note = checkpoint.signed(signer).map_err(|error| unsignable(error.into()))?;
        let Link { connection, patience, .. } = &mut self.link;
        let keep = sqlx::query("select audit.sign_checkpoint($1, $2, $3, $4)")
            .bind(seal.epoch)
            .bind(signed(seal.size))
            .bind(i64::from(signer.verifier().id()))
            .bind(note.to_string());
        answered(*patience, keep.execute(connection)).await?;
        Ok(None)
    }

    /// Puts the key on record that signs from now on, unless it is.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn introduce_key(&mut self) -> Result<(), Fault> {
        let Some(key) = &self.ledger.key else { return Ok(()) };
        let details = KeyDetails {
            key: key.signer().verifier().to_string(),
            endorsement: key.endorsement().map(ToString::to_string),
        };
        let act = Act::new(&self.ledger, "key", &details)?;
        let Link { connection, patience, .. } = &mut self.link;
        let introduce = sqlx::query("select audit.introduce_key($1, $2, $3::json, $4, $5)");
        answered(*patience, act.bind(introduce).execute(connection)).await?;
        Ok(())
    }
}
