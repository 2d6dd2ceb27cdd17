//! The names of keys.

use std::fmt;

use super::KeyError;

/// The name of a key, as signed notes allow it: not empty, without white space, control characters and plus signs. Best a URL
/// without its scheme, which nobody else would take.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name.
    ///
    /// # Errors
    /// It is empty or holds what a name cannot.
    pub fn new(name: impl Into<String>) -> Result<KeyName, KeyError> {
        let name = name.into();
        let hostile = |c: char| c.is_whitespace() || c == '+' || c < ' ';
        if name.is_empty() || name.contains(hostile) {
            return Err(KeyError::Name);
        }
        Ok(KeyName(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
