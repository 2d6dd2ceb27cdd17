//! The writer: one connection at a time, one transaction in flight.

use std::time::Duration;

use time::OffsetDateTime;

use super::{
    Append, Batch, Commit, Entry, Fault, Kind, Settings, Span,
    append::{self, Outcome, Target},
    batch::HeaderKey,
    dedupe::{self, Ids},
    lane::Lane,
    numbers::Numbers,
    replayed,
};
use crate::{
    event::{Delivery, now},
    ledger::BEGIN,
};

/// How long before the last commit of an earlier session a redelivered event may have been received, at least.
const LEAST_REDELIVERY_SLACK: Duration = Duration::from_secs(60 * 60);

/// What of it is for clocks that differ, and for a broker that ends a consumer somewhat late.
const REDELIVERY_LATENESS: Duration = Duration::from_secs(30 * 60);

/// How far the clocks of several daemons, or of one before and after it was set, may differ: so near to its end, an
/// event of this partition may have been stored in the next one.
const CLOCK_SLACK: Duration = Duration::from_secs(600);

/// How often a batch is compared anew because other writers keep storing its ids meanwhile.
const COMPARISONS: usize = 5;

/// Appends batches to PostgreSQL; connects when it has to.
#[derive(Debug)]
pub struct Writer {
    settings: Settings,
    lane: Option<Lane>,
    /// Shared with the writers beside this one.
    numbers: Numbers,
    /// Redelivered events may have been stored from here on. Asked of the database once a session, before it commits
    /// anything: later the answer would be its own last commit.
    redelivery_horizon: Option<OffsetDateTime>,
}

impl Writer {
    /// A writer that is not connected yet.
    pub fn new(settings: Settings) -> Writer {
        Writer { settings, lane: None, numbers: Numbers::new(), redelivery_horizon: None }
    }

    /// Makes sure that events can be stored, before the broker is asked for any: a delivery that is taken and cannot
    /// be stored goes back, and the broker counts how often.
    ///
    /// Deliveries from now on come from a new session; those marked as redelivered may have been stored by an earlier
    /// one. Where the last one ended over a batch that could not be stored, that very batch is compared and tried too: it
    /// will come again, and a database that takes one small row need not have room for it, nor let go of the partition
    /// where it may be stored already.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn begin_session(&mut self, unstored: Option<&Batch>) -> Result<(), Fault> {
        let unstored = unstored.map_or(&[][..], Batch::entries);
        self.redelivery_horizon = None;
        self.numbers = Numbers::new();
        let at = now();
        let rehearsed = self.rehearse(at, unstored).await;
        if self.mended(&rehearsed, at).await? {
            return self.rehearse(at, unstored).await;
        }
        rehearsed
    }

    async fn rehearse(&mut self, at: OffsetDateTime, unstored: &[Entry]) -> Result<(), Fault> {
        self.guarded(async |writer| {
            let horizon = writer.horizon().await?;
            let ledger = writer.settings.ledger.clone();
            let lane = writer.lane().await?;
            let span = lane.partition(at).await?;
            let since = span.previous.min(horizon);
            dedupe::compare(&mut lane.link, unstored, &Ids::of(unstored), since, |_| false).await?;
            append::rehearse(&mut lane.link, ledger.as_ref(), lane.id, at, unstored).await
        })
        .await
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        if let Some(lane) = self.lane {
            lane.link.close().await;
        }
    }

    async fn lane(&mut self) -> Result<&mut Lane, Fault> {
        let lane = match self.lane.take() {
            Some(lane) => lane,
            None => {
                let mut lane = Lane::open(&self.settings).await?;
                self.numbers.begin_connection(&mut lane.link).await?;
                lane
            }
        };
        Ok(self.lane.insert(lane))
    }

    async fn horizon(&mut self) -> Result<OffsetDateTime, Fault> {
        if let Some(horizon) = self.redelivery_horizon {
            return Ok(horizon);
        }
        let last = self.lane().await?.last_commit().await?;
        Ok(*self
            .redelivery_horizon
            .insert(last.unwrap_or_else(now) - redelivery_slack(&self.settings)))
    }

    /// Gives up the connection where it may be unusable after `work`, and clears the way where it waited for too long.
    async fn guarded<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Writer) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let result = work(self).await;
        let Err(fault) = &result else { return result };
        let cleared = match &mut self.lane {
            Some(lane) if fault.is_timeout() => lane.end_silent_copies(&self.settings).await,
            _ => Ok(()),
        };
        if !fault.is_definite() || cleared.is_err() {
            self.lane = None;
        }
        result
    }

    /// Whether the same is to be done again, since a partition was missing that should be there, and is mended. Those are
    /// mended that hold `oldest`, and later ones.
    async fn mended<T>(
        &mut self,
        result: &Result<T, Fault>,
        oldest: OffsetDateTime,
    ) -> Result<bool, Fault> {
        if !result.as_ref().is_err_and(Fault::is_of_partitions) {
            return Ok(false);
        }
        self.guarded(async |writer| writer.lane().await?.mend(oldest).await).await?;
        Ok(true)
    }

    async fn enter(&mut self, at: OffsetDateTime) -> Result<Span, Fault> {
        self.guarded(async |writer| writer.lane().await?.partition(at).await).await
    }

    async fn append_once(&mut self, batch: &mut Batch) -> Result<Commit, Fault> {
        let Some(first) = batch.entries().first() else { return Ok(Commit::EMPTY) };
        let span = self.lane().await?.partition(first.delivery().received_at).await?;
        let horizon = self.horizon().await?;
        let elsewhere = self.elsewhere(batch.entries(), span, horizon);
        let before = batch.in_doubt;
        let rejected_body = self.settings.rejected_body;
        let first_seq = self.numbered(batch).await?;
        let ledger = self.settings.ledger.clone();
        let lane = self.lane().await?;
        let Lane { id, number, previous, .. } = *lane;
        let key = before.unwrap_or(HeaderKey { lane: id, number, previous });
        let target = Target { ledger: ledger.as_ref(), key, first_seq };

        let events_only = batch.entries().iter().all(|entry| matches!(entry, Entry::Event(_)));
        let looks_first = before.is_some()
            || !events_only
            || replayed::any_said(batch.entries())
            || match elsewhere {
                None => false,
                Some(since) => {
                    dedupe::any_stored(&mut lane.link, batch.entries(), since, span).await?
                }
            };

        // From here on the answer to a commit may be lost; only an answer settles it.
        batch.in_doubt = Some(key);
        let link = &mut lane.link;
        let mut outcome = Outcome::Known;
        if !looks_first {
            outcome = append::at_once(link, target, batch.entries()).await?;
        }
        let since = elsewhere.unwrap_or(span.from);
        if matches!(outcome, Outcome::Known) {
            let entries = batch.entries();
            let ids = Ids::of(entries);
            let mut comparisons = 0;
            while matches!(outcome, Outcome::Known) && comparisons < COMPARISONS {
                comparisons += 1;
                outcome =
                    append::compared(link, target, entries, &ids, since, rejected_body).await?;
            }
        }
        let commit = match outcome {
            Outcome::Committed(commit, hash) => {
                if key.lane == id {
                    lane.number = key.number + 1;
                    lane.previous = hash.unwrap_or(BEGIN);
                }
                commit
            }
            Outcome::Before(commit) => {
                // What that header was is not known here, and the next one would have to name it.
                if key.lane == id {
                    self.lane = None;
                }
                commit
            }
            Outcome::Failed(fault) => {
                if fault.is_definite() {
                    batch.in_doubt = None;
                }
                return Err(fault);
            }
            Outcome::Known => {
                return Err(Fault::unavailable("other writers keep storing the ids of this batch"));
            }
        };
        batch.in_doubt = None;
        Ok(Commit { name: Some(key.name()), ..commit })
    }

    /// The number of its first entry.
    async fn numbered(&mut self, batch: &mut Batch) -> Result<i64, Fault> {
        if let Some(first) = batch.first_seq {
            return Ok(first);
        }
        let numbers = self.numbers.clone();
        let first = numbers.take(&mut self.lane().await?.link, batch.entries().len()).await?;
        Ok(*batch.first_seq.insert(first))
    }

    /// From when on stored events may be the same as one of the batch, if they may be in another partition at all.
    fn elsewhere(
        &self,
        entries: &[Entry],
        span: Span,
        horizon: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let any = |of: &dyn Fn(&Delivery) -> bool| entries.iter().any(|entry| of(entry.delivery()));
        if any(&|delivery| delivery.redelivered) {
            return Some(span.previous.min(horizon));
        }
        let near_an_end = any(&|delivery| {
            delivery.received_at - span.from < self.settings.dedupe_overlap
                || span.to - delivery.received_at < CLOCK_SLACK
        });
        near_an_end.then_some(span.previous)
    }
}

