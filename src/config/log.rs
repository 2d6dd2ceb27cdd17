//! `[log]`: what is logged, and where to.

use std::path::PathBuf;

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
    /// Where rolling files go besides stderr; none where absent.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// When a new file is begun, by the clock in UTC.
    pub rotation: Rotation,
    /// Files kept, the present one included, 1 to 10000; without meaning where `rotation` is `never`.
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
    Key::new("log.directory", Kind::Text, "the path of a directory").optional(),
    Key::new("log.rotation", Kind::Choice(&["daily", "hourly", "never"]), ""),
    Key::new("log.keep_files", Kind::Integer, "a whole number from 1 to 10000"),
];

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    if level.trim().is_empty() {
        return Err(de::Error::custom("the filter is empty"));
    }
    // EnvFilter takes a bare unknown word for a target and silences everything else: a typo of `info` would
    // leave a daemon without a log.
    for directive in level.split(',').map(str::trim) {
        let target = directive.split(['=', '[']).next().unwrap_or_default();
        if target.len() < directive.len() {
            if !target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-{}. ".contains(c)) {
                return Err(de::Error::custom(format!(
                    "{target:?} is no target, such as sqlx::query"
                )));
            }
        } else if !LEVELS.iter().any(|level| target.eq_ignore_ascii_case(level)) {
            let hint = closest(target, LEVELS)
                .map_or(String::new(), |level| format!(" (did you mean `{level}`?)"));
            return Err(de::Error::custom(format!("{target:?} is no level{hint}")));
        }
    }
    EnvFilter::builder()
        .parse(&level)
        .map_err(|error| de::Error::custom(format!("{level:?}: {error}")))?;
    Ok(level)
}

fn keep_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    units::whole(deserializer, 1, 10_000)
}
