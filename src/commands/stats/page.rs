//! The figures, for people and as JSON.

use std::io::{self, Write as _};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{super::terminal::Output, sparkline::sparkline};
use crate::{
    commands::{
        events::written,
        moment::Span,
        overview::{grouped, size, write_json},
        terminal::{Cell, Column, Table, field, style},
    },
    event,
    store::{Group, Stats, Stored, Top},
};

/// Most hours of a line of bars: ten years.
const MOST_HOURS: i64 = 10 * 366 * 24;

/// For people.
pub fn table(out: &mut Output, stats: &Stats, span: &Span) -> anyhow::Result<()> {
    let (from, to) = ends(stats, span);
    summary(out, stats, from, to)?;
    bars(out, stats, from, to)?;
    top(out, "event_type", &stats.types, stats.all.events)?;
    top(out, "source", &stats.sources, stats.all.events)?;
    if !stats.rejections.is_empty() {
        writeln!(out)?;
        let columns =
            vec![Column::text("rejected"), Column::number("rejections"), Column::whole("last")];
        let mut table = Table::new(columns, out.look());
        for rejected in &stats.rejections {
            let cells = vec![
                Cell::new(&rejected.reason).styled(style::BAD),
                Cell::new(&grouped(rejected.rejections)),
                Cell::new(&written(rejected.last, 0)),
            ];
            table.row(out, cells)?;
        }
        table.end(out)?;
    }
    partitions(out, &stats.partitions)?;
    Ok(())
}

/// The span in which there can be events, as far as it is known.
fn ends(stats: &Stats, span: &Span) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
    let until = span.until.map_or_else(event::now, |until| until.min(event::now()));
    // All of it may be later.
    let from = span.since.max(stats.oldest).filter(|from| *from <= until);
    (from, stats.oldest.map(|_| until))
}

fn summary(
    out: &mut Output,
    stats: &Stats,
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
) -> anyhow::Result<()> {
    let per_second = match (from, to) {
        (Some(from), Some(to)) if to > from => events_per_second(stats.all.events, to - from),
        _ => 0.0,
    };
    let rows = [
        ("from", from.map(|at| written(at, 0))),
        ("to", to.map(|at| written(at, 0))),
        ("events", Some(grouped(stats.all.events))),
        ("per second", Some(format!("{per_second:.2}"))),
        (
            "per hour, most",
            peak(stats)
                .map(|(events, hour)| format!("{} at {}", grouped(events), written(hour, 0))),
        ),
        ("bodies", Some(size(stats.batches.body_bytes))),
        ("conflicts", Some(grouped(stats.all.conflicts))),
        ("malformed", Some(grouped(stats.all.malformed))),
        ("duplicates", Some(grouped(stats.batches.duplicates))),
        ("rejections", Some(grouped(stats.rejections.iter().map(|r| r.rejections).sum()))),
        ("batches", Some(grouped(stats.batches.batches))),
        ("history begins", stats.oldest.map(|at| written(at, 0))),
        ("last event", stats.newest.map(|at| written(at, 0))),
    ];
    for (name, value) in rows {
        let Some(value) = value else { continue };
        let look = out.look();
        field(out, look, name, 16, &value)?;
    }
    Ok(())
}

fn peak(stats: &Stats) -> Option<(i64, OffsetDateTime)> {
    let hours = stats.hours.iter().filter_map(|hour| Some((hour.events, hour.hour?)));
    hours.max_by_key(|(events, _)| *events)
}

/// Each hour of the span, also those in which there was nothing.
fn hourly(stats: &Stats, from: OffsetDateTime, to: OffsetDateTime) -> Vec<i64> {
    let first = from.replace_nanosecond(0).unwrap_or(from).unix_timestamp().div_euclid(3600);
    let last = (to.unix_timestamp() - 1).div_euclid(3600);
    let mut events =
        vec![0; usize::try_from((last - first + 1).clamp(0, MOST_HOURS)).unwrap_or_default()];
    for hour in &stats.hours {
        let Some(at) = hour.hour else { continue };
        let place = usize::try_from(at.unix_timestamp().div_euclid(3600) - first);
        if let Some(slot) = place.ok().and_then(|place| events.get_mut(place)) {
            *slot = hour.events;
        }
    }
    events
}

