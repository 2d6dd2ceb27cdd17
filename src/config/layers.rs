//! The layers above the defaults: file, `.env`, environment, credentials, flags. Each becomes values with their source.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use figment::value::{Dict, Empty, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::file::{Unread, place, read};
use super::flags::{Assignment, Flags};
use super::key::{self, Key, Kind};
use super::problem::Problem;
use super::secret_file::{Found, SecretFiles, not_a_file};
use super::{DEFAULTS, Environment};

/// Variables of this daemon: `BLOODBANK_AUDIT__SECTION__KEY`.
const PREFIX: &str = "BLOODBANK_AUDIT__";

/// Variables that the services on a bloodbank bus share; a variable of the daemon's own wins over them.
const SHARED: &[(&str, &str)] = &[
    ("RABBIT_URL", "rabbitmq.url"),
    ("EXCHANGE_NAME", "rabbitmq.exchange"),
    ("DATABASE_URL", "postgres.url"),
];

/// The layers merged so far, and what was wrong on the way.
pub(super) struct Layers {
    pub figment: Figment,
    pub problems: Vec<Problem>,
    secret_files: SecretFiles,
}

/// Every layer, lowest first.
pub(super) fn gather(flags: &Flags, environment: &Environment) -> Layers {
    let mut layers = Layers {
        figment: Figment::new(),
        problems: Vec::new(),
        secret_files: SecretFiles::default(),
    };
    layers.toml("default", DEFAULTS);
    layers.secret_files.next_layer();
    layers.file(flags, environment);
    if let Some(path) = &environment.dotenv {
        layers.dotenv(path);
    }
    layers.environment(environment);
    if let Some(directory) = &environment.credentials {
        layers.secret_files.next_layer();
        layers.credentials(directory);
    }
    layers.secret_files.next_layer();
    for assignment in &flags.values {
        layers.flag(assignment);
    }
    layers.read_secret_files();
    layers
}

impl Layers {
    fn file(&mut self, flags: &Flags, environment: &Environment) {
        let (path, required) = match (&flags.file, &environment.default_file) {
            (Some(path), _) => (path, true),
            (None, Some(path)) => (path, false),
            (None, None) => return,
        };
        match read(path) {
            Ok(text) => self.toml(&format!("file {}", path.display()), &text),
            Err(Unread::Missing) if !required => {}
            Err(unread) => {
                let source = if required { "flag --config" } else { "" };
                self.problem(path.display().to_string(), unread.to_string(), "", source);
            }
        }
    }

    fn toml(&mut self, source: &str, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let sections: Dict = match toml::from_str(text) {
            Ok(sections) => sections,
            Err(error) => {
                // The error's own text quotes the line, and with it perhaps a password.
                let place = error.span().map_or(String::new(), |span| place(text, span.start));
                let what = format!("not valid TOML{place}: {}", error.message());
                return self.problem(source.to_owned(), what, "", "");
            }
        };
        for (section, value) in sections {
            match value {
                Value::Dict(_, keys) if key::is_section(&section) => {
                    for (name, value) in keys {
                        self.value(source, &format!("{section}.{name}"), value);
                    }
                }
                _ if key::is_section(&section) => {
                    let what = format!("it is a section, written [{section}]");
                    self.problem(section, what, "", source);
                }
                _ => self.unknown(&section, source),
            }
        }
    }

