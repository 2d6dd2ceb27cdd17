//! Whether the database's tree goes on from what was signed before: this key's word for one past is not to become its word for
//! another one.
//!
//! By consistency proofs: whoever made the hashes that they consist of, a proof that leads to both roots holds.

use sqlx::{PgConnection, Row as _};
use time::OffsetDateTime;

use super::{
    Fault, Ledger, Lost, Seal, SealLog,
    acts::wants_key,
    hashes::hashes,
    link::{Link, answered},
    seals::signed,
};
use crate::ledger::{
    Act, Checkpoint, Hash, VerifierKey, empty_root,
    proof::{Plan, check_consistency},
};

/// How many of the database's own checkpoints are looked at for one that the key has signed: there may be forged ones.
const TRIED: i64 = 100;

/// A tree as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which tree.
    pub epoch: i32,
    /// Its leaves.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Seen {
    fn of(checkpoint: &Checkpoint) -> Option<Seen> {
        let epoch = i32::try_from(checkpoint.epoch().ok()?).ok()?;
        Some(Seen { epoch, size: checkpoint.size(), root: *checkpoint.root() })
    }

    pub(super) fn sealed(seal: &Seal) -> Seen {
        Seen { epoch: seal.epoch, size: seal.size, root: seal.root }
    }
}

impl SealLog {
    /// The tree as it was when it was seen last, and found to go on from all that was known.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// From then on the tree has to go on from this one, also where it was seen on another connection.
    pub fn goes_on_from(&mut self, seen: Option<Seen>) {
        self.seen = seen;
    }

    /// Whether a key is on record, and there is none here.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn wants_key(&mut self) -> Result<bool, Fault> {
        let SealLog { link: Link { connection, patience, .. }, ledger, .. } = self;
        Ok(answered(*patience, wants_key(connection, ledger)).await?)
    }

    /// Whether the database's tree goes on from these checkpoints, from what was seen before, and from the last checkpoint in the
    /// database that this key has signed; what of them it has lost, otherwise. Without a key nothing is looked at.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn parted(&mut self, outside: &[Checkpoint]) -> Result<Option<Lost>, Fault> {
        if self.ledger.key.is_none() {
            return Ok(None);
        }
        let SealLog { link: Link { connection, patience, .. }, ledger, seen } = self;
        let mut known: Vec<_> = outside.iter().filter_map(Seen::of).chain(*seen).collect();
        known.extend(answered(*patience, last_signed(connection, ledger)).await?);
        let to = answered(*patience, last(connection)).await?;
        for from in known {
            if let Some(lost) = parted(connection, *patience, ledger, from, to).await? {
                return Ok(Some(lost));
            }
        }
        *seen = Some(to);
        Ok(None)
    }
}

/// What of a tree that was seen is lost in one that comes after it.
pub(super) async fn parted(
    connection: &mut PgConnection,
    patience: std::time::Duration,
    ledger: &Ledger,
    from: Seen,
    to: Seen,
) -> Result<Option<Lost>, Fault> {
    let Seen { epoch, size, root } = from;
    let epochs = (u64::from(epoch.unsigned_abs()), to.epoch);
    if epoch > to.epoch {
        return Ok(Some(Lost::Epoch { epoch: epochs.0, has: epochs.1 }));
    }
    if epoch < to.epoch {
        let begun = answered(patience, is_begun(connection, ledger, to.epoch)).await?;
        return Ok((!begun).then_some(Lost::Unbegun { epoch: epochs.0, has: epochs.1 }));
    }
    if size > to.size {
        return Ok(Some(Lost::Leaves { epoch: epochs.0, size, has: signed(to.size) }));
    }
    let lost = Lost::Past { epoch: epochs.0, size };
    let Ok(plan) = Plan::consistency(size, to.size) else { return Ok(Some(lost)) };
    let hashes = hashes(connection, patience, epoch, plan.subtrees()).await?;
    let proof = plan.proof(|subtree| hashes.get(&subtree).copied().ok_or(()));
    let holds =
        proof.is_ok_and(|proof| check_consistency(size, &root, to.size, &to.root, &proof).is_ok());
    Ok((!holds).then_some(lost))
}

/// The tree as the last seal states it.
async fn last(connection: &mut PgConnection) -> Result<Seen, sqlx::Error> {
    let (epoch, size, root): (i32, i64, Option<Hash>) = sqlx::query_as(
        "select e.epoch, coalesce(s.tree_size, 0), s.root
           from (select * from audit.epochs e order by e.epoch desc limit 1) e
           left join lateral (select * from audit.seals s where s.epoch = e.epoch order by s.number desc limit 1) s on true",
    )
    .fetch_one(connection)
    .await?;
    Ok(Seen { epoch, size: size.unsigned_abs(), root: root.unwrap_or_else(empty_root) })
}

/// The largest tree of the latest epoch of which the database has a checkpoint that this key has signed.
async fn last_signed(
    connection: &mut PgConnection,
    ledger: &Ledger,
) -> Result<Option<Seen>, sqlx::Error> {
    let (Some(key), Some(origin)) = (&ledger.key, ledger.origin()) else { return Ok(None) };
    let key = key.signer().verifier();
    let notes: Vec<String> = sqlx::query_scalar(
        "select c.note from audit.checkpoints c where c.key_id = $1 order by c.epoch desc, c.tree_size desc limit $2",
    )
    .bind(i64::from(key.id()))
    .bind(TRIED)
    .fetch_all(connection)
    .await?;
    let own = notes.iter().filter_map(|note| {
        let (checkpoint, _) = Checkpoint::open(note.as_bytes(), std::slice::from_ref(key)).ok()?;
        Seen::of(&checkpoint).filter(|_| checkpoint.origin() == origin)
    });
    Ok(own.max_by_key(|seen| (seen.epoch, seen.size)))
}

/// Whether an act that this key has signed, or the one before it, says that the epoch was begun: whoever may write to the database
/// can begin one, too.
async fn is_begun(
    connection: &mut PgConnection,
    ledger: &Ledger,
    epoch: i32,
) -> Result<bool, sqlx::Error> {
    let Some(key) = &ledger.key else { return Ok(true) };
    let before = key.endorsement().map(crate::ledger::Endorsement::by);
    let keys: Vec<&VerifierKey> = [key.signer().verifier()].into_iter().chain(before).collect();
    let acts = sqlx::query(
        "select a.id, a.at, a.kind, a.details::text, coalesce(a.signature, '') as signature
           from audit.acts a where a.kind = 'epoch' and a.details ->> 'epoch' = $1",
    )
    .bind(epoch.to_string())
    .fetch_all(connection)
    .await?;
    for act in acts {
        let signature: Vec<u8> = act.try_get("signature")?;
        let at: OffsetDateTime = act.try_get("at")?;
        let (id, kind, details) =
            (act.try_get("id")?, act.try_get("kind")?, act.try_get("details")?);
        let data = Act { id, at, kind, details }.data();
        if keys.iter().any(|key| key.verifies(&data, &signature)) {
            return Ok(true);
        }
    }
    Ok(false)
}
