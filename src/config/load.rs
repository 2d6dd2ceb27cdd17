//! Loading: the layers become a [`Config`], or every problem in them.

use std::fmt;

use figment::Figment;
use figment::value::Value;

use super::check::clashes;
use super::key::{self, Key, Kind, closest};
use super::layers::{Layers, One, absent, gather};
use super::problem::{ConfigError, Problem};
use super::{Config, Environment, Flags};

/// A valid configuration together with where each of its values came from.
#[derive(Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(super) figment: Figment,
}

impl fmt::Debug for Loaded {
    /// Without the layers: they hold the secrets as they were written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks everything, without any other effect.
    ///
    /// # Errors
    ///
    /// All problems at once: unknown keys of every layer, and of the values that would take effect the
    /// impossible ones, each with its key, its source and what is allowed.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Loaded, ConfigError> {
        let Layers { mut figment, mut problems, .. } = gather(flags, environment);
        let of_layers = problems.len();
        // Figment merges anew for each question.
        let merged = figment.extract::<Value>().ok();
        for key in key::all() {
            let value = merged.as_ref().and_then(|merged| merged.find_ref(key.path));
            if let Some(what) = misshapen(key, value) {
                problems.push(problem(&figment, key, what));
                figment = reset(figment, key);
            }
        }
        let config = extract(&mut figment, &mut problems);
        problems[of_layers..]
            .sort_by_key(|problem| key::all().position(|key| key.path == problem.subject()));
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, figment }),
            _ => Err(ConfigError::new(problems)),
        }
    }
}

/// Deserializes, and whenever a value is impossible puts the default in its place to find the next.
fn extract(figment: &mut Figment, problems: &mut Vec<Problem>) -> Option<Config> {
    // A key can fail once; its default, which a test has loaded, cannot.
    for _ in 0..=key::all().count() {
        let error = match figment.extract::<Config>() {
            Ok(config) => {
                let clashes = clashes(&config);
                problems.extend(clashes.iter().filter_map(|(path, what)| {
                    let key = key::find(path)?;
                    Some(Problem::new(path, what, "", &source(figment, key)))
                }));
                return Some(config);
            }
            Err(error) => error,
        };
        let path = error.path.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(".");
        let Some(key) = key::find(&path) else {
            problems.push(Problem::new(&path, &error.kind.to_string(), "", ""));
            return None;
        };
        problems.push(problem(figment, key, error.kind.to_string()));
        *figment = reset(std::mem::take(figment), key);
    }
    None
}

fn problem(figment: &Figment, key: &Key, what: String) -> Problem {
    Problem::new(key.path, &what, &key.allowed(), &source(figment, key))
}

fn source(figment: &Figment, key: &Key) -> String {
    figment.find_metadata(key.path).map_or(String::new(), |metadata| metadata.name.to_string())
}

/// The same layers with the key back at its default.
fn reset(figment: Figment, key: &'static Key) -> Figment {
    let defaults = gather(&Flags::default(), &Environment::empty()).figment;
    let value = defaults.find_value(key.path).unwrap_or_else(|_| absent());
    figment.merge(One { source: "default".to_owned(), key, value })
}

/// What is wrong with the value's type, or with the word of a choice. Figment would take some of these: a
/// number for the variant of that index, for one.
fn misshapen(key: &Key, value: Option<&Value>) -> Option<String> {
    let value = match value {
        None | Some(Value::Empty(..)) if key.optional => return None,
        None => return Some("it has no value".to_owned()),
        Some(value) => value,
    };
    let fits = match key.kind {
        Kind::Text | Kind::File(_) | Kind::Choice(_) | Kind::Duration => value.as_str().is_some(),
        Kind::Integer => value.to_i128().is_some(),
        Kind::Bool => value.to_bool().is_some(),
        Kind::List => {
            value.as_array().is_some_and(|items| items.iter().all(|item| item.as_str().is_some()))
        }
        Kind::Size => value.as_str().is_some() || value.to_i128().is_some(),
    };
    match (key.kind, value.as_str()) {
        _ if !fits => Some(format!("{} is not {}", found(key, value), wanted(key.kind))),
        (Kind::Choice(words), Some(word)) if !words.contains(&word) => {
            let near = closest(&word.to_lowercase(), words);
            let hint = near.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
            Some(format!("{word:?} is not one of the choices{hint}"))
        }
        _ => None,
    }
}

fn found(key: &Key, value: &Value) -> String {
    match value {
        _ if key.secret => "what is written there (not shown)".to_owned(),
        Value::String(_, text) => format!("the string {text:?}"),
        Value::Bool(_, truth) => format!("the bool {truth}"),
        Value::Num(_, number) => match number.to_f64() {
            Some(float) => format!("the number {float:?}"),
            None => format!("the number {}", value.to_i128().unwrap_or_default()),
        },
        Value::Array(..) => "the list there".to_owned(),
        Value::Dict(..) => "the table or date there".to_owned(),
        _ => "what is written there".to_owned(),
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::File(_) | Kind::Choice(_) => "a string",
        Kind::Integer => "a whole number",
        Kind::Bool => "true or false",
        Kind::List => "a list of strings",
        Kind::Duration => "a duration with its unit, in quotes",
        Kind::Size => "a size",
    }
}
