//! Signed notes (C2SP signed-note, and Go's `sumdb/note`): text, and below it the signatures of one or more keys.

mod series;
mod signature;

use std::fmt;

use thiserror::Error;

use super::key::{KeyName, SignerKey, VerifierKey};

pub use series::Scrap;
pub use signature::{NoteSignature, SignatureError};

/// Bytes of the largest note that is read.
pub const MAX_BYTES: usize = 1_000_000;

/// Most signatures of a note that is read.
pub const MAX_SIGNATURES: usize = 100;

/// What divides the text from the signatures; the last one counts.
const BLANK_LINE: &str = "\n\n";

/// A text and its signatures, none of which is known to be right before [`Note::verified`] says so.
///
/// Its `Display` is the signed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Why something is no signed note, or not one to rely on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// It is too large to be read.
    #[error("it is {0} bytes long, where a note has at most {MAX_BYTES}")]
    TooLarge(usize),
    /// It is no text.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// Counted from 1.
        line: usize,
    },
    /// Something that a terminal would act on.
    #[error(
        "line {line} holds the control character {character:?}: a note has none but the line feed"
    )]
    Control {
        /// Counted from 1.
        line: usize,
        /// What it is.
        character: char,
    },
    /// The text of a note to be.
    #[error("its text does not end with a line feed")]
    NoLineEnd,
    /// Only text, or only signatures.
    #[error("there is no blank line between a text and its signatures: it is no signed note")]
    NoBlankLine,
    /// Nothing below the text.
    #[error("no signature stands below its last blank line")]
    NoSignatures,
    /// Something is cut off.
    #[error("line {line}, the last, does not end with a line feed: the note was cut off")]
    CutOff {
        /// Counted from 1.
        line: usize,
    },
    /// A line below the text that is none of a signature.
    #[error("line {line} is no signature: {why}")]
    Signature {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: SignatureError,
    },
    /// More signatures than anybody needs.
    #[error("it has {0} signatures, where at most {MAX_SIGNATURES} are read")]
    TooMany(usize),
    /// Two of the given keys cannot be told apart.
    #[error("two different keys are given for {name}+{id:08x}: leave one out")]
    Ambiguous {
        /// Their name.
        name: KeyName,
        /// Their id.
        id: u32,
    },
    /// Signed by a known key, and changed since, or never signed by it.
    #[error(
        "the signature of {name}+{id:08x} does not fit the text: one of the two was changed, or another key made it"
    )]
    Forged {
        /// The name of the key.
        name: KeyName,
        /// Its id.
        id: u32,
    },
    /// Signed by others only.
    #[error("none of the given keys has signed it; its signatures are of {}", signers(.0))]
    Unsigned(Vec<(KeyName, u32)>),
}

fn signers(of: &[(KeyName, u32)]) -> String {
    if of.is_empty() {
        return "nobody".to_owned();
    }
    let names = of.iter().map(|(name, id)| format!("{}+{id:08x}", name.as_str().escape_debug()));
    names.collect::<Vec<_>>().join(", ")
}

impl Note {
    /// A note that nobody has signed yet.
    ///
    /// # Errors
    /// The text does not end with a line feed, is too large, or holds control characters.
    pub fn new(text: impl Into<String>) -> Result<Note, NoteError> {
        let text = text.into();
        if text.len() > MAX_BYTES {
            return Err(NoteError::TooLarge(text.len()));
        }
        without_controls(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoLineEnd);
        }
        Ok(Note { text, signatures: Vec::new() })
    }

    /// The same with a signature of this key, in place of an earlier one of it.
    #[must_use]
    pub fn signed(mut self, key: &SignerKey) -> Note {
        let signature = NoteSignature::new(key.verifier(), &key.sign(self.text.as_bytes()));
        self.signatures.retain(|other| !other.is_of(key.verifier()));
        self.signatures.push(signature);
        self
    }

    /// Reads a signed note.
    ///
    /// # Errors
    /// It is not one to the letter; what is wrong, and in which line. Nothing is said of whose signatures it has.
    pub fn parse(note: &[u8]) -> Result<Note, NoteError> {
        if note.len() > MAX_BYTES {
            return Err(NoteError::TooLarge(note.len()));
        }
        let note = std::str::from_utf8(note)
            .map_err(|error| NoteError::NotUtf8 { line: line_of(&note[..error.valid_up_to()]) })?;
        without_controls(note)?;
        let middle = note.rfind(BLANK_LINE).ok_or(NoteError::NoBlankLine)?;
        let (text, below) = (&note[..=middle], &note[middle + BLANK_LINE.len()..]);
        if below.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let Some(below) = below.strip_suffix('\n') else {
            return Err(NoteError::CutOff { line: line_of(note.as_bytes()) });
        };
        let first = line_of(text.as_bytes()) + 1;
        let count = below.split('\n').count();
        if count > MAX_SIGNATURES {
            return Err(NoteError::TooMany(count));
        }
        let signatures = (first..)
            .zip(below.split('\n'))
            .map(|(line, text)| {
                NoteSignature::parse(text).map_err(|why| NoteError::Signature { line, why })
            })
            .collect::<Result<_, _>>()?;
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// What is signed, with its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, whosever they are, right or wrong.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Which of these keys have signed it, at least one of them, in the order of the signatures. Signatures of other keys are
    /// passed over.
    ///
    /// # Errors
    /// None of the keys has signed it, a signature of one does not fit the text, or two of the keys have one name and one id.
    pub fn verified<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, NoteError> {
        let mut signed = Vec::new();
        for signature in &self.signatures {
            let mut known = keys.iter().filter(|key| signature.is_of(key));
            let Some(key) = known.next() else { continue };
            let (name, id) = (key.name().clone(), key.id());
            if known.any(|other| other != key) {
                return Err(NoteError::Ambiguous { name, id });
            }
            if !key.verifies(self.text.as_bytes(), signature.bytes()) {
                return Err(NoteError::Forged { name, id });
            }
            if !signed.contains(&key) {
                signed.push(key);
            }
        }
        if signed.is_empty() {
            let others = self.signatures.iter().map(|other| (other.name().clone(), other.key_id()));
            return Err(NoteError::Unsigned(others.collect()));
        }
        Ok(signed)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn without_controls(text: &str) -> Result<(), NoteError> {
    let hostile = |(_, c): &(usize, char)| *c < ' ' && *c != '\n';
    match text.char_indices().find(hostile) {
        Some((at, character)) => {
            Err(NoteError::Control { line: line_of(&text.as_bytes()[..at]), character })
        }
        None => Ok(()),
    }
}

/// The line in which these bytes end, counted from 1.
fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
