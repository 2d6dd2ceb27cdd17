//! Where the passwords of a configuration stand.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use url::Url;

use crate::hosts::Hosts;

use super::{Environment, Loaded, key, secret_file};

/// Where passwords and private keys stand that others may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passwords {
    /// Files, and the keys that each sets.
    pub files: BTreeMap<PathBuf, Vec<String>>,
    /// Keys that are set on the command line.
    pub shown: Vec<String>,
}

impl Loaded {
    /// Where the values came from that hold a password; those of the process's environment are nobody else's to read.
    #[must_use]
    pub fn passwords(&self, environment: &Environment) -> Passwords {
        let mut found = Passwords::default();
        for key in key::all().filter(|key| key.secret && self.holds_password(key.path)) {
            let Some(metadata) = self.figment.find_metadata(key.path) else { continue };
            let name = &*metadata.name;
            let file = if let Some(path) = name.strip_prefix("file ") {
                Some(PathBuf::from(path))
            } else if let Some(path) = secret_file::path_of(name) {
                Some(path.to_owned())
            } else if name == ".env" {
                environment.dotenv.clone()
            } else if name.starts_with("credential ") {
                environment.credentials.as_deref().map(|directory: &Path| directory.join(key.path))
            } else {
                if name.starts_with("flag ") {
                    found.shown.push(key.path.to_owned());
                }
                None
            };
            if let Some(path) = file {
                found.files.entry(path).or_default().push(key.path.to_owned());
            }
        }
        for (key, file) in self.private_keys() {
            found.files.entry(file).or_default().push(key.to_owned());
        }
        found
    }

    fn private_keys(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let of_broker = self.config.rabbitmq.tls_client_key.clone();
        let of_database = self.config.postgres.url.private_key();
        let of_ledger = self.config.ledger.key_file.clone();
        [
            ("rabbitmq.tls_client_key", of_broker),
            ("sslkey of postgres.url", of_database),
            ("ledger.key_file", of_ledger),
        ]
        .into_iter()
        .filter_map(|(key, file)| Some((key, file?)))
    }

    fn holds_password(&self, path: &str) -> bool {
        let written = self.figment.find_value(path).ok();
        let written = written.as_ref().and_then(|value| value.as_str()).map(str::trim);
        // Any part of it may be one, and one part mostly is.
        if path == "ledger.checkpoint_webhook" {
            return written.is_some();
        }
        let first = written.and_then(|text| Hosts::of(text).each().next());
        first.and_then(|text| Url::parse(&text).ok()).is_some_and(|url| {
            url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password")
        })
    }
}
