//! One line of a note's signatures.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::ledger::key::{KeyName, VerifierKey};

/// What such a line begins with: an em dash and a space. No line of a checkpoint does.
pub(super) const MARK: &str = "\u{2014} ";

/// A signature and whose it is said to be. Its bytes may be of any kind of key.
///
/// Its `Display` is the line, without the line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    key_id: u32,
    bytes: Vec<u8>,
}

/// Why a line is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// Another beginning.
    #[error("it does not begin with an em dash and a space")]
    Mark,
    /// No name.
    #[error("it is not written NAME SIGNATURE_BYTES behind the em dash, with one space between")]
    Parts,
    /// A name that is none.
    #[error("the name of its key is not empty and holds neither white space nor a plus sign")]
    Name,
    /// The signature is not written as one.
    #[error("what stands behind the name is not base64 of RFC 4648, with its padding")]
    Base64,
    /// There is nothing behind the id.
    #[error(
        "behind the name stand {0} bytes, where the id of the key takes 4 and the signature some more"
    )]
    Length(usize),
}

impl NoteSignature {
    pub(super) fn new(key: &VerifierKey, signature: &[u8]) -> NoteSignature {
        NoteSignature { name: key.name().clone(), key_id: key.id(), bytes: signature.to_vec() }
    }

    pub(super) fn parse(line: &str) -> Result<NoteSignature, SignatureError> {
        let rest = line.strip_prefix(MARK).ok_or(SignatureError::Mark)?;
        let (name, base64) = rest.split_once(' ').ok_or(SignatureError::Parts)?;
        let name = KeyName::new(name).map_err(|_| SignatureError::Name)?;
        let bytes = STANDARD.decode(base64).map_err(|_| SignatureError::Base64)?;
        match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => {
                let key_id = u32::from_be_bytes(*id);
                Ok(NoteSignature { name, key_id, bytes: signature.to_vec() })
            }
            _ => Err(SignatureError::Length(bytes.len())),
        }
    }

    /// The name of the key that is said to have made it.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of that key.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature itself; of Ed25519 it has 64 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_of(&self, key: &VerifierKey) -> bool {
        (&self.name, self.key_id) == (key.name(), key.id())
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.to_be_bytes(), &self.bytes[..]].concat();
        write!(f, "{MARK}{} {}", self.name, STANDARD.encode(bytes))
    }
}