    fn dotenv(&mut self, path: &Path) {
        // A directory of this name is a Python environment, not a file of variables.
        let text = match read(path) {
            Ok(text) => text,
            Err(Unread::Missing | Unread::Directory) => return,
            Err(unread) => {
                return self.problem(path.display().to_string(), unread.to_string(), "", "");
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut variables = BTreeMap::new();
        for line in dotenvy::from_read_iter(text.as_bytes()) {
            match line {
                Ok((name, value)) => {
                    variables.insert(name, value);
                }
                Err(error) => {
                    let what = match error {
                        // The line itself may hold a password.
                        dotenvy::Error::LineParse(line, _) => {
                            let before = text.find(line.trim()).map_or("", |at| &text[..at]);
                            let number = before.matches('\n').count() + 1;
                            format!("line {number} is not NAME=value")
                        }
                        _ => "cannot be read as NAME=value lines".to_owned(),
                    };
                    self.problem(
                        path.display().to_string(),
                        what,
                        "a value with spaces or # in quotes",
                        "",
                    );
                }
            }
        }
        let variables = variables.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        self.variables(".env", variables.collect());
    }

    fn environment(&mut self, environment: &Environment) {
        let variables =
            environment.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        self.variables("environment", variables.collect());
    }

    /// A file that is named like a key holds its value, or is what the value is to lead to. Others are credentials that a path in the configuration names, or
    /// somebody else's.
    fn credentials(&mut self, directory: &Path) {
        for key in key::all() {
            let path = directory.join(key.path);
            match read(&path) {
                Ok(text) => {
                    // What is itself such a file stands where the key's value would lead.
                    let is_the_file = matches!(key.kind, Kind::File(holds) if text.contains(holds));
                    let path = path.to_string_lossy();
                    let value = if is_the_file { &*path } else { text.trim_end() };
                    self.text(&format!("credential {}", key.path), key.path, value);
                }
                Err(Unread::Missing) => {}
                Err(unread) => {
                    self.problem(
                        key.path.to_owned(),
                        unread.to_string(),
                        "",
                        &format!("credential {}", path.display()),
                    );
                }
            }
        }
    }

    /// The variables of one place: those that services share first, so that the daemon's own win.
    fn variables(&mut self, place: &str, variables: BTreeMap<&OsStr, &OsStr>) {
        self.secret_files.next_layer();
        for (name, path) in SHARED {
            if let Some(value) = variables.get(OsStr::new(name)) {
                self.variable(place, name, path, value);
            }
        }
        self.secret_files.next_layer();
        for (name, value) in variables {
            let name = name.to_string_lossy();
            if let Some(path) = name.strip_prefix(PREFIX) {
                self.variable(place, &name, &path.to_ascii_lowercase().replace("__", "."), value);
            }
        }
    }

    fn variable(&mut self, place: &str, name: &str, path: &str, value: &OsStr) {
        let source = format!("{place} {name}");
        match value.to_str() {
            Some(value) => self.text(&source, path, value),
            None => self.problem(
                path.to_owned(),
                "the variable's value is not UTF-8".to_owned(),
                "",
                &source,
            ),
        }
    }

    fn flag(&mut self, assignment: &Assignment) {
        let Assignment { flag, path, value } = assignment;
        if path.is_empty()
            || path.contains(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
        {
            // Not quoted: it may be a URL with its password.
            let what = "not section.key=value".to_owned();
            return self.problem(
                format!("flag {flag}"),
                what,
                "for example --set ingest.prefetch=500",
                "",
            );
        }
        let source =
            if flag == "--set" { format!("flag --set {path}") } else { format!("flag {flag}") };
        self.text(&source, path, value);
    }

    /// A value that arrived as text: what it means depends on the key.
    fn text(&mut self, source: &str, path: &str, text: &str) {
        match key::find(path) {
            Some(key) => self.value(source, path, typed(key, text)),
            None => self.value(source, path, text.into()),
        }
    }

    fn value(&mut self, source: &str, path: &str, value: Value) {
        let Some(key) = key::find(path) else {
            return match key::of_file(path) {
                Some(key) => self.secret_file(source, key, &value),
                None => self.unknown(path, source),
            };
        };
        let value = match value {
            Value::String(_, text) if key.optional && text.is_empty() => absent(),
            value => value,
        };
        if key.secret {
            if matches!(value, Value::Empty(..)) {
                self.secret_files.unset(key);
            } else {
                self.problems.extend(self.secret_files.value(key, source).err());
            }
        }
        self.merge(source, key, value);
    }

    /// A key that names the file of a secret.
    fn secret_file(&mut self, source: &str, key: &'static Key, value: &Value) {
        let problem = match value.as_str() {
            Some("") => return self.secret_files.unset_file(key),
            Some(path) if path.starts_with('/') => self.secret_files.file(key, source, path).err(),
            // Not quoted: it may be the secret itself.
            Some(_) => Some(not_a_file(key, "it does not begin with /", source)),
            None => Some(not_a_file(key, "it is not a string", source)),
        };
        self.problems.extend(problem);
    }

    fn read_secret_files(&mut self) {
        for read in std::mem::take(&mut self.secret_files).read() {
            match read {
                Ok(Found { key, source, text }) => self.merge(&source, key, text.into()),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn merge(&mut self, source: &str, key: &'static Key, value: Value) {
        let figment = std::mem::take(&mut self.figment);
        self.figment = figment.merge(One { source: source.to_owned(), key, value });
    }

    fn unknown(&mut self, path: &str, source: &str) {
        let hint =
            key::suggest(path).map_or(String::new(), |known| format!(" (did you mean `{known}`?)"));
        let section = path.split('.').next().unwrap_or_default();
        let allowed: Vec<_> = if key::is_section(section) {
            key::all().filter(|key| key.parts().0 == section).flat_map(Key::names).collect()
        } else {
            let mut sections: Vec<_> = key::all().map(|key| key.parts().0.to_owned()).collect();
            sections.dedup();
            sections
        };
        let what = if key::is_section(section) { "unknown key" } else { "unknown section" };
        self.problem(path.to_owned(), format!("{what}{hint}"), &allowed.join(", "), source);
    }

    fn problem(&mut self, subject: String, what: String, allowed: &str, source: &str) {
        self.problems.push(Problem::new(&subject, &what, allowed, source));
    }
}

/// What an absent optional value looks like to figment.
pub(super) fn absent() -> Value {
    Value::Empty(Tag::Default, Empty::None)
}

/// The text as a value of the key's kind; as itself where it is no such value, for the check that follows.
fn typed(key: &Key, text: &str) -> Value {
    let trimmed = text.trim();
    match key.kind {
        Kind::Integer | Kind::Size => {
            trimmed.parse::<i64>().map_or_else(|_| text.into(), Value::from)
        }
        Kind::Bool => trimmed.parse::<bool>().map_or_else(|_| text.into(), Value::from),
        Kind::List if key.optional && trimmed.is_empty() => absent(),
        Kind::List if trimmed.starts_with('[') => {
            let array = toml::from_str::<Dict>(&format!("list = {trimmed}"));
            array.ok().and_then(|mut dict| dict.remove("list")).unwrap_or_else(|| text.into())
        }
        Kind::List => {
            let parts = trimmed.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(Value::from).collect::<Vec<_>>().into()
        }
        Kind::Text | Kind::File(_) | Kind::Choice(_) | Kind::Duration => text.into(),
    }
}

/// One key's value as a figment layer of its own, so that figment remembers its source.
pub(super) struct One {
    pub source: String,
    pub key: &'static Key,
    pub value: Value,
}

impl Provider for One {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let (section, name) = self.key.parts();
        let keys = Dict::from([(name.to_owned(), self.value.clone())]);
        Ok(Map::from([(Profile::Default, Dict::from([(section.to_owned(), keys.into())]))]))
    }
}
