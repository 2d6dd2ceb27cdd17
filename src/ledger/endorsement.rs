//! The change of a key: the old one vouches for the new one.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use super::key::{KeyError, SIGNATURE_BYTES, SignerKey, VerifierKey};

/// What is signed begins with this, so that it is nothing else that is signed here.
const TAG: &[u8] = b"rbal1\0\x05";

/// A key's word for the key that comes after it: its signature over both public keys.
///
/// Its `Display` is the old public key and the signature in base64, with a space between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    by: VerifierKey,
    signature: [u8; SIGNATURE_BYTES],
}

/// Why a text is no endorsement, or not one of this key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndorsementError {
    /// There is no space in it.
    #[error("it is not written KEY SIGNATURE_BYTES")]
    Parts,
    /// The old key.
    #[error("the key in it: {0}")]
    Key(#[from] KeyError),
    /// The signature is not written as one.
    #[error("the signature in it is not base64 of 64 bytes, with its padding")]
    Signature,
    /// It endorses another key, or was changed.
    #[error("the signature in it is not that of {old} over {new}")]
    Forged {
        /// The key that is said to have signed.
        old: Box<VerifierKey>,
        /// The key that is to be endorsed.
        new: Box<VerifierKey>,
    },
}

impl Endorsement {
    /// The old key vouches for the new one.
    #[must_use]
    pub fn new(old: &SignerKey, new: &VerifierKey) -> Endorsement {
        let by = old.verifier().clone();
        let signature = old.sign(&endorsed(&by, new));
        Endorsement { by, signature }
    }

    /// The key that vouches.
    #[must_use]
    pub fn by(&self) -> &VerifierKey {
        &self.by
    }

    /// Checks that it is for this key.
    ///
    /// # Errors
    /// It is for another, or forged.
    pub fn check(&self, new: &VerifierKey) -> Result<(), EndorsementError> {
        if self.by.verifies(&endorsed(&self.by, new), &self.signature) {
            return Ok(());
        }
        let [old, new] = [&self.by, new].map(|key| Box::new(key.clone()));
        Err(EndorsementError::Forged { old, new })
    }
}

fn endorsed(old: &VerifierKey, new: &VerifierKey) -> Vec<u8> {
    [TAG, old.bytes(), new.bytes()].concat()
}

impl FromStr for Endorsement {
    type Err = EndorsementError;

    fn from_str(text: &str) -> Result<Endorsement, EndorsementError> {
        let (key, signature) = text.split_once(' ').ok_or(EndorsementError::Parts)?;
        let signature = STANDARD.decode(signature).ok().and_then(|bytes| bytes.try_into().ok());
        let by = key.parse()?;
        Ok(Endorsement { by, signature: signature.ok_or(EndorsementError::Signature)? })
    }
}

impl fmt::Display for Endorsement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.by, STANDARD.encode(self.signature))
    }
}
