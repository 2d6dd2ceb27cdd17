//! The events: each partition read once, beside the batches of its time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use futures_util::{Stream, TryStreamExt as _};
use tokio::task::JoinSet;

use super::{CheckError, Keeping, Meter, Report, Request};
use crate::{
    store::{EventBatch, ReadError, RowOrder, Snapshot},
    verify::{
        acts::Lawful,
        carried::{Carried, Span, is_elsewhere, spans},
        damage::Damage,
        finding::{Subject, Verdict},
        partition::{Absent, EventCounts, Partition},
        progress::{Half, Progress, ReadSpan},
        row::{Row, Rows},
        window::{Open, Seen},
    },
};

/// Rows after which it is said how far it has come.
const TELL: u64 = 1_024;

/// What everybody at work shares.
struct Shared {
    snapshot: Arc<Snapshot>,
    lawful: Lawful,
    meter: Arc<Meter>,
    spans: Vec<Span>,
    since: i64,
    until: i64,
    window: usize,
    horizon: i64,
    todo: Mutex<VecDeque<Span>>,
    done: Mutex<Done>,
}

/// What has come of the spans that are read.
struct Done {
    keeping: Keeping,
    carried: Carried,
    gone: Vec<String>,
}

/// What became of a partition.
enum Reading {
    /// It was read.
    Done(Box<Outcome>),
    /// Its rows are in no order of commits: too many batches would have to be kept.
    Disordered,
    /// It is not there any more.
    Gone,
}

/// What came of a span.
#[derive(Default)]
struct Outcome {
    counts: EventCounts,
    damage: Damage,
    absent: Absent,
    /// Batches of which other spans may have more.
    elsewhere: Vec<Open>,
}

