//! The events: each partition read once, beside the batches of its time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::task::JoinSet;

use super::{CheckError, Meter, Report, Request};
use crate::{
    store::{EventBatch, ReadError, RowOrder, Snapshot},
    verify::{
        acts::Lawful,
        carried::{Carried, Span, spans},
        damage::Damage,
        finding::{Subject, Verdict},
        partition::{Absent, EventCounts, Partition},
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
    todo: Mutex<VecDeque<Span>>,
    done: Mutex<Done>,
}

/// What has come of the spans that are read.
#[derive(Default)]
struct Done {
    carried: Carried,
    absent: Absent,
    damage: Damage,
    counts: EventCounts,
    partitions: u64,
    gone: Vec<String>,
}

/// What became of a partition.
enum Reading {
    /// It was read.
    Done(Vec<Open>, Box<Damage>, EventCounts),
    /// Its rows are in no order of commits: too many batches would have to be kept.
    Disordered,
    /// It is not there any more.
    Gone,
}

/// Checks the events of the time that is asked for.
pub(super) async fn check(
    request: &Request,
    snapshot: &Arc<Snapshot>,
    lawful: Lawful,
    meter: &Arc<Meter>,
    report: &mut Report,
) -> Result<(), CheckError> {
    let mut view = snapshot.view().await?;
    let tables = view.partition_tables().await?;
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
    let spans = spans(tables, from, to);
    let shared = Arc::new(Shared {
        snapshot: snapshot.clone(),
        lawful,
        meter: meter.clone(),
        todo: Mutex::new(spans.clone().into()),
        spans,
        since,
        until,
        window: request.window,
        done: Mutex::default(),
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
        let mut done = shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.partitions += u64::from(span.table.is_some());
        match reading {
            Reading::Done(open, damage, counts) => {
                done.damage.join(*damage);
                done.counts.add(counts);
                for open in open {
                    done.leave(open, &shared);
                }
            }
            Reading::Disordered => {}
            Reading::Gone => {
                let name = span.table.map(|table| table.name).unwrap_or_default();
                done.partitions -= 1;
                done.gone.push(name);
            }
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
            return self.nothing(span, &mut batches).await;
        };
        let mut row_view = self.snapshot.view().await?;
        let Some(mut messages) = row_view.rows(table, order).await? else {
            return Ok(Reading::Gone);
        };
        let mut partition = Partition::new(&table.name, span.from..span.to, &self.lawful);
        let (mut last, mut ended, mut open) = (i64::MIN, false, Vec::new());
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
                        open.extend(
                            partition.window.before(row.seq()).into_iter().filter(Open::is_wanting),
                        );
                        self.relieve(&mut open);
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
        open.extend(partition.window.rest().into_iter().filter(Open::is_wanting));
        if span.is_open_ended() {
            open.retain(|open| open.seen.iter().any(|seen| *seen != Seen::Not));
        } else {
            while let Some(batch) = batches.try_next().await? {
                open.push(Open::new(batch, &(span.from..span.to)));
                self.relieve(&mut open);
            }
        }
        Ok(Reading::Done(open, Box::new(partition.damage), partition.counts))
    }

    /// A time of which there is no table.
    async fn nothing(
        &self,
        span: &Span,
        batches: &mut (impl Stream<Item = Result<EventBatch, ReadError>> + Unpin),
    ) -> Result<Reading, CheckError> {
        let mut open = Vec::new();
        while let Some(batch) = batches.next().await {
            open.push(Open::new(batch?, &(span.from..span.to)));
            self.relieve(&mut open);
        }
        Ok(Reading::Done(open, Box::default(), EventCounts::default()))
    }

    /// Does not let what is missing gather.
    fn relieve(&self, open: &mut Vec<Open>) {
        const MANY: usize = 1_000;
        if open.len() >= MANY {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            for open in open.drain(..) {
                done.leave(open, self);
            }
        }
    }

    fn is_asked_for(&self, row: &Row<'_>) -> bool {
        (self.since..self.until).contains(&row.received_at())
            || self.until == i64::MAX && row.received_at() == i64::MAX
    }

    /// Says what is wrong, when all spans are read.
    fn conclude(&self, report: &mut Report) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let Done { carried, mut absent, mut damage, mut counts, partitions, gone } =
            std::mem::take(&mut *done);
        for open in carried.rest() {
            absent.leave(&open, &self.lawful);
        }
        let beyond = absent.beyond(&self.lawful.expired);
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
        (report.events, report.partitions, report.gone) = (counts, partitions, gone);
    }
}

impl Done {
    fn leave(&mut self, open: Open, shared: &Shared) {
        if open.is_wanting()
            && let Some(open) = self.carried.carry(open, &shared.spans)
        {
            self.absent.leave(&open, &shared.lawful);
        }
    }
}
