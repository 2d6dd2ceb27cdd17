//! The broker's alarms: short of memory or disk it reads no more from whoever publishes, and delivers as before.
//!
//! RabbitMQ tells of it (`connection.blocked`) those alone that asked for it at their login, which the AMQP client does
//! not do, and that publish while it lasts. So there is a plain connection beside the session's that publishes an empty
//! message now and then, to nobody. Under an alarm the broker reads nothing from it, so it is good for nothing else.

mod line;

use std::future;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Kind, Settings};
use line::Line;

/// What is known of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// There is one: publishers are held up.
    Raised {
        /// The broker's words.
        cause: String,
    },
    /// There is none, or no longer.
    Over,
    /// Nothing is going to be heard during this session.
    Unheard {
        /// What the broker refuses, in words.
        why: String,
    },
}

/// Listens for alarms, for as long as a session lasts.
pub struct Alarms<'a> {
    settings: &'a Settings,
    ended: CancellationToken,
    line: Option<Line>,
    known: Option<Alarm>,
}

impl<'a> Alarms<'a> {
    /// For whoever publishes, until `ended` is cancelled.
    #[must_use]
    pub fn for_publisher(settings: &'a Settings, ended: CancellationToken) -> Alarms<'a> {
        Alarms::new(settings, ended)
    }

    /// `ended` says that the session has ended.
    pub(super) fn new(settings: &'a Settings, ended: CancellationToken) -> Alarms<'a> {
        Alarms { settings, ended, line: None, known: None }
    }

    /// Waits for what is known at first, and then for each change. An alarm is noticed within half a heartbeat interval,
    /// and its end at once. `None` once `done` is cancelled or the session has ended.
    pub async fn change(&mut self, done: &CancellationToken) -> Option<Alarm> {
        let ended = self.ended.clone();
        tokio::select! {
            biased;
            () = done.cancelled() => None,
            () = ended.cancelled() => None,
            alarm = self.listen() => Some(alarm),
        }
    }

    async fn listen(&mut self) -> Alarm {
        loop {
            if matches!(self.known, Some(Alarm::Unheard { .. })) {
                // Asking again would be refused again, with an error in the broker's log each time.
                return future::pending().await;
            }
            let line = match self.line.take() {
                Some(line) => Ok(line),
                None => Line::open(self.settings).await,
            };
            let heard = match line {
                Ok(line) => self.line.insert(line).hear().await,
                Err(fault) => Err(fault),
            };
            let alarm = match heard {
                Ok(alarm) => alarm,
                Err(fault) => match (fault.kind, self.line.take()) {
                    (Kind::Refused | Kind::Clash, line) => {
                        if let Some(line) = line {
                            line.close().await;
                        }
                        Alarm::Unheard { why: fault.message }
                    }
                    // The session's own end will say more.
                    (Kind::Unreachable | Kind::LostConsuming { .. }, _) => {
                        debug!(cause = %fault, "nothing is heard of the broker's alarms");
                        sleep(self.settings.heartbeat).await;
                        continue;
                    }
                },
            };
            if self.known.as_ref() != Some(&alarm) {
                self.known = Some(alarm.clone());
                return alarm;
            }
        }
    }

    /// Takes leave of the broker, unless that is gone.
    pub async fn close(self) {
        if let Some(line) = self.line
            && !self.ended.is_cancelled()
        {
            line.close().await;
        }
    }
}
