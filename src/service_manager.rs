//! The service manager (systemd's `sd_notify` protocol): ready, what is being done, still alive, stopping. Without one
//! that listens, nothing is said.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::warn;

/// What the service manager is told. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    ready: AtomicBool,
    unheard: AtomicBool,
}

impl ServiceManager {
    /// How long it waits for a sign of life before it ends the process; `None` where it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
    }

    /// What the daemon does now, in one line.
    pub fn status(&self, text: &str) {
        let text = one_line(text);
        self.tell(&[NotifyState::Status(&text)]);
    }

    /// The daemon does what it is for. Told once.
    pub fn ready(&self) {
        if !self.0.ready.swap(true, Ordering::Relaxed) {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// Runs `reload`, and says that this is done and when it is over; while it still starts it says nothing of it.
    pub fn reloading(&self, reload: impl FnOnce()) {
        let ready = self.0.ready.load(Ordering::Relaxed);
        if ready {
            match NotifyState::monotonic_usec_now() {
                Ok(now) => self.tell(&[NotifyState::Reloading, now]),
                Err(error) => self.unheard(&error),
            }
        }
        reload();
        if ready {
            self.tell(&[NotifyState::Ready]);
        }
    }

    /// The daemon is stopping, and may take so long.
    pub fn stopping(&self, limit: Duration) {
        let limit = limit.as_micros().try_into().unwrap_or(u32::MAX);
        self.tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit)]);
    }

    /// It lives and gets on.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    fn tell(&self, what: &[NotifyState]) {
        match sd_notify::notify(what) {
            Ok(()) => self.0.unheard.store(false, Ordering::Relaxed),
            Err(error) => self.unheard(&error),
        }
    }

    /// Said once, until it is heard again.
    fn unheard(&self, error: &io::Error) {
        if !self.0.unheard.swap(true, Ordering::Relaxed) {
            warn!(%error, "the service manager does not hear: what NOTIFY_SOCKET names takes no message");
        }
    }
}

/// A message is lines of its own, and a status quotes what brokers and databases say.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_status_cannot_say_anything_else() {
        assert_eq!(
            one_line("away: it said\nREADY=1\r\tMAINPID=1"),
            "away: it said READY=1  MAINPID=1"
        );
    }
}