fn bars(
    out: &mut Output,
    stats: &Stats,
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
) -> io::Result<()> {
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    if stats.hours.is_empty() {
        return Ok(());
    }
    let colour = if out.look().colours { style::STRONG } else { style::PLAIN };
    let hours = hourly(stats, from, to);
    let columns = out.look().width.min(120);
    let per = match hours.len().div_ceil(columns) {
        ..=1 => "hour".to_owned(),
        several => format!("{several} hours"),
    };
    let bars = sparkline(&hours, columns);
    writeln!(out, "\nevents per {per}\n{colour}{bars}{colour:#}")
}

fn top(out: &mut Output, name: &str, top: &Top, all: i64) -> anyhow::Result<()> {
    if top.first.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let columns = vec![Column::text(name), Column::number("events"), Column::number("share")];
    let mut table = Table::new(columns, out.look());
    for group in &top.first {
        let cells = vec![
            Cell::new(group.name.as_deref().unwrap_or("(none)")).styled(style::STRONG),
            Cell::new(&grouped(group.events)),
            Cell::new(&share(group.events, all)),
        ];
        table.row(out, cells)?;
    }
    let listed = i64::try_from(top.first.len())?;
    if top.different > listed {
        let rest = all - top.first.iter().map(|group| group.events).sum::<i64>();
        let others = format!("{} others", grouped(top.different - listed));
        table.row(
            out,
            vec![Cell::new(&others), Cell::new(&grouped(rest)), Cell::new(&share(rest, all))],
        )?;
    }
    Ok(table.end(out)?)
}

fn partitions(out: &mut Output, partitions: &[Stored]) -> anyhow::Result<()> {
    if partitions.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let columns = vec![
        Column::text("partition"),
        Column::whole("from"),
        Column::number("events"),
        Column::number("size"),
    ];
    let mut table = Table::new(columns, out.look());
    for stored in partitions {
        let cells = vec![
            Cell::new(&stored.name),
            Cell::new(&written(stored.from_at, 0)).styled(style::FAINT),
            Cell::new(&stored.events.map_or_else(|| "?".to_owned(), grouped)),
            Cell::new(&size(stored.bytes)),
        ];
        table.row(out, cells)?;
    }
    let bytes: i64 = partitions.iter().map(|stored| stored.bytes).sum();
    let all = Cell::new(&size(bytes)).styled(style::HEADING);
    table.row(out, vec![Cell::new("all of these"), Cell::new(""), Cell::new(""), all])?;
    Ok(table.end(out)?)
}

/// As one object.
pub fn json(out: &mut Output, stats: &Stats, span: &Span) -> anyhow::Result<()> {
    let (from, to) = ends(stats, span);
    let at = |at: Option<OffsetDateTime>| at.map(|at| written(at, 6));
    let group = |group: &Group| {
        json!({
            "name": group.name, "events": group.events, "conflicts": group.conflicts, "malformed": group.malformed,
        })
    };
    let top = |top: &Top| json!({"different": top.different, "top": top.first.iter().map(group).collect::<Vec<_>>()});
    let hour = |hour: &Group| {
        json!({
            "hour": at(hour.hour), "events": hour.events, "conflicts": hour.conflicts, "malformed": hour.malformed,
        })
    };
    let whole = json!({
        "from": at(from),
        "to": at(to),
        "events": stats.all.events,
        "events_per_second": match (from, to) {
            (Some(from), Some(to)) if to > from => Value::from(events_per_second(stats.all.events, to - from)),
            _ => Value::Null,
        },
        "conflicts": stats.all.conflicts,
        "malformed": stats.all.malformed,
        "batches": stats.batches.batches,
        "duplicates": stats.batches.duplicates,
        "body_bytes": stats.batches.body_bytes,
        "oldest": at(stats.oldest),
        "newest": at(stats.newest),
        "hours": stats.hours.iter().map(hour).collect::<Vec<_>>(),
        "types": top(&stats.types),
        "sources": top(&stats.sources),
        "rejections": stats.rejections.iter().map(|rejected| json!({
            "reason": rejected.reason, "rejections": rejected.rejections, "last": at(Some(rejected.last)),
        })).collect::<Vec<_>>(),
        "partitions": stats.partitions.iter().map(|stored| json!({
            "name": stored.name, "from": at(Some(stored.from_at)), "to": at(Some(stored.to_at)),
            "events": stored.events, "bytes": stored.bytes,
        })).collect::<Vec<_>>(),
    });
    Ok(write_json(out, &whole)?)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn events_per_second(events: i64, span: Duration) -> f64 {
    events as f64 / span.as_seconds_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(some: i64, all: i64) -> String {
    format!("{:.1}%", 100.0 * some as f64 / all.max(1) as f64)
}
