//! `[log]`: what is logged, and where to.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};
use tracing_subscriber::EnvFilter;

use super::key::{Key, Kind, closest};
use super::units;

/// What is logged, and where to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks, on stderr and in the files.
    pub format: LogFormat,
    /// What is logged, in the syntax of tracing's `EnvFilter`; it has been parsed once.
    #[serde(deserialize_with = "level")]
    pub level: String,
    /// Other levels for single modules and what is below them, `target=level`; each has been parsed once.
    #[serde(deserialize_with = "filter")]
    pub filter: Vec<String>,
    /// Where rolling files go besides stderr; none where absent.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// When a new file is begun, by the clock in UTC.
    pub rotation: Rotation,
    /// Bytes after which a new file is begun, too, 4 KiB to 1 TiB; none where files may grow.
    #[serde(default, deserialize_with = "max_size")]
    pub max_size: Option<ByteSize>,
    /// Files kept, the present one included, 1 to 10000; without meaning where `rotation` is `never` and there is no `max_size`.
    #[serde(deserialize_with = "keep_files")]
    pub keep_files: usize,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For reading; coloured only on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// When a new log file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// At midnight UTC.
    Daily,
    /// At every full hour.
    Hourly,
    /// Never: one file, for logrotate and SIGHUP.
    Never,
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

pub(super) const KEYS: &[Key] = &[
    Key::new("log.format", Kind::Choice(&["human", "json"]), ""),
    Key::new(
        "log.level",
        Kind::Text,
        "off, error, warn, info, debug or trace, then perhaps \",target=level\"",
    )
    .on_reload(),
    Key::new(
        "log.filter",
        Kind::List,
        "a list of target=level, such as [\"bloodbank_audit::broker=debug\", \"sqlx=warn\"]",
    )
    .on_reload(),
    Key::new("log.directory", Kind::Text, "the path of a directory").optional(),
    Key::new("log.rotation", Kind::Choice(&["daily", "hourly", "never"]), ""),
    Key::new("log.max_size", Kind::Size, "a size from 4 KiB to 1 TiB, such as \"100 MiB\"")
        .optional(),
    Key::new("log.keep_files", Kind::Integer, "a whole number from 1 to 10000"),
];

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    if level.trim().is_empty() {
        return Err(de::Error::custom("the filter is empty"));
    }
    for directive in level.split(',').map(str::trim) {
        if !of_target(directive).map_err(de::Error::custom)? {
            a_level(directive).map_err(de::Error::custom)?;
        }
    }
    parsed(&level).map_err(de::Error::custom)?;
    Ok(level)
}

fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let filter = Vec::<String>::deserialize(deserializer)?;
    for directive in &filter {
        let of_target = of_target(directive).map_err(de::Error::custom)?;
        let level = directive.rsplit_once('=').map(|(_, level)| level.trim());
        match level.filter(|_| of_target && !directive.contains(',')) {
            Some(level) => a_level(level).map_err(de::Error::custom)?,
            None => {
                let what =
                    format!("{directive:?} is not target=level; log.level is for all others");
                return Err(de::Error::custom(what));
            }
        }
        parsed(directive).map_err(de::Error::custom)?;
    }
    Ok(filter)
}

/// Whether a directive is for one target only.
fn of_target(directive: &str) -> Result<bool, String> {
    let target = directive.split(['=', '[']).next().unwrap_or_default();
    if target.len() == directive.len() {
        return Ok(false);
    }
    if !target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-{}. ".contains(c)) {
        return Err(format!("{target:?} is no target, such as sqlx::query"));
    }
    Ok(true)
}

/// `EnvFilter` takes a bare unknown word for a target and silences everything else: a typo of `info` would leave a daemon
/// without a log.
fn a_level(word: &str) -> Result<(), String> {
    if LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)) {
        return Ok(());
    }
    let hint =
        closest(word, LEVELS).map_or(String::new(), |level| format!(" (did you mean `{level}`?)"));
    Err(format!("{word:?} is no level{hint}"))
}

fn parsed(directives: &str) -> Result<(), String> {
    let parsed = EnvFilter::builder().parse(directives);
    parsed.map(drop).map_err(|error| format!("{directives:?}: {error}"))
}

fn max_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    #[derive(Deserialize)]
    struct Size(#[serde(deserialize_with = "units::size")] ByteSize);
    match Option::<Size>::deserialize(deserializer)? {
        Some(Size(size)) if !(ByteSize::kib(4)..=ByteSize::tib(1)).contains(&size) => {
            Err(de::Error::custom(format!("{size} is out of range")))
        }
        size => Ok(size.map(|Size(size)| size)),
    }
}

fn keep_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    units::whole(deserializer, 1, 10_000)
}
