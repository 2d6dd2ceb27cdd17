//! What the command line says about the configuration, as values.

use std::path::PathBuf;

/// What the command line says about the configuration.
#[derive(Clone, Default)]
pub struct Flags {
    pub(super) file: Option<PathBuf>,
    pub(super) values: Vec<Assignment>,
}

/// One flag that sets one key. Without `Debug`: the value may be a secret.
#[derive(Clone)]
pub(super) struct Assignment {
    pub flag: String,
    pub path: String,
    pub value: String,
}

impl Flags {
    /// Reads this file, which must exist, instead of the default one.
    pub fn with_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Sets a key; `flag` is what the command line calls it (`--queue`). Of two for one key the later counts.
    pub fn with_value(mut self, flag: &str, path: &str, value: impl Into<String>) -> Self {
        self.values.push(Assignment {
            flag: flag.to_owned(),
            path: path.to_owned(),
            value: value.into(),
        });
        self
    }

    /// `--set section.key=value`.
    pub fn with_assignment(self, assignment: &str) -> Self {
        match assignment.split_once('=') {
            Some((path, value)) => self.with_value("--set", path.trim(), value),
            None => self.with_value("--set", "", assignment),
        }
    }
}
