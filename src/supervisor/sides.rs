//! The two sides, broker and PostgreSQL: whether each can be used, and since when.

use std::sync::{Mutex, MutexGuard, PoisonError};

use metrics::counter;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{event::now, measures::FAILURES};

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Broker,
    Postgres,
}

impl Side {
    /// Its name, also as a label.
    pub fn name(self) -> &'static str {
        match self {
            Side::Broker => "broker",
            Side::Postgres => "postgres",
        }
    }
}

/// Whether one side can be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usable {
    /// It could be used when it was tried last.
    pub usable: bool,
    /// Since when that is so.
    #[serde(serialize_with = "super::status::utc")]
    pub since: OffsetDateTime,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How often it came to be usable.
    pub connections: u64,
}

/// Both.
#[derive(Debug)]
pub(super) struct Sides([Mutex<Usable>; 2]);

impl Default for Sides {
    fn default() -> Sides {
        let unknown = || {
            let cause = Some("it has not been reached yet".to_owned());
            Mutex::new(Usable { usable: false, since: now(), cause, connections: 0 })
        };
        Sides([unknown(), unknown()])
    }
}

impl Sides {
    /// It could be used just now.
    pub fn there(&self, side: Side) {
        let mut was = self.lock(side);
        if !was.usable {
            *was = Usable {
                usable: true,
                since: now(),
                cause: None,
                connections: was.connections + 1,
            };
        }
    }

    /// It could not be used just now. `kind` is one of few words, which count as a label; `cause` says more.
    pub fn away(&self, side: Side, kind: &str, cause: &str) {
        let mut was = self.lock(side);
        // The latest cause tells what is to be mended; since when tells how bad it is.
        let since = if was.usable { now() } else { was.since };
        *was = Usable {
            usable: false,
            since,
            cause: Some(cause.to_owned()),
            connections: was.connections,
        };
        counter!(FAILURES, "side" => side.name(), "cause" => kind.to_owned()).increment(1);
    }

    /// Whether it can be used.
    pub fn of(&self, side: Side) -> Usable {
        self.lock(side).clone()
    }

    fn lock(&self, side: Side) -> MutexGuard<'_, Usable> {
        self.0[side as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
