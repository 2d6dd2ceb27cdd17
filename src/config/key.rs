//! The known keys: their kinds, and what is allowed in the words of an error.

use std::fmt;

use super::secret_file::SUFFIX;
use super::{
    access_log, canary, envelope, http, ingest, ledger, log, postgres, rabbitmq, reconnect,
    retention, shutdown, storage,
};

/// One known key, as the sections declare it beside their fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// How its value is written.
    pub kind: Kind,
    /// What is allowed, for people; a choice and a bool speak for themselves.
    allowed: &'static str,
    /// Whether it may be absent; then an empty string counts as absent, so that a variable can unset it.
    pub optional: bool,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// When another value takes effect.
    pub takes_effect: TakesEffect,
}

/// When another value of a key takes effect in a daemon that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakesEffect {
    /// With its next start.
    AtStart,
    /// When the configuration is read again; the comment in the shipped file says so.
    OnReload,
    /// The login in a URL when the configuration is read again, for connections from then on; all else with its next start.
    LoginOnReload,
    /// The daemon does not ask for it, other commands read it each time.
    InCommands,
}

/// How a value is written, in TOML and in a variable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A string, whatever it looks like: `QUEUE=123` is the queue named 123.
    Text,
    /// The path of a file that holds this somewhere, by which a credential is known to be the file itself.
    File(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Bool,
    /// Strings; in a variable `["a","b"]` or `a,b`.
    List,
    /// A string that humantime reads.
    Duration,
    /// A string with a unit, or a whole number of bytes.
    Size,
}

impl Key {
    pub(super) const fn new(path: &'static str, kind: Kind, allowed: &'static str) -> Self {
        Self {
            path,
            kind,
            allowed,
            optional: false,
            secret: false,
            takes_effect: TakesEffect::AtStart,
        }
    }

    pub(super) const fn secret(path: &'static str, allowed: &'static str) -> Self {
        Self { secret: true, ..Self::new(path, Kind::Text, allowed) }
    }

    pub(super) const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    pub(super) const fn on_reload(self) -> Self {
        Self { takes_effect: TakesEffect::OnReload, ..self }
    }

    pub(super) const fn login_on_reload(self) -> Self {
        Self { takes_effect: TakesEffect::LoginOnReload, ..self }
    }

    pub(super) const fn in_commands(self) -> Self {
        Self { takes_effect: TakesEffect::InCommands, ..self }
    }

    /// The section's name and the key's own.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// What may stand in its section for it: its own name, and for a secret that of the file that holds it.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let name = self.parts().1;
        [Some(name.to_owned()), self.secret.then(|| format!("{name}{SUFFIX}"))]
            .into_iter()
            .flatten()
    }

    /// What is allowed, for people.
    pub(super) fn allowed(&self) -> String {
        match self.kind {
            Kind::Choice(words) => {
                words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
            }
            Kind::Bool => "true, false".to_owned(),
            _ => self.allowed.to_owned(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

/// The sections, in the order of the shipped file.
const SECTIONS: &[&[Key]] = &[
    rabbitmq::KEYS,
    postgres::KEYS,
    ingest::KEYS,
    envelope::KEYS,
    storage::KEYS,
    retention::KEYS,
    access_log::KEYS,
    ledger::KEYS,
    reconnect::KEYS,
    shutdown::KEYS,
    canary::KEYS,
    http::KEYS,
    log::KEYS,
];

/// Every known key, in the order of the shipped file.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().copied().flatten()
}

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The secret whose file this path names.
pub(super) fn of_file(path: &str) -> Option<&'static Key> {
    find(path.strip_suffix(SUFFIX)?).filter(|key| key.secret)
}

/// Whether a section has this name.
pub(super) fn is_section(name: &str) -> bool {
    all().any(|key| key.parts().0 == name)
}

/// What to write instead of an unknown path: a known one of the same key, or the one that reads most alike.
pub(super) fn suggest(path: &str) -> Option<&'static str> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let elsewhere: Vec<_> = all().filter(|key| key.parts().1 == name).map(|key| key.path).collect();
    if let [only] = elsewhere[..] {
        return Some(only);
    }
    let mut candidates: Vec<&str> = all().map(|key| key.path).collect();
    if !path.contains('.') {
        let sections = all().map(|key| key.parts().0);
        candidates.extend(sections);
    }
    closest(path, &candidates)
}

/// The candidate that reads most like the word, if any is near.
pub(crate) fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const NEAR: f64 = 0.7;
    let likeness = |candidate: &&str| strsim::normalized_damerau_levenshtein(word, candidate);
    let best = candidates.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= NEAR).then_some(best)
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::error::Kind as Wrong;
    use figment::providers::Serialized;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::config::{
        AccessLog, Canary, Envelope, Http, Ingest, Ledger, Log, Postgres, RabbitMq, Reconnect,
        Retention, Shutdown, Storage,
    };

    /// The fields that the section's type accepts, as it says when it meets another.
    fn fields<T: DeserializeOwned + fmt::Debug>() -> &'static [&'static str] {
        let figment = Figment::from(Serialized::default("no such key", 1));
        match figment.extract::<T>().unwrap_err().kind {
            Wrong::UnknownField(_, fields) => fields,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_known_keys_are_the_fields_of_the_sections() {
        let fields = [
            fields::<RabbitMq>(),
            fields::<Postgres>(),
            fields::<Ingest>(),
            fields::<Envelope>(),
            fields::<Storage>(),
            fields::<Retention>(),
            fields::<AccessLog>(),
            fields::<Ledger>(),
            fields::<Reconnect>(),
            fields::<Shutdown>(),
            fields::<Canary>(),
            fields::<Http>(),
            fields::<Log>(),
        ];
        for (keys, fields) in SECTIONS.iter().zip(fields) {
            let keys: Vec<_> = keys.iter().map(|key| key.parts().1).collect();
            assert_eq!(keys, fields);
        }
    }
}
