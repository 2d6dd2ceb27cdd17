//! Checkpoints (C2SP tlog-checkpoint): how large the tree is and what its root is, as a text that is signed as a note.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

use super::{
    hash::Hash,
    key::{SignerKey, VerifierKey},
    note::{Note, NoteError},
};

/// What an extension line of ours begins with: from its second epoch on a ledger says in which it is.
const EPOCH: &str = "epoch ";

/// The state of one log: everything up to `size` is under `root`. It is well-formed, which says nothing of who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// Why a text is no checkpoint, or not one to rely on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It has fewer lines than every checkpoint.
    #[error("it has {0} lines, where a checkpoint has at least three: origin, size, root")]
    Lines(usize),
    /// It stops in the middle of a line.
    #[error("its last line does not end with a line feed")]
    CutOff,
    /// A line of nothing.
    #[error("line {0} is empty")]
    EmptyLine(usize),
    /// A line of several.
    #[error("an origin or an extension line holds a control character, such as a line feed")]
    Control,
    /// The size is no number, or not written as one number is.
    #[error(
        "line 2, the size of the tree, is not a whole number below 2^64 in decimal digits without a leading zero"
    )]
    Size,
    /// The root is no hash.
    #[error("line 3, the root, is not base64 of 32 bytes, with its padding")]
    Root,
    /// An extension line of ours that is none.
    #[error("the extension line of the epoch is not \"epoch N\", once, with N from 2 on")]
    Epoch,
}

impl Checkpoint {
    /// The checkpoint of a tree of that many leaves with that root, in the log that goes by `origin`.
    ///
    /// # Errors
    /// The origin is empty or holds a control character.
    pub fn new(
        origin: impl Into<String>,
        size: u64,
        root: Hash,
    ) -> Result<Checkpoint, CheckpointError> {
        let origin = origin.into();
        is_line(&origin, 1)?;
        Ok(Checkpoint { origin, size, root, extensions: Vec::new() })
    }

    /// The same, of this epoch of the ledger, from 1 on; the first is not written.
    ///
    /// # Errors
    /// It has an epoch already, or this is none.
    pub fn with_epoch(mut self, epoch: u64) -> Result<Checkpoint, CheckpointError> {
        if epoch > 1 {
            self.extensions.push(format!("{EPOCH}{epoch}"));
        }
        if self.epoch()? == epoch { Ok(self) } else { Err(CheckpointError::Epoch) }
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// It is no checkpoint to the letter; what is wrong, and in which line.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        let Some(text) = text.strip_suffix('\n') else { return Err(CheckpointError::CutOff) };
        let lines: Vec<_> = text.split('\n').collect();
        for (number, line) in (1..).zip(&lines) {
            is_line(line, number)?;
        }
        let [origin, size, root, extensions @ ..] = &lines[..] else {
            return Err(CheckpointError::Lines(lines.len()));
        };
        let number: u64 = size.parse().map_err(|_| CheckpointError::Size)?;
        // A sign and leading zeros are numbers to the parser.
        if number.to_string() != *size {
            return Err(CheckpointError::Size);
        }
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        Ok(Checkpoint {
            origin: (*origin).to_owned(),
            size: number,
            root: root.ok_or(CheckpointError::Root)?,
            extensions: extensions.iter().map(|line| (*line).to_owned()).collect(),
        })
    }

    /// Reads a checkpoint as it is handed out, a signed note, and tells which of the keys vouch for it: at least one. A signature
    /// of another key is passed over.
    ///
    /// # Errors
    /// It is no signed note, none of the keys has signed it, a signature of one is wrong, or its text is no checkpoint.
    pub fn open<'a>(
        note: &[u8],
        keys: &'a [VerifierKey],
    ) -> Result<(Checkpoint, Vec<&'a VerifierKey>), CheckpointError> {
        let note = Note::parse(note)?;
        let signers = note.verified(keys)?;
        Ok((Checkpoint::parse(note.text())?, signers))
    }

    /// It as a note that this key has signed.
    ///
    /// # Errors
    /// It is larger than a note can be.
    pub fn signed(&self, key: &SignerKey) -> Result<Note, NoteError> {
        Ok(Note::new(self.text())?.signed(key))
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Checkpoint { origin, size, root, extensions } = self;
        let mut text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        for line in extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Which log it is of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree of these leaves.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The lines below the root; other logs may have any.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// In which epoch of its ledger it is; without a word of it, in the first.
    ///
    /// # Errors
    /// There is a word of it that is none of ours.
    pub fn epoch(&self) -> Result<u64, CheckpointError> {
        let mut words = self.extensions.iter().filter_map(|line| line.strip_prefix(EPOCH));
        let (Some(word), more) = (words.next(), words.next()) else { return Ok(1) };
        let epoch = word.parse::<u64>().ok();
        let written = |epoch: &u64| *epoch > 1 && more.is_none() && word == epoch.to_string();
        epoch.filter(written).ok_or(CheckpointError::Epoch)
    }
}

fn is_line(line: &str, number: usize) -> Result<(), CheckpointError> {
    if line.is_empty() {
        return Err(CheckpointError::EmptyLine(number));
    }
    if line.contains(|c: char| c < ' ') {
        return Err(CheckpointError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
