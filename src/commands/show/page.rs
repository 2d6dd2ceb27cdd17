//! One event whole, for people and as JSON.

use std::io::{self, Write as _};

use anstyle::Style;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Whole,
    copy::{Body, Copy},
};
use crate::{
    commands::{
        events::written,
        json::{indented, string},
        lasted,
        terminal::{self, Cell, Column, Output, Table, json_safe, style, visible},
    },
    store::{Place, Relative},
};

/// For people: nothing that a terminal would act on.
pub fn text(out: &mut Output, whole: &Whole) -> anyhow::Result<()> {
    for (n, (copy, place)) in whole.copies.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        event(out, copy, place.as_ref())?;
    }
    if whole.more {
        writeln!(out)?;
        line(
            out,
            style::WARNING,
            "more came under this id: bloodbank-audit events --id lists them all",
        )?;
    }
    relatives(out, "led to it", &whole.causes)?;
    relatives(out, "followed", &whole.effects)?;
    if whole.more_effects {
        line(
            out,
            style::WARNING,
            "  and more: bloodbank-audit events --correlation lists them all",
        )?;
    }
    Ok(())
}

fn event(out: &mut Output, copy: &Copy, place: Option<&Place>) -> anyhow::Result<()> {
    if copy.conflict {
        line(out, style::WARNING, "conflict: other content came under this id before")?;
    }
    if copy.malformed {
        line(out, style::BAD, "malformed: the body is not what the envelope expects")?;
    }
    for (column, value) in &copy.fields {
        field(out, column.name(), value)?;
    }
    let received = copy.received_at.map(|at| written(at, 6));
    field(out, "received_at", received.as_deref().unwrap_or("?"))?;
    if let Some(at) = copy.event_time {
        field(out, "event_time", &format!("{}{}", written(at, 6), before(at, copy.received_at)))?;
    }
    field(out, "seq", &copy.seq.to_string())?;
    if let Some(place) = place {
        field(out, "partition", &format!("audit.{}", place.partition))?;
        field(out, "batch", &batch(place))?;
        if let Some(at) = place.committed_at {
            field(out, "committed_at", &written(at, 6))?;
        }
    }
    properties(out, &copy.properties)?;
    line(out, style::HEADING, "body")?;
    body(out, &copy.body)?;
    Ok(())
}

fn before(at: OffsetDateTime, received_at: Option<OffsetDateTime>) -> String {
    match received_at.map(|received| received - at) {
        Some(took) if took.is_negative() => format!(" ({} after it was received)", lasted(-took)),
        Some(took) => format!(" ({} before)", lasted(took)),
        None => String::new(),
    }
}

fn batch(place: &Place) -> String {
    let (Some(lane), Some(number)) = (place.lane, place.number) else {
        return "not known".to_owned();
    };
    let events = match place.events.unwrap_or_default() {
        1 => "1 event".to_owned(),
        several => format!("{several} events"),
    };
    format!("{number} of {lane}, {events}")
}

/// Writes properties, which are a JSON object, under their heading.
///
/// # Errors
/// Those of `out`.
pub fn properties(out: &mut Output, json: &str) -> io::Result<()> {
    line(out, style::HEADING, "properties")?;
    for part in indented(json, 1).split('\n') {
        line(
            out,
            style::PLAIN,
            &if part.starts_with(' ') { part.to_owned() } else { format!("  {part}") },
        )?;
    }
    Ok(())
}

/// Writes a body: JSON indented, text as it is, bytes in hexadecimal digits.
///
/// # Errors
/// Those of `out`.
pub fn body(out: &mut Output, body: &Body) -> io::Result<()> {
    match body {
        Body::Json(json) => {
            for part in indented(json, 0).split('\n') {
                line(out, style::PLAIN, &format!("  {part}"))?;
            }
        }
        Body::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok("") => line(out, style::FAINT, "  (empty)")?,
            Ok(text) => {
                for part in text.split('\n') {
                    line(out, style::PLAIN, &format!("  {part}"))?;
                }
            }
            Err(_) => {
                for (n, row) in bytes.chunks(16).enumerate() {
                    let hexadecimal: String =
                        row.iter().map(|byte| format!("{byte:02x} ")).collect();
                    let printable = |&byte: &u8| match byte {
                        b' '..=b'~' => char::from(byte),
                        _ => '.',
                    };
                    let text: String = row.iter().map(printable).collect();
                    line(
                        out,
                        style::PLAIN,
                        &format!("  {:08x}  {hexadecimal:<48} {text}", n * 16),
                    )?;
                }
            }
        },
    }
    Ok(())
}

