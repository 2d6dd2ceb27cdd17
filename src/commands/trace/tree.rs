//! A trace, drawn in the terminal.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::forest::{Forest, Hangs, Standing};
use crate::{
    commands::{
        events::written,
        lasted,
        terminal::{Output, cut, style, visible},
    },
    store::TraceStep as Step,
};

/// Columns that a type and a source keep where the line is too long.
const LEAST: usize = 8;

/// A part of a line.
struct Part {
    text: String,
    style: Style,
    /// Whether it is cut before the others are.
    gives_way: bool,
}

impl Part {
    fn new(text: impl Into<String>, style: Style) -> Part {
        Part { text: text.into(), style, gives_way: false }
    }

    fn giving_way(self) -> Part {
        Part { gives_way: true, ..self }
    }
}

/// Draws the trace, a line an event, none wider than the terminal.
pub fn write(out: &mut Output, steps: &[Step]) -> io::Result<()> {
    let forest = Forest::of(steps);
    for standing in forest.walk() {
        let mut line = vec![Part::new(branches(&standing, out.look().width), style::FAINT)];
        line.extend(event(&forest, &standing));
        let mut room = out.look().width;
        fit(&mut line, room);
        for Part { text, style, .. } in line {
            let text = cut(&text, room);
            room -= room.min(text.width());
            if out.look().colours && style != style::PLAIN {
                write!(out, "{style}{text}{style:#}")?;
            } else {
                out.write_all(text.as_bytes())?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Shortens the type and the source, the longer one first, as far as the id behind them needs: half an id is of no use. Where
/// that would not do, nothing is shortened for it.
fn fit(line: &mut [Part], width: usize) {
    let wide = line.iter().map(|part| part.text.width()).sum::<usize>();
    let spare = line.iter().filter(|part| part.gives_way).map(|part| part.text.width());
    let spare: usize = spare.map(|width| width.saturating_sub(LEAST)).sum();
    if wide - spare > width {
        return;
    }
    for _ in width..wide {
        let may = line.iter_mut().filter(|part| part.gives_way && part.text.width() > LEAST);
        let Some(widest) = may.max_by_key(|part| part.text.width()) else { return };
        widest.text = cut(&widest.text, widest.text.width() - 1).into_owned();
    }
}

/// What stands before an event. At most half of the line, of which the end is what tells.
fn branches(standing: &Standing, width: usize) -> String {
    let mut drawn = String::new();
    let (own, above) = match standing.hangs {
        Hangs::Branch { last } => {
            let above = standing.open.len().saturating_sub(1);
            (if last { "└─ " } else { "├─ " }, &standing.open[..above])
        }
        Hangs::Alone => ("↓ ", &standing.open[..]),
        Hangs::Root => ("", &[][..]),
    };
    for &open in above {
        drawn.push_str(if open { "│  " } else { "   " });
    }
    drawn.push_str(own);
    let skip = drawn.chars().count().saturating_sub(width / 2);
    drawn.chars().skip(skip).collect()
}

fn event(forest: &Forest<'_>, standing: &Standing) -> Vec<Part> {
    let step = &forest.steps[standing.step];
    let id = visible(step.id.as_deref().unwrap_or("(no id)")).into_owned();
    if step.missing {
        return vec![Part::new("not stored  ", style::WARNING), Part::new(id, style::PLAIN)];
    }
    let between = standing.above.and_then(|above| forest.between(above, standing.step));
    let time = match (between, step.received_at) {
        (Some(took), _) if took.is_negative() => format!("-{}", lasted(took)),
        (Some(took), _) => format!("+{}", lasted(took)),
        (None, Some(at)) => written(at, 3),
        (None, None) => String::new(),
    };
    let name =
        visible(step.event_type.as_deref().or(step.routing_key.as_deref()).unwrap_or_default());
    let asked = if step.depth == 0 { style::STRONG.bold() } else { style::STRONG };
    let mut line =
        vec![Part::new(format!("{time}  "), style::FAINT), Part::new(name, asked).giving_way()];
    if let Some(source) = &step.source {
        line.push(Part::new("  ", style::PLAIN));
        line.push(Part::new(visible(source), style::PLAIN).giving_way());
    }
    line.push(Part::new(format!("  {id}"), style::FAINT));
    if step.depth == 0 {
        line.push(Part::new("  ◀", style::HEADING));
    }
    if step.copies > 1 {
        let others = format!("  {} times with other content", step.copies - 1);
        line.push(Part::new(others, style::WARNING));
    }
    let others =
        step.causes.iter().flatten().filter(|cause| Some(*cause) != step.parent.as_ref()).count();
    if others > 0 {
        line.push(Part::new(format!("  and from {others} other(s)"), style::FAINT));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_cut_last() {
        let id = "  e4800ff4-1ccf-4b6f-ab65-508c49b70a6f";
        let fitted = |width| {
            let mut line = [
                Part::new("↓ +1m 26s  ", style::FAINT),
                Part::new("a.type.of.rather.many.words", style::PLAIN).giving_way(),
                Part::new("  ", style::PLAIN),
                Part::new("a-source", style::PLAIN).giving_way(),
                Part::new(id, style::PLAIN),
            ];
            fit(&mut line, width);
            line.map(|part| part.text).concat()
        };
        assert_eq!(fitted(80), format!("↓ +1m 26s  a.type.of.rather.man…  a-source{id}"));
        assert_eq!(
            fitted(usize::MAX),
            format!("↓ +1m 26s  a.type.of.rather.many.words  a-source{id}")
        );
        assert_eq!(fitted(67), format!("↓ +1m 26s  a.type.…  a-source{id}"));
        assert_eq!(fitted(66), fitted(usize::MAX));
    }
}
