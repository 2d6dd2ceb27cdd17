//! Cover: which batches are in a checkpoint outside of the database, and which somebody waits for.
//!
//! The pipeline says what it waits for, whoever seals and hands out checkpoints says how far they have come. Neither waits for
//! the other: both read what was said last.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::store::{BatchName, LaneState};

/// What is waited for, and what of it is known. One for the life of the daemon.
#[derive(Debug, Default)]
pub struct Cover {
    wanted: watch::Sender<Wanted>,
    known: watch::Sender<HashMap<Uuid, Known>>,
    sealed: Notify,
}

/// Batches that are waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The last one of each lane.
    pub lanes: BTreeMap<Uuid, i64>,
    /// Nothing else can be done before this one is outside: it is worth a seal and a checkpoint of its own.
    pub hurry: Option<BatchName>,
}

/// What is known of a lane.
#[derive(Debug, Clone, Copy)]
struct Known {
    covered: i64,
    /// The last one that is on record, where that should be a later one.
    cut_at: Option<i64>,
}

/// How a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody outside knows of it, as far as is known.
    Inside,
    /// It is in a checkpoint outside.
    Outside,
    /// The database does not have it any more, although it was committed.
    Gone,
}

impl Cover {
    /// What is waited for now.
    pub fn wanted(&self) -> Wanted {
        self.wanted.borrow().clone()
    }

    /// Tells when another lane is waited for, or something else is in a hurry.
    pub fn wants(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// So these lanes stand, of which so much was waited for when it was asked for.
    pub fn learn(&self, wanted: &Wanted, states: Vec<LaneState>) {
        let known = states.into_iter().map(|LaneState { lane, covered, committed }| {
            let last = wanted.lanes.get(&lane).copied().unwrap_or_default();
            (lane, Known { covered, cut_at: (committed < last).then_some(committed) })
        });
        self.known.send_replace(known.collect());
    }

    /// There may be another seal, which somebody is in a hurry for.
    pub fn may_be_sealed(&self) {
        self.sealed.notify_one();
    }

    /// Waits until there may be one.
    pub async fn perhaps_sealed(&self) {
        self.sealed.notified().await;
    }

    /// Nothing is waited for any more.
    pub fn want_nothing(&self) {
        self.wanted.send_if_modified(|wanted| {
            std::mem::take(wanted);
            false
        });
    }

    /// Waits until all that is waited for is outside, or gone.
    pub async fn nothing_inside(&self) {
        let wanted = self.wanted();
        let name = |(&lane, &number): (&Uuid, &i64)| BatchName { lane, number };
        let settled = |known: &HashMap<Uuid, Known>| {
            wanted.lanes.iter().map(name).all(|batch| standing(known, batch) != Standing::Inside)
        };
        // The sender is in here, too.
        let _ = self.known.subscribe().wait_for(settled).await;
    }

    pub(super) fn standing(&self, batch: BatchName) -> Standing {
        standing(&self.known.borrow(), batch)
    }

    /// Tells when more is known.
    pub(super) fn known(&self) -> watch::Receiver<impl Sized + use<>> {
        self.known.subscribe()
    }

    /// This one is waited for, behind all of its lane.
    pub(super) fn want(&self, batch: BatchName) {
        self.wanted
            .send_if_modified(|wanted| wanted.lanes.insert(batch.lane, batch.number).is_none());
    }

    /// This one is not waited for any more, and none before it.
    pub(super) fn has(&self, batch: BatchName) {
        self.wanted.send_if_modified(|wanted| {
            if wanted.lanes.get(&batch.lane) == Some(&batch.number) {
                wanted.lanes.remove(&batch.lane);
            }
            false
        });
    }

    /// Whether, and for which batch, nothing else can be done meanwhile.
    pub(super) fn hurry(&self, batch: Option<BatchName>) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(&mut wanted.hurry, batch) != batch);
    }
}

fn standing(known: &HashMap<Uuid, Known>, batch: BatchName) -> Standing {
    match known.get(&batch.lane) {
        Some(known) if batch.number <= known.covered => Standing::Outside,
        Some(Known { cut_at: Some(last), .. }) if batch.number > *last => Standing::Gone,
        _ => Standing::Inside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_gone_only_where_it_was_waited_for_when_the_database_was_asked() {
        let (cover, lane) = (Cover::default(), Uuid::now_v7());
        let batch = |number| BatchName { lane, number };
        let state = |covered, committed| vec![LaneState { lane, covered, committed }];
        assert_eq!(cover.standing(batch(1)), Standing::Inside);
        cover.want(batch(3));
        let asked = cover.wanted();
        // Committed after the database was asked.
        cover.want(batch(4));
        cover.learn(&asked, state(2, 3));
        let standings = [2, 3, 4].map(|number| cover.standing(batch(number)));
        assert_eq!(standings, [Standing::Outside, Standing::Inside, Standing::Inside]);
        cover.learn(&cover.wanted(), state(2, 3));
        let standings = [2, 3, 4].map(|number| cover.standing(batch(number)));
        assert_eq!(standings, [Standing::Outside, Standing::Inside, Standing::Gone]);
    }

    #[test]
    fn lanes_are_waited_for_until_their_last_batch_is_outside() {
        let (cover, lane) = (Cover::default(), Uuid::now_v7());
        let mut wants = cover.wants();
        let batch = |number| BatchName { lane, number };
        cover.want(batch(1));
        assert!(wants.has_changed().unwrap(), "another lane");
        wants.mark_unchanged();
        cover.want(batch(2));
        assert!(!wants.has_changed().unwrap(), "more of the same lane");
        cover.has(batch(1));
        assert_eq!(cover.wanted().lanes, [(lane, 2)].into());
        cover.has(batch(2));
        assert_eq!(cover.wanted(), Wanted::default());
        cover.hurry(Some(batch(3)));
        assert!(wants.has_changed().unwrap());
        wants.mark_unchanged();
        cover.hurry(Some(batch(3)));
        assert!(!wants.has_changed().unwrap(), "as before");
    }
}
