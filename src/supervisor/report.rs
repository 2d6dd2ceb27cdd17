//! Reports to the service manager, beside the sessions.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::{
    Settings,
    coverage::{Coverage, Present},
};
use crate::{
    event::rfc3339, pipeline::Pulse, service_manager::ServiceManager, signals::Stop, store::State,
};

/// What a stop may take beyond the grace period: its last words, and closing connections.
const BEYOND_GRACE: Duration = Duration::from_secs(10);

/// Says what the run does, that it gets on, and that it stops, until nothing more will be noted.
pub(super) async fn report(
    manager: &ServiceManager,
    settings: &Settings,
    coverage: &Coverage,
    pulse: &Pulse,
    stop: &Stop,
) {
    tokio::select! {
        () = coverage.ended() => {}
        () = say_what_is_done(manager, coverage) => {}
        () = say_that_it_lives(manager, settings, pulse) => {}
        () = say_that_it_stops(manager, settings, stop) => {}
    }
}

async fn say_what_is_done(manager: &ServiceManager, coverage: &Coverage) {
    let mut present = coverage.present();
    // The sender lives for as long as the coverage does.
    loop {
        let now = present.borrow_and_update().clone();
        if let Some(now) = now {
            manager.status(&line(&now));
            if now.state == State::Recording {
                manager.ready();
            }
        }
        if present.changed().await.is_err() {
            return;
        }
    }
}

fn line(now: &Present) -> String {
    format!("{} since {}: {}", now.state.as_str(), rfc3339(now.since), now.cause)
}

/// What is stuck for half of what the service manager allows gets no further sign of life, and is ended when all of that has
/// passed since the last one.
async fn say_that_it_lives(manager: &ServiceManager, settings: &Settings, pulse: &Pulse) {
    let Some(allowed) = manager.watchdog() else { return std::future::pending().await };
    let limit = allowed / 2;
    let attempt = settings.store.attempt();
    if limit < attempt {
        warn!(
            watchdog = %humantime::format_duration(allowed),
            "the service manager's watchdog is shorter than twice postgres.connect_timeout, for each host, and \
             postgres.statement_timeout: a slow database may be taken for a daemon that is stuck"
        );
    }
    let mut stuck = None;
    let mut ticks = interval((allowed / 6).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match pulse.stuck(limit) {
            None => {
                manager.alive();
                if stuck.take().is_some() {
                    info!("the pipeline gets on again");
                }
            }
            Some((stage, still)) if stuck != Some(stage) => {
                stuck = Some(stage);
                error!(
                    stage = stage.name(),
                    "a stage has been at one thing for {}: the service manager gets no sign of life any more, and will end \
                     this process",
                    humantime::format_duration(Duration::from_secs(still.as_secs()))
                );
            }
            Some(_) => {}
        }
    }
}

async fn say_that_it_stops(manager: &ServiceManager, settings: &Settings, stop: &Stop) {
    stop.soft.cancelled().await;
    manager.stopping(settings.grace.saturating_add(BEYOND_GRACE));
    std::future::pending().await
}
