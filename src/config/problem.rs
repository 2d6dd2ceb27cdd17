//! What is wrong with a configuration.

use std::fmt;

use super::secret::redact;

/// One thing that is wrong: what it concerns, where it was written, what is allowed.
///
/// Whatever it quotes is masked: a URL may have been written where another value belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    subject: String,
    what: String,
    allowed: String,
    source: String,
}

impl Problem {
    pub fn new(subject: &str, what: &str, allowed: &str, source: &str) -> Self {
        Self {
            subject: quotable(subject),
            what: quotable(what),
            allowed: allowed.to_owned(),
            source: quotable(source),
        }
    }

    /// The key (`ingest.prefetch`), or the file, variable or flag itself where no key can be named.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, what, allowed, source } = self;
        write!(f, "{subject}: {what}")?;
        if !allowed.is_empty() {
            write!(f, "; allowed: {allowed}")?;
        }
        if !source.is_empty() {
            write!(f, " (from {source})")?;
        }
        Ok(())
    }
}

/// Text that may hold what was written: without passwords, and without control characters, which would let it
/// draw on the terminal.
fn quotable(text: &str) -> String {
    redact(text).replace(char::is_control, " ")
}

/// Everything that is wrong with a configuration, in the order of the layers and then of the keys. The process exits
/// with [`crate::exit::CONFIG`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }
}

impl fmt::Display for ConfigError {
    /// A line each; with `{:#}` all in one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [only] => write!(f, "the configuration is wrong: {only}"),
            [first, others @ ..] if f.alternate() => {
                let count = self.problems.len();
                write!(f, "the configuration has {count} problems: {first}")?;
                others.iter().try_for_each(|problem| write!(f, " | {problem}"))
            }
            several => {
                write!(f, "the configuration has {} problems:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
