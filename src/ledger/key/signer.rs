//! Private keys.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use super::{KeyError, KeyName, Parts, SIGNATURE_BYTES, VerifierKey, encoded};

/// What the text of a private key begins with.
pub(super) const PREFIX: &str = "PRIVATE+KEY+";

/// A private key and its name: what signs. `Debug` never shows it, and memory forgets it when it is dropped.
#[derive(Clone)]
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// The key that 32 random bytes make, which have to be from a source that nobody can foretell.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> SignerKey {
        let key = SigningKey::from_bytes(seed);
        SignerKey { verifier: VerifierKey::new(name, key.verifying_key()), key }
    }

    /// The public key, which checks what this one signs.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The signature over these bytes, by Ed25519 (RFC 8032): always the same for the same bytes.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(data).to_bytes()
    }

    /// The private key as text: `PRIVATE+KEY+NAME+ID+KEY`. For the file that keeps it, and for nothing else; memory forgets it, too.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(STANDARD.encode(Zeroizing::new(encoded(self.key.as_bytes()))));
        let VerifierKey { name, id, .. } = &self.verifier;
        Zeroizing::new(format!("{PREFIX}{name}+{id:08x}+{}", *key))
    }
}

impl FromStr for SignerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<SignerKey, KeyError> {
        let Some(text) = text.strip_prefix(PREFIX) else {
            let public = text.parse::<VerifierKey>().is_ok();
            return Err(if public { KeyError::Public } else { KeyError::Unmarked });
        };
        let Parts { name, id, key } = Parts::of(text)?;
        let signer = SignerKey::from_seed(name, &key);
        signer.verifier.has_id(id)?;
        Ok(signer)
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerKey(private, of {})", self.verifier)
    }
}
