//! The configuration: layers, precedence, sources, and what is said of bad input.

use std::fs;
use std::path::PathBuf;

use bloodbank_audit::config::{Config, Environment, Flags, Loaded};
use tempfile::TempDir;

mod binary;
mod defaults;
mod layers;
mod refusals;
mod reload;
mod secret_files;
mod secrets;
mod unreadable;
mod urls;

/// A directory with the files that a process would find, and the variables and flags it would be given.
struct Given {
    directory: TempDir,
    environment: Environment,
    flags: Flags,
}

impl Given {
    fn nothing() -> Self {
        let directory = TempDir::new().unwrap();
        let environment = Environment::empty()
            .with_dotenv(directory.path().join(".env"))
            .with_default_file(directory.path().join("default.toml"));
        Self { directory, environment, flags: Flags::default() }
    }

    fn default_file(self, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path("default.toml"), text).unwrap();
        self
    }

    fn file(mut self, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path("given.toml"), text).unwrap();
        self.flags = self.flags.with_file(self.directory.path().join("given.toml"));
        self
    }

    fn dotenv(self, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(".env"), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment = self.environment.with_variable(name, value);
        self
    }

    fn flag(mut self, flag: &str, path: &str, value: &str) -> Self {
        self.flags = self.flags.with_value(flag, path, value);
        self
    }

    fn set(mut self, assignment: &str) -> Self {
        self.flags = self.flags.with_assignment(assignment);
        self
    }

    fn credential(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let directory = self.path("credentials");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), content).unwrap();
        self.environment = self.environment.with_credentials(directory);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn loaded(&self) -> Loaded {
        Config::load(&self.flags, &self.environment).unwrap_or_else(|error| panic!("{error}"))
    }

    fn config(&self) -> Config {
        self.loaded().config
    }

    /// What is said of it, without the name of the temporary directory.
    fn refusal(&self) -> String {
        let error = Config::load(&self.flags, &self.environment).expect_err("it is accepted");
        error.to_string().replace(&*self.directory.path().to_string_lossy(), "DIR")
    }
}

/// That a text holds all these words.
#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}
