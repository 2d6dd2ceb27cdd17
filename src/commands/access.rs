//! Who looked: commands that hand out events, or change what there is, leave a row in `audit.access_log`.
//!
//! The row is committed before the first event is handed out, and says how many there were when all are. Where it cannot
//! be written, nothing is handed out.

use std::os::unix::fs::MetadataExt as _;

use anyhow::Context as _;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{overview::exact, settings};
use crate::{
    config::Config,
    store::{Access, Filter, NotedAccess},
};

/// What to say where nobody may be let in.
pub const NOT_NOTED: &str = "this leaves a row in audit.access_log, which cannot be written, so nothing is handed out (the \
                             schema's owner gives the right by `select audit.grant_reader('role')`; a standby takes no rows)";

/// What to say where an access cannot be ended.
pub const NOT_ENDED: &str =
    "all of it was handed out, but audit.access_log does not say so, since it cannot be written";

/// What is done with the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// They are looked at: noted only with `access_log.reads = true`.
    Read,
    /// They leave the history, or something is done with them: always noted.
    Export,
}

/// A command's use of the history, noted where it is to be.
#[derive(Debug)]
#[must_use = "an access that is not ended looks as if it had been broken off"]
pub struct Noted(Option<NotedAccess>);

impl Noted {
    /// Notes that `command` begins, and by which options it chooses events.
    ///
    /// # Errors
    /// It has to be noted and cannot be: then the command must not go on. [`crate::store::Fault`] says why.
    pub async fn begin(
        config: &Config,
        purpose: Purpose,
        command: &str,
        filter: Map<String, Value>,
    ) -> anyhow::Result<Noted> {
        if purpose == Purpose::Read && !config.access_log.reads {
            return Ok(Noted(None));
        }
        let (store, access) = (settings::store(config)?, access(command, filter));
        let noted = NotedAccess::begin(&store, &access).await.context(NOT_NOTED)?;
        Ok(Noted(Some(noted)))
    }

    /// Notes how many events were handed out in all.
    ///
    /// # Errors
    /// It cannot be noted. What was handed out is complete.
    pub async fn end(self, events: u64) -> anyhow::Result<()> {
        let Some(noted) = self.0 else { return Ok(()) };
        noted.end(events).await.context(NOT_ENDED)
    }
}

/// Who runs this command, and by which options it chooses events.
pub fn access(command: &str, filter: Map<String, Value>) -> Access {
    Access {
        os_user: os_user(),
        host: settings::host_name(),
        command: command.to_owned(),
        filter: Value::Object(filter).to_string(),
    }
}

/// What of a filter is set, under the names of the options.
pub fn filter_json(filter: &Filter) -> Map<String, Value> {
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let time = |at: Option<OffsetDateTime>| at.map(exact).map(Value::from);
    let flag = |set: bool| set.then_some(Value::Bool(true));
    let options = [
        ("type", text(&filter.event_type)),
        ("key", text(&filter.routing_key)),
        ("source", text(&filter.source)),
        ("id", text(&filter.id)),
        ("correlation", text(&filter.correlation)),
        ("since", time(filter.since)),
        ("until", time(filter.until)),
        ("malformed", flag(filter.malformed)),
        ("conflict", flag(filter.conflict)),
        ("replays", flag(filter.replays)),
        ("canaries", flag(filter.canaries)),
        ("where", text(&filter.condition)),
    ];
    let set = options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
}

/// Who runs this process: its name where the machine's list of users has it, and its number.
pub fn os_user() -> String {
    let Ok(process) = std::fs::metadata("/proc/self") else { return "unknown".to_owned() };
    let uid = process.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or(format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_somebody() {
        let user = os_user();
        assert!(!user.is_empty() && user != "unknown", "{user}");
    }
}
