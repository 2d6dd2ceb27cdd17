//! SIGHUP: the log is opened anew, and the configuration read again.

use tracing::{Level, enabled, error, info, warn};

use super::settings::Live;
use crate::{
    config::{Changes, Config, Environment, Flags, Loaded},
    telemetry::logs::LogHandle,
};

/// What a running daemon is configured by, and where it can be told of changes.
pub(super) struct Reload {
    pub flags: Flags,
    pub environment: Environment,
    /// What is in effect.
    pub running: Loaded,
    pub logs: LogHandle,
    pub live: Live,
}

impl Reload {
    /// Opens the log files anew, reads every layer of the configuration again, takes over what can change while the daemon
    /// runs, and names what needs a restart. Where the configuration is wrong, all stays as it was.
    pub fn reload(&mut self) {
        if let Err(error) = self.logs.reopen() {
            error!("the log is not reopened: {error}");
        }
        let newer = match Config::load(&self.flags, &self.environment) {
            Ok(newer) => newer,
            Err(error) => return error!("SIGHUP: nothing is taken over: {error:#}"),
        };
        let changes = self.running.changed_to(&newer);
        // Where the level changes, it is said while that can be seen.
        let seen = enabled!(Level::INFO);
        if seen {
            say(&changes);
        }
        self.running = changes.running.clone();
        if let Err(error) = self.logs.filter(&self.running.config.log) {
            error!("SIGHUP: {error}");
        }
        if let Err(fault) = self.live.set(&self.running.config) {
            error!("SIGHUP: {fault}");
        }
        if !seen {
            say(&changes);
        }
    }
}

fn say(Changes { taken_over, need_restart, .. }: &Changes) {
    match &taken_over[..] {
        [] => info!("SIGHUP: the configuration is read again, nothing of it is taken over"),
        keys => info!("SIGHUP: the configuration is read again, taken over: {}", keys.join(", ")),
    }
    if taken_over.iter().any(|key| key.ends_with(".url")) {
        info!(
            "SIGHUP: connections that stand go on, and the next ones log in as the configuration says now"
        );
    }
    if !need_restart.is_empty() {
        warn!(
            "SIGHUP: the configuration has changed, needs a restart: {}",
            need_restart.join(", ")
        );
    }
}
