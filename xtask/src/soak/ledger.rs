//! What was published, as a multiset, and what the broker said to it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use super::mix::{Event, Key};
use crate::history::Digest;

/// Ids to look for after a fault; any of them tells that events are stored again.
const MOST_PROBES: usize = 32;

/// The record of one run: some 100 bytes for each different event.
#[derive(Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    entries: HashMap<Key, Entry>,
    refused_bodies: HashMap<Digest, Key>,
    published: u64,
    confirmed: u64,
    probe: Option<Probe>,
}

/// Events confirmed since they were published after a moment.
struct Probe {
    since: Instant,
    ids: Vec<Uuid>,
}

/// What was published of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number under which it was first published.
    pub number: u32,
    /// How often it was handed to the broker: it may be there as often.
    pub published: u32,
    /// How often the broker said that it has it: so often it must be there.
    pub confirmed: u32,
    /// Whether it has an id.
    pub has_id: bool,
    /// Whether the database refuses it.
    pub refused: bool,
}

/// A publish that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// The event's number.
    pub number: u32,
    key: Key,
    uuid: Option<Uuid>,
    at: Instant,
}

/// What was published, when all is over.
#[derive(Debug, Default)]
pub struct Records {
    /// Everything, by what it is recognised by.
    pub entries: HashMap<Key, Entry>,
    /// What the database refuses, by the SHA-256 of its body; no two have the same.
    pub refused_bodies: HashMap<Digest, Key>,
}

impl Ledger {
    /// Notes an event that is about to be sent.
    pub fn publish(&self, number: u32, event: &Event) -> Pending {
        let (digest, key) = (event.digest(), event.key());
        let mut inner = self.inner();
        inner.published += 1;
        let new = Entry {
            number,
            published: 0,
            confirmed: 0,
            has_id: event.id.is_some(),
            refused: event.refused,
        };
        inner.entries.entry(key).or_insert(new).published += 1;
        if event.refused {
            inner.refused_bodies.insert(digest, key);
        }
        Pending { number, key, uuid: event.uuid(), at: Instant::now() }
    }

    /// Notes that the broker has taken it.
    pub fn confirm(&self, pending: &Pending) {
        let mut inner = self.inner();
        inner.confirmed += 1;
        if let Some(entry) = inner.entries.get_mut(&pending.key) {
            entry.confirmed += 1;
        }
        if let (Some(probe), Some(uuid)) = (&mut inner.probe, pending.uuid)
            && pending.at >= probe.since
            && probe.ids.len() < MOST_PROBES
        {
            probe.ids.push(uuid);
        }
    }

    /// Collects ids of what is published from now on, or no longer.
    pub fn probe(&self, since: Option<Instant>) {
        self.inner().probe = since.map(|since| Probe { since, ids: Vec::new() });
    }

    /// The ids collected so far.
    pub fn probed(&self) -> Vec<Uuid> {
        self.inner().probe.as_ref().map(|probe| probe.ids.clone()).unwrap_or_default()
    }

    /// How many were handed to the broker, and how many of them it has taken.
    pub fn totals(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.published, inner.confirmed)
    }

    /// Takes everything out, when nothing is published any more.
    pub fn close(&self) -> Records {
        let mut inner = self.inner();
        Records {
            entries: std::mem::take(&mut inner.entries),
            refused_bodies: std::mem::take(&mut inner.refused_bodies),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
