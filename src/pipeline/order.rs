//! Order: whose turn it is, and whether a batch may be committed beside the one before it, and so perhaps earlier.
//!
//! What an event is to the history, new, a duplicate or in conflict, follows from what was stored before it under its id. So that
//! this goes by the order of arrival, also where two batches are under way at once, such two have no id in common.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    batch::Wanted,
    settle::{Attempt, attempt},
};
use crate::{
    event::EventId,
    store::{Append, Batch, Commit, Fault},
};

/// For how long nothing is tried ahead of its turn after that failed: there may be no second connection to be had.
const PAUSE: Duration = Duration::from_secs(10);

/// For how long the second connection is kept for another batch: an idle one may have ended without anyone's notice.
const KEPT: Duration = Duration::from_secs(60);

/// The batches under way, in order.
#[derive(Default)]
pub(super) struct Order {
    /// Those under way are not to wait for numbers any more.
    halt: CancellationToken,
    /// The last of them has its numbers.
    numbered: CancellationToken,
    before: Option<Before>,
    /// Nothing is tried ahead of its turn until then.
    paused: Option<Instant>,
    /// When a batch was sent ahead of its turn last.
    ahead_at: Option<Instant>,
}

/// Where a batch stands in the order.
pub(super) struct Place {
    halt: CancellationToken,
    numbered_before: CancellationToken,
    /// To be cancelled when its events have their numbers.
    pub numbered: CancellationToken,
    /// The batch before it; none where it is its turn already.
    pub ahead_of: Option<Before>,
}

impl Order {
    /// What is wanted beside so many batches under way.
    pub fn wanted(&self, under_way: usize) -> Wanted {
        let paused = self.paused.is_some_and(|until| Instant::now() < until);
        match under_way {
            0 => Wanted::Any,
            1 if !paused => Wanted::Full,
            _ => Wanted::Nothing,
        }
    }

    /// The place of this batch, behind so many others.
    pub fn place(&mut self, batch: &Batch, under_way: usize) -> Place {
        let before = self.before.replace(Before::of(batch));
        let numbered = CancellationToken::new();
        let numbered_before = std::mem::replace(&mut self.numbered, numbered.clone());
        let ahead_of = before.filter(|_| under_way > 0);
        if ahead_of.is_some() {
            self.ahead_at = Some(Instant::now());
        }
        Place { halt: self.halt.clone(), numbered_before, numbered, ahead_of }
    }

    /// Whether the second connection, which is idle now, is not to be used again. Says so once.
    pub fn gives_up_second(&mut self) -> bool {
        self.ahead_at.take_if(|at| at.elapsed() > KEPT).is_some()
    }

    /// A batch was not committed ahead of its turn: by this fault, unless it had to wait. It may not have its numbers yet, so
    /// what is behind it has to wait for its own turn, too.
    pub fn not_yet(&mut self, fault: Option<&Fault>) {
        std::mem::take(&mut self.halt).cancel();
        if let Some(fault) = fault {
            debug!(cause = %fault, "a batch could not be committed ahead of its turn, and is tried again in it");
            self.paused = Some(Instant::now() + PAUSE);
        }
    }

    /// Nobody waits for numbers any more.
    pub fn end(&self) {
        self.halt.cancel();
    }
}

impl Place {
    /// Commits a batch ahead of its turn, and tells how long that took. `None` where it has to wait for it.
    pub async fn attempt(
        &self,
        writer: &mut impl Append,
        batch: &mut Batch,
    ) -> Result<Option<(Commit, Duration)>, Fault> {
        if !self.ahead_of.as_ref().is_some_and(|before| before.is_apart_from(batch)) {
            return Ok(None);
        }
        tokio::select! {
            biased;
            () = self.numbered_before.cancelled() => {}
            () = self.halt.cancelled() => return Ok(None),
        }
        let begun = Instant::now();
        Ok(match attempt(writer, batch, &self.numbered).await? {
            Attempt::Committed(commit) => Some((commit, begun.elapsed())),
            Attempt::Spans { .. } => None,
        })
    }
}

/// What has to be known of a batch by the one behind it.
pub(super) struct Before {
    /// Hashes of its ids: where two happen to be the same, a batch waits for its turn.
    ids: HashSet<u64>,
    hasher: RandomState,
}

impl Before {
    fn of(batch: &Batch) -> Before {
        let hasher = RandomState::new();
        let ids = ids(batch).map(|id| hasher.hash_one(id)).collect();
        Before { ids, hasher }
    }

    fn is_apart_from(&self, batch: &Batch) -> bool {
        ids(batch).all(|id| !self.ids.contains(&self.hasher.hash_one(id)))
    }
}

fn ids(batch: &Batch) -> impl Iterator<Item = &EventId> {
    batch.entries().iter().filter_map(|entry| entry.event().id.as_ref())
}

#[cfg(test)]
mod tests {
    use super::Order;
    use crate::{
        event::{Envelope, Event, Preset},
        pipeline::tests::delivery,
        store::{Batch, Entry},
    };
    use serde_json::json;

    fn batch(ids: &[Option<&str>]) -> Batch {
        let envelope = Envelope::preset(Preset::Bloodbank);
        let entry = |id: &Option<&str>| {
            let delivery = delivery(json!({"event_id": id}).to_string());
            Entry::Event(Event::from_delivery(delivery, &envelope))
        };
        Batch::new(ids.iter().map(entry).collect())
    }

    #[test]
    fn who_shares_an_id_with_the_one_before_is_not_ahead_of_it() {
        let mut order = Order::default();
        let first = order.place(&batch(&[Some("a"), None, Some("b")]), 0);
        assert!(first.ahead_of.is_none(), "there is none before it");
        let second = batch(&[Some("c"), None]);
        let place = order.place(&second, 1);
        // Events without an id are no duplicates of each other.
        assert!(place.ahead_of.is_some_and(|before| before.is_apart_from(&second)));
        let third = batch(&[Some("d"), Some("c")]);
        let place = order.place(&third, 1);
        assert!(place.ahead_of.is_some_and(|before| !before.is_apart_from(&third)));
    }
}
