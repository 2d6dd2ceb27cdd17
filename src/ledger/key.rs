//! Ed25519 keys under a name, in the text formats of Go's `sumdb/note`, which those of C2SP's signed notes are too.
//!
//! The same key signs notes and the ledger's own structures. No signature of one passes for one of the other: the structures
//! begin with `rbal1` and a byte of zero, which no note can hold.

mod name;
mod signer;

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

pub use name::KeyName;
pub use signer::SignerKey;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The type of signature that stands before a key: Ed25519 over the text of a note.
const ED25519: u8 = 0x01;

/// Why a text is no key. It never quotes what could be part of a private one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A private key in a place where others read it.
    #[error(
        "it is a private key, where the public one belongs: `bloodbank-audit keys show` prints that"
    )]
    Private,
    /// A public key, with which nothing can be signed.
    #[error("it is a public key, where the private one belongs, which begins with PRIVATE+KEY+")]
    Public,
    /// Neither kind of key.
    #[error("it does not begin with PRIVATE+KEY+, as a private key does")]
    Unmarked,
    /// Parts are missing.
    #[error("it is not written NAME+ID+KEY: there are fewer than two plus signs in it")]
    Parts,
    /// The name.
    #[error(
        "a key's name is not empty and holds neither white space, control characters nor a plus sign"
    )]
    Name,
    /// The id is not written as one.
    #[error("the id behind the name is not 8 hexadecimal digits")]
    IdForm,
    /// The key is not written as one.
    #[error("the part behind the id is not base64 of RFC 4648, with its padding")]
    Base64,
    /// A key of another kind.
    #[error("it is for signatures of type 0x{0:02x}: keys here are of Ed25519, type 0x01")]
    Type(u8),
    /// Too short, or too long.
    #[error(
        "behind the id stand {0} bytes, where the type and the 32 bytes of an Ed25519 key make 33"
    )]
    Length(usize),
    /// No key can have these bytes.
    #[error("its 32 bytes are no public key of Ed25519 that can be relied on")]
    Point,
    /// Name, id and key do not belong together.
    #[error(
        "its id is {found:08x}, and a key of this name and these bytes has {right:08x}: part of it was changed or mistyped"
    )]
    Id {
        /// The id that is written.
        found: u32,
        /// The id that name and bytes make.
        right: u32,
    },
}

/// A public key and its name: what checks signatures. Two are equal where name and bytes are.
///
/// Its text is `NAME+ID+KEY`: the id in 8 hexadecimal digits, the type and the 32 bytes of the key in base64.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: KeyName, key: VerifyingKey) -> VerifierKey {
        let id = id_of(&name, &key);
        VerifierKey { name, id, key }
    }

    fn has_id(&self, found: u32) -> Result<(), KeyError> {
        if self.id == found { Ok(()) } else { Err(KeyError::Id { found, right: self.id }) }
    }

    /// One that has its id in common with another, as two names and keys could by chance.
    #[cfg(test)]
    pub(super) fn with_id(self, id: u32) -> VerifierKey {
        VerifierKey { id, ..self }
    }

    /// The name it goes by in notes.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Its short id: the first four bytes of a SHA-256 over name and key. It finds a key, and proves nothing.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The key itself, as RFC 8032 writes it.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether this key has signed these bytes. Signatures that hold for more than one message are none.
    #[must_use]
    pub fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        <[u8; SIGNATURE_BYTES]>::try_from(signature).is_ok_and(|signature| {
            self.key.verify_strict(data, &Signature::from_bytes(&signature)).is_ok()
        })
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<VerifierKey, KeyError> {
        if text.starts_with(signer::PREFIX) {
            return Err(KeyError::Private);
        }
        let Parts { name, id, key } = Parts::of(text)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        let verifier = VerifierKey::new(name, key);
        verifier.has_id(id)?;
        Ok(verifier)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode(encoded(self.bytes()));
        write!(f, "{}+{:08x}+{key}", self.name, self.id)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

fn id_of(name: &KeyName, key: &VerifyingKey) -> u32 {
    let hash = Sha256::new_with_prefix(name.as_str())
        .chain_update(b"\n")
        .chain_update(encoded(key.as_bytes()))
        .finalize();
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// A key behind its type.
fn encoded(key: &[u8; 32]) -> [u8; 33] {
    let mut encoded = [ED25519; 33];
    encoded[1..].copy_from_slice(key);
    encoded
}

/// A key's text, taken apart. What the 32 bytes are, public or private, is not looked at.
struct Parts {
    name: KeyName,
    id: u32,
    key: Zeroizing<[u8; 32]>,
}

impl Parts {
    fn of(text: &str) -> Result<Parts, KeyError> {
        // The base64 may hold plus signs, too.
        let (name, rest) = text.split_once('+').ok_or(KeyError::Parts)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Parts)?;
        let name = KeyName::new(name)?;
        // Without the digits being looked at, a sign would pass.
        if id.len() != 8 || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(KeyError::IdForm);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| KeyError::IdForm)?;
        let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyError::Base64)?);
        match bytes[..] {
            [kind, ..] if kind != ED25519 => Err(KeyError::Type(kind)),
            [_, ref key @ ..] => {
                let key = key.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
                Ok(Parts { name, id, key: Zeroizing::new(key) })
            }
            [] => Err(KeyError::Length(0)),
        }
    }
}

#[cfg(test)]
mod tests;