fn relatives(out: &mut Output, heading: &str, relatives: &[Relative]) -> anyhow::Result<()> {
    if relatives.is_empty() {
        return Ok(());
    }
    line(out, style::HEADING, heading)?;
    let columns = vec![
        Column::whole("received_at"),
        Column::text("event_type"),
        Column::text("source"),
        Column::whole("id"),
    ];
    let mut table = Table::new(columns, out.look());
    for relative in relatives {
        let id = Cell::new(relative.id.as_deref().unwrap_or_default());
        let cells = match relative.received_at {
            Some(at) => vec![
                Cell::new(&written(at, 3)).styled(style::FAINT),
                Cell::new(relative.event_type.as_deref().unwrap_or_default()).styled(style::STRONG),
                Cell::new(relative.source.as_deref().unwrap_or_default()),
                id,
            ],
            None => {
                vec![
                    Cell::new("not stored").styled(style::WARNING),
                    Cell::new(""),
                    Cell::new(""),
                    id,
                ]
            }
        };
        table.row(out, cells)?;
    }
    Ok(table.end(out)?)
}

/// Writes a name and its value.
///
/// # Errors
/// Those of `out`.
pub fn field(out: &mut Output, name: &str, value: &str) -> io::Result<()> {
    let look = out.look();
    terminal::field(out, look, name, 14, value)
}

/// Writes one line in that style, nothing in it that a terminal would act on.
///
/// # Errors
/// Those of `out`.
pub fn line(out: &mut Output, style: Style, text: &str) -> io::Result<()> {
    let style = if out.look().colours { style } else { style::PLAIN };
    writeln!(out, "{style}{}{style:#}", visible(text))
}

/// As one object.
pub fn json(out: &mut Output, whole: &Whole) -> anyhow::Result<()> {
    let mut text = b"{\"events\":[".to_vec();
    for (n, (copy, place)) in whole.copies.iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        // The object's own members first, the body among them; then where it sits.
        text.extend_from_slice(copy.object.strip_suffix(b"}").unwrap_or(&copy.object));
        if let Some(place) = place {
            text.extend_from_slice(b",\"partition\":");
            string(&mut text, &place.partition)?;
            if let Some(lane) = place.lane {
                let batch = json!({
                    "lane": lane.to_string(),
                    "number": place.number,
                    "committed_at": place.committed_at.map(|at| written(at, 6)),
                    "events": place.events,
                });
                text.extend_from_slice(b",\"batch\":");
                text.extend_from_slice(batch.to_string().as_bytes());
            }
        }
        text.push(b'}');
    }
    let rest = json!({
        "causes": whole.causes.iter().map(relative).collect::<Vec<_>>(),
        "effects": whole.effects.iter().map(relative).collect::<Vec<_>>(),
        "more_events": whole.more,
        "more_effects": whole.more_effects,
    })
    .to_string();
    text.extend_from_slice(b"],");
    text.extend_from_slice(rest.strip_prefix('{').unwrap_or(&rest).as_bytes());
    let pretty = indented(&String::from_utf8_lossy(&text), 0);
    let safe = if out.look().terminal { json_safe(&pretty) } else { pretty.as_str().into() };
    writeln!(out, "{safe}")?;
    Ok(())
}

fn relative(relative: &Relative) -> Value {
    json!({
        "id": relative.id,
        "stored": relative.seq.is_some(),
        "received_at": relative.received_at.map(|at| written(at, 6)),
        "event_type": relative.event_type,
        "source": relative.source,
    })
}
