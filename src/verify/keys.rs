//! Whose signatures count.

use serde::Deserialize;
use uuid::Uuid;

use crate::ledger::{Endorsement, VerifierKey};

/// Public keys that are given, and those that they vouch for.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Vec<VerifierKey>);

/// What a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signed {
    /// One of the keys made it.
    Rightly,
    /// No key is given, so it was not looked at.
    Unchecked,
    /// There is none.
    Not,
    /// A key made it that is not given.
    ByOthers,
    /// It does not fit; why.
    Wrongly(String),
}

#[derive(Deserialize)]
struct KeyDetails {
    key: String,
    endorsement: Option<String>,
}

impl Keys {
    /// The given keys, and each that one of them, or one of those, has endorsed in an act, in their order.
    pub fn new<'a>(given: &[VerifierKey], acts: impl IntoIterator<Item = &'a str>) -> Keys {
        let mut keys = Keys(given.to_vec());
        for details in acts {
            // An act that cannot be understood vouches for nobody.
            let Ok(details) = serde_json::from_str::<KeyDetails>(details) else { continue };
            let Ok(key) = details.key.parse::<VerifierKey>() else { continue };
            let endorsement = details.endorsement.and_then(|text| text.parse::<Endorsement>().ok());
            let vouched =
                endorsement.is_some_and(|by| keys.0.contains(by.by()) && by.check(&key).is_ok());
            if vouched && !keys.0.contains(&key) {
                keys.0.push(key);
            }
        }
        keys
    }

    /// Whether an act of these details puts one of them on record.
    pub fn introduces(&self, details: &str) -> bool {
        let key = serde_json::from_str(details).map(|details: KeyDetails| details.key);
        key.is_ok_and(|key| key.parse().is_ok_and(|key| self.0.contains(&key)))
    }

    /// All of them.
    pub fn all(&self) -> &[VerifierKey] {
        &self.0
    }

    /// Looks at a signature over this data, by the key that is said to have made it.
    pub fn check(&self, data: &[u8], signature: Option<&[u8]>, key_id: Option<i64>) -> Signed {
        let (signature, key_id) = match (signature, key_id) {
            (None, None) => return Signed::Not,
            (Some(signature), Some(key_id)) => (signature, key_id),
            _ => return Signed::Wrongly("one of signature and key_id is null".to_owned()),
        };
        if self.0.is_empty() {
            return Signed::Unchecked;
        }
        let is_named = |key: &&VerifierKey| i64::from(key.id()) == key_id;
        if self.0.iter().filter(is_named).any(|key| key.verifies(data, signature)) {
            return Signed::Rightly;
        }
        if let Some(key) = self.0.iter().find(|key| key.verifies(data, signature)) {
            return Signed::Wrongly(format!(
                "key_id was changed: {}+{:08x} signed it",
                key.name(),
                key.id()
            ));
        }
        match self.0.iter().find(is_named) {
            None => Signed::ByOthers,
            Some(key) => Signed::Wrongly(format!(
                "the signature by {}+{:08x} does not fit it: the header or its signature was changed",
                key.name(),
                key.id()
            )),
        }
    }
}

/// A header's signature, to be looked at when it is its turn.
#[derive(Debug)]
pub(super) struct Pending {
    pub lane: Uuid,
    pub number: i64,
    pub position: i64,
    /// When it was committed, or anything before it was.
    pub committed_at: i64,
    /// Whether it has leaves: where the ledger was off nothing is signed.
    pub covered: bool,
    pub data: Vec<u8>,
    pub signature: Option<Vec<u8>>,
    pub key_id: Option<i64>,
}

/// What came of several.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub rightly: u64,
    pub not: Vec<Pending>,
    pub by_others: Vec<Pending>,
    /// Those that do not fit, and why.
    pub wrongly: Vec<(Pending, String)>,
}

impl Checked {
    /// Looks at all of them.
    pub fn of(keys: &Keys, pending: Vec<Pending>) -> Checked {
        let mut checked = Checked::default();
        for pending in pending {
            match keys.check(&pending.data, pending.signature.as_deref(), pending.key_id) {
                Signed::Unchecked => {}
                Signed::Rightly => checked.rightly += 1,
                Signed::Not => checked.not.push(pending),
                Signed::ByOthers => checked.by_others.push(pending),
                Signed::Wrongly(why) => checked.wrongly.push((pending, why)),
            }
        }
        checked
    }
}