/// Checks the events of the time that is asked for.
pub(super) async fn check(
    request: &Request,
    snapshot: &Arc<Snapshot>,
    lawful: Lawful,
    meter: &Arc<Meter>,
    mut keeping: Keeping,
    report: &mut Report,
) -> Result<(), CheckError> {
    let mut view = snapshot.view().await?;
    let tables = view.partition_tables().await?;
    let horizon = view.horizon().await?;
    let (since, until) = (request.since.unwrap_or(i64::MIN), request.until.unwrap_or(i64::MAX));
    let (mut from, mut to) = (since, until);
    if (since, until) != (i64::MIN, i64::MAX) {
        // A batch is looked at whole, and may begin before, or end after.
        if let Some((first, last)) = view.reach(since, until).await? {
            (from, to) = (from.min(first), to.max(last.saturating_add(1)));
        }
        let of_them = tables.iter().filter(|table| table.to > from && table.from < to);
        let rows = of_them.map(|table| u64::try_from(table.rows).unwrap_or_default()).sum();
        meter.all_events.store(rows, Relaxed);
    }
    drop(view);
    let mut carried = Carried::default();
    report.taken = keeping.take(snapshot, &tables, &lawful, &mut carried).await?;
    meter.events.store(report.taken.map_or(0, |taken| taken.events), Relaxed);
    let spans = spans(tables, from, to, &keeping.progress.spans);
    let shared = Arc::new(Shared {
        snapshot: snapshot.clone(),
        lawful,
        meter: meter.clone(),
        todo: Mutex::new(spans.iter().filter(|span| !span.is_done).cloned().collect()),
        spans,
        since,
        until,
        window: request.window,
        horizon,
        done: Mutex::new(Done { keeping, carried, gone: Vec::new() }),
    });
    let mut workers = JoinSet::new();
    for _ in 0..request.jobs.get().min(shared.spans.len()) {
        workers.spawn(work(shared.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    shared.conclude(report);
    Ok(())
}

/// Reads one span after the other, as long as there is one.
async fn work(shared: Arc<Shared>) -> Result<(), CheckError> {
    loop {
        let next = shared.todo.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(span) = next else { return Ok(()) };
        let reading = match shared.read(&span, RowOrder::Stored).await? {
            Reading::Disordered => shared.read(&span, RowOrder::Sorted).await?,
            reading => reading,
        };
        let partition = span.table.as_ref().map(|table| table.name.clone());
        let mut done = shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        match reading {
            Reading::Done(outcome) => done.take(&shared, &span, partition, *outcome)?,
            Reading::Disordered => {}
            Reading::Gone => done.gone.extend(partition),
        }
    }
}

impl Shared {
    async fn read(&self, span: &Span, order: RowOrder) -> Result<Reading, CheckError> {
        let mut batch_view = self.snapshot.view().await?;
        // A batch that has an event of the time that is asked for is looked at whole.
        let (from, to) = (span.from.max(self.since), span.to.min(self.until));
        let mut batches = batch_view.event_batches(from, to, order);
        let Some(table) = &span.table else {
            let mut outcome = Outcome::default();
            self.rest(span, &mut batches, &mut outcome).await?;
            return Ok(Reading::Done(Box::new(outcome)));
        };
        let mut row_view = self.snapshot.view().await?;
        let Some(mut messages) = row_view.rows(table, order).await? else {
            return Ok(Reading::Gone);
        };
        let mut partition = Partition::new(&table.name, span.from..span.to, &self.lawful);
        let (mut last, mut ended, mut outcome) = (i64::MIN, false, Outcome::default());
        let mut told = 0;
        while let Some(message) = messages.try_next().await? {
            for row in Rows::of(message.as_ref()) {
                let row = row?;
                told += 1;
                if told == TELL {
                    self.meter.events.fetch_add(TELL, Relaxed);
                    told = 0;
                }
                while !partition.row(&row) {
                    let passed = order == RowOrder::Sorted && last > row.seq();
                    if ended || passed {
                        if self.is_asked_for(&row) {
                            partition.unknown(&row);
                        }
                        break;
                    }
                    if order == RowOrder::Sorted {
                        for open in partition.window.before(row.seq()) {
                            outcome.leave(open, self);
                        }
                    } else if partition.window.size() > self.window {
                        return Ok(Reading::Disordered);
                    }
                    match batches.try_next().await? {
                        Some(batch) => {
                            last = batch.first_seq;
                            partition.open(batch);
                        }
                        None => ended = true,
                    }
                }
            }
        }
        self.meter.events.fetch_add(told, Relaxed);
        let is_seen = |open: &Open| open.seen.iter().any(|seen| *seen != Seen::Not);
        for open in partition.window.rest() {
            if !span.is_open_ended() || is_seen(&open) {
                outcome.leave(open, self);
            }
        }
        if !span.is_open_ended() {
            self.rest(span, &mut batches, &mut outcome).await?;
        }
        (outcome.damage, outcome.counts) = (partition.damage, partition.counts);
        Ok(Reading::Done(Box::new(outcome)))
    }

    /// The batches of which no row has come.
    async fn rest(
        &self,
        span: &Span,
        batches: &mut (impl Stream<Item = Result<EventBatch, ReadError>> + Unpin),
        outcome: &mut Outcome,
    ) -> Result<(), CheckError> {
        while let Some(batch) = batches.try_next().await? {
            outcome.leave(Open::new(batch, &(span.from..span.to)), self);
        }
        Ok(())
    }

    fn is_asked_for(&self, row: &Row<'_>) -> bool {
        (self.since..self.until).contains(&row.received_at())
            || self.until == i64::MAX && row.received_at() == i64::MAX
    }

    /// Says what is wrong, when all spans are read.
    fn conclude(&self, report: &mut Report) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = std::mem::take(&mut done.carried);
        let Progress { spans, earlier, .. } = &mut done.keeping.progress;
        let (spans, earlier) = (std::mem::take(spans), std::mem::take(earlier));
        let (mut damage, mut counts, mut absent) =
            (Damage::default(), EventCounts::default(), Absent::default());
        for span in spans {
            report.partitions += u64::from(span.partition.is_some());
            damage.join(span.damage);
            counts.add(span.counts);
            absent.of_expired.join(span.of_expired);
        }
        for open in carried.rest() {
            absent.leave(&open, &self.lawful);
        }
        let beyond = absent.of_expired.beyond(&self.lawful.expired);
        for (expired, more) in self.lawful.expired.iter().zip(beyond).filter(|(_, more)| *more > 0)
        {
            let subject = Subject::Partition { name: expired.partition.clone() };
            let why = format!(
                "{more} event(s) more of its time are gone than it had when it was to be dropped"
            );
            report.findings.add(Verdict::Deleted, subject, why);
        }
        damage.join(absent.damage);
        counts.add(absent.counts);
        report.findings.join(damage.judge());
        report.findings.add_new(earlier, Some(BEFORE));
        (report.events, report.gone) = (counts, std::mem::take(&mut done.gone));
    }
}

/// What is said of a finding that is none any more.
const BEFORE: &str = "found before the check was interrupted, and not any more";

impl Outcome {
    /// Nothing more of a batch is to come here.
    fn leave(&mut self, open: Open, shared: &Shared) {
        if !open.is_wanting() {
        } else if is_elsewhere(&open, &shared.spans) {
            self.elsewhere.push(open);
        } else {
            self.absent.leave(&open, &shared.lawful);
        }
    }
}

impl Done {
    /// Takes on what came of a span.
    fn take(
        &mut self,
        shared: &Shared,
        span: &Span,
        partition: Option<String>,
        outcome: Outcome,
    ) -> Result<(), CheckError> {
        let Outcome { mut counts, mut damage, absent, elsewhere } = outcome;
        counts.add(absent.counts);
        damage.join(absent.damage);
        // Only who goes on with it asks.
        let kept = self.keeping.is_kept().then_some(&elsewhere);
        let done = ReadSpan {
            partition,
            from: span.from,
            to: span.to,
            at: shared.snapshot.now(),
            horizon: shared.horizon,
            counts,
            of_expired: absent.of_expired,
            damage,
            halves: kept.into_iter().flatten().map(Half::of).collect(),
        };
        elsewhere.into_iter().for_each(|open| self.carried.carry(open));
        self.keeping.done(done)
    }
}
