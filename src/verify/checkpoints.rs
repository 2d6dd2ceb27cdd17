//! The checkpoints that the database keeps: each states the root of a seal.

use super::{
    finding::{
        Subject,
        Verdict::{Altered, Inserted},
    },
    seals::Seals,
};
use crate::{
    ledger::{Checkpoint, Hash, Note, VerifierKey},
    store::StatedCheckpoint,
};

/// Compares one with the root of the seal of its size, if there is one.
pub(super) fn compare(seals: &mut Seals, stated: &StatedCheckpoint, root: Option<Hash>) {
    seals.counts.checkpoints += 1;
    let subject = Subject::Checkpoint {
        epoch: u64::try_from(stated.epoch).unwrap_or_default(),
        size: u64::try_from(stated.tree_size).unwrap_or_default(),
        which: "the database's checkpoint".to_owned(),
    };
    let Some(root) = root else {
        seals.findings.add(Inserted, subject, "no seal ends at that size");
        return;
    };
    if let Some(why) = wrong(stated, &root, seals.keys().all()) {
        seals.findings.add(Altered, subject, why);
    }
}

fn wrong(stated: &StatedCheckpoint, root: &Hash, keys: &[VerifierKey]) -> Option<String> {
    let note = match Note::parse(stated.note.as_bytes()) {
        Ok(note) => note,
        Err(error) => return Some(format!("it is no signed note: {error}")),
    };
    let checkpoint = match Checkpoint::parse(note.text()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return Some(format!("it is no checkpoint: {error}")),
    };
    if i64::try_from(checkpoint.size()) != Ok(stated.tree_size) {
        return Some(format!("its note is of {} leaves", checkpoint.size()));
    }
    if checkpoint.epoch().map(i64::try_from) != Ok(Ok(i64::from(stated.epoch))) {
        return Some("its note is of another epoch".to_owned());
    }
    if checkpoint.root() != root {
        return Some("its note states another root than the tree has".to_owned());
    }
    let ids: Vec<i64> = note.signatures().iter().map(|of| i64::from(of.key_id())).collect();
    if !ids.contains(&stated.key_id) {
        return Some("its note has no signature by key_id".to_owned());
    }
    let signer = keys.iter().find(|key| i64::from(key.id()) == stated.key_id)?;
    note.verified(std::slice::from_ref(signer)).err().map(|error| error.to_string())
}