/// An event may be held for as long as the broker lets it be, then be committed, and come again: its partition is that of
/// the time when it was received, which lies so much earlier.
fn redelivery_slack(settings: &Settings) -> Duration {
    (settings.redelivered_within + REDELIVERY_LATENESS).max(LEAST_REDELIVERY_SLACK)
}

impl Append for Writer {
    fn beside(&self) -> Writer {
        let Writer { settings, numbers, redelivery_horizon, lane: _ } = self;
        Writer {
            settings: settings.clone(),
            lane: None,
            numbers: numbers.clone(),
            redelivery_horizon: *redelivery_horizon,
        }
    }

    fn failed(&mut self, _: &Fault) {}

    async fn number(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        self.guarded(async |writer| writer.numbered(batch).await.map(drop)).await
    }

    async fn span(&mut self, at: OffsetDateTime) -> Result<Span, Fault> {
        let span = self.enter(at).await;
        if self.mended(&span, at).await? {
            return self.enter(at).await;
        }
        span
    }

    async fn append(&mut self, batch: &mut Batch) -> Result<Commit, Fault> {
        let before = batch.in_doubt;
        let Some(first) = batch.entries().first() else { return Ok(Commit::EMPTY) };
        let oldest = first.delivery().received_at;
        let mut result = self.guarded(async |writer| writer.append_once(batch).await).await;
        // Nothing of it was committed; that it counts as in doubt meanwhile makes it look once more.
        match self.mended(&result, oldest).await {
            Ok(false) => {}
            Ok(true) => result = self.guarded(async |writer| writer.append_once(batch).await).await,
            Err(fault) => result = Err(fault),
        }
        if let Err(fault) = &result {
            if fault.kind == Kind::Refused {
                // Only rows are refused, and they are inserted after the header: it stood, so no earlier attempt had
                // committed, and this one was rolled back.
                batch.in_doubt = None;
            } else if fault.is_definite() && batch.is_in_doubt() {
                batch.in_doubt = before;
            }
        }
        result
    }
}
