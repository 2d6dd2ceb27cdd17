//! What a file with a private key holds: the key, and the word of the key before it.

use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    endorsement::{Endorsement, EndorsementError},
    key::{KeyError, SignerKey},
};

/// What the line of an endorsement begins with.
const ENDORSED: &str = "endorsed-by ";

/// What the line of a private key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// A private key, and the endorsement of it where it follows another. Lines that are empty or begin with `#` say nothing.
#[derive(Debug, Clone)]
pub struct KeyFile {
    signer: SignerKey,
    endorsement: Option<Endorsement>,
}

/// Why a text is not that of a key file. It never quotes the private key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    /// Nothing to sign with.
    #[error("no private key is in it: a line that begins with {PRIVATE}")]
    NoKey,
    /// A private key that is none.
    #[error("line {line} is no private key: {why}")]
    Key {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: KeyError,
    },
    /// An endorsement that is none, or of another key.
    #[error("line {line} is no endorsement of this key: {why}")]
    Endorsement {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: EndorsementError,
    },
    /// One too many.
    #[error("line {line} holds a second {what}: a file is for one key")]
    Second {
        /// Counted from 1.
        line: usize,
        /// What there are two of.
        what: &'static str,
    },
}

impl KeyFile {
    /// The first key of a ledger, or one that nobody vouches for.
    #[must_use]
    pub fn new(signer: SignerKey) -> KeyFile {
        KeyFile { signer, endorsement: None }
    }

    /// A key that the one before it vouches for.
    #[must_use]
    pub fn endorsed(signer: SignerKey, old: &SignerKey) -> KeyFile {
        let endorsement = Endorsement::new(old, signer.verifier());
        KeyFile { signer, endorsement: Some(endorsement) }
    }

    /// Reads a file's text. An endorsement is checked: it is of this key, and by the key that it names.
    ///
    /// # Errors
    /// There is not exactly one private key, more than one endorsement or one that is not right, or a line is none of them.
    pub fn parse(text: &str) -> Result<KeyFile, KeyFileError> {
        let (mut signer, mut endorsement) = (None, None);
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let second = |what| KeyFileError::Second { line, what };
            if let Some(text) = text.strip_prefix(ENDORSED) {
                let read = text.parse::<Endorsement>();
                let read = read.map_err(|why| KeyFileError::Endorsement { line, why })?;
                if endorsement.replace((line, read)).is_some() {
                    return Err(second("endorsement"));
                }
            } else {
                let read = text.parse::<SignerKey>();
                let read = read.map_err(|why| KeyFileError::Key { line, why })?;
                if signer.replace(read).is_some() {
                    return Err(second("private key"));
                }
            }
        }
        let signer = signer.ok_or(KeyFileError::NoKey)?;
        if let Some((line, endorsement)) = &endorsement {
            let line = *line;
            endorsement
                .check(signer.verifier())
                .map_err(|why| KeyFileError::Endorsement { line, why })?;
        }
        Ok(KeyFile { signer, endorsement: endorsement.map(|(_, endorsement)| endorsement) })
    }

    /// The text of the file, for nobody else than who signs; memory forgets it when it is dropped.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let name = self.signer.verifier().name();
        let key = self.signer.text();
        let endorsement = self.endorsement_line();
        Zeroizing::new(format!(
            "# The private key of {name}: who has it can sign another history. Keep it from the database and whoever runs that.\n\
             {}\n{endorsement}",
            *key
        ))
    }

    /// What others may have of it: the public key, and where it follows another, that key's word for it, a line each.
    #[must_use]
    pub fn public_text(&self) -> String {
        format!("{}\n{}", self.signer.verifier(), self.endorsement_line())
    }

    fn endorsement_line(&self) -> String {
        self.endorsement.as_ref().map(|by| format!("{ENDORSED}{by}\n")).unwrap_or_default()
    }

    /// The private key.
    #[must_use]
    pub fn signer(&self) -> &SignerKey {
        &self.signer
    }

    /// The word of the key before it.
    #[must_use]
    pub fn endorsement(&self) -> Option<&Endorsement> {
        self.endorsement.as_ref()
    }
}

#[cfg(test)]
mod tests;
