//! Reading a file whose content must not show up in an error.

use std::io::ErrorKind;
use std::path::Path;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("the file does not exist")]
    Missing,
    #[error("it is a directory, not a file")]
    Directory,
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
    #[error("cannot be read: {0}")]
    Failed(std::io::Error),
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, Unread> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Unread::Missing,
        ErrorKind::IsADirectory => Unread::Directory,
        _ => Unread::Failed(error),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        Unread::NotUtf8(1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count())
    })
}

/// Line and column of a byte, for people.
pub(super) fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    format!(" at line {line}, column {column}")
}
