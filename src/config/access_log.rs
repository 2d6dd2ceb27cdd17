//! `[access_log]`: what of reading leaves a trace.

use serde::Deserialize;

use super::key::{Key, Kind};

/// What of reading leaves a trace in `audit.access_log`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// Whether plain reading does, too, and not only exports and what changes something.
    pub reads: bool,
}

pub(super) const KEYS: &[Key] = &[Key::new("access_log.reads", Kind::Bool, "").in_commands()];
