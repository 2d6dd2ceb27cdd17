//! What the process finds around it, as values: tests bring their own and leave the process alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::DEFAULT_FILE;

/// Environment variables, and where the files that nobody named are looked for.
#[derive(Clone, Default)]
pub struct Environment {
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) dotenv: Option<PathBuf>,
    pub(super) default_file: Option<PathBuf>,
    pub(super) credentials: Option<PathBuf>,
}

impl Environment {
    /// Nothing: no variable, no `.env`, no default file.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The environment of this process, `.env` in its working directory, [`DEFAULT_FILE`], and the directory in which the
    /// service manager has put credentials (`CREDENTIALS_DIRECTORY`).
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            dotenv: Some(PathBuf::from(".env")),
            default_file: Some(PathBuf::from(DEFAULT_FILE)),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY")
                .filter(|directory| !directory.is_empty())
                .map(PathBuf::from),
        }
    }

    /// Whether a file is one of the service manager's credentials, which it has made for this process alone.
    #[must_use]
    pub fn is_credential(&self, path: &Path) -> bool {
        let [directory, path] = [self.credentials.as_deref(), Some(path)]
            .map(|path| path.and_then(|path| path.canonicalize().ok()));
        directory.zip(path).is_some_and(|(directory, path)| path.starts_with(directory))
    }

    /// The same with one more variable; of two with the same name the later counts.
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The same with this `.env` file, which need not exist.
    pub fn with_dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Some(path.into());
        self
    }

    /// The same with credentials in this directory.
    pub fn with_credentials(mut self, directory: impl Into<PathBuf>) -> Self {
        self.credentials = Some(directory.into());
        self
    }

    /// The same with this file in place of [`DEFAULT_FILE`]; it need not exist.
    pub fn with_default_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.default_file = Some(path.into());
        self
    }
}
