//! A trace, drawn in the terminal.

use std::io::{self, Write};

use anstyle::Style;

use super::forest::{Forest, Hangs, Standing};
use crate::{
    commands::{
        events::written,
        lasted,
        terminal::{Output, cut, style, visible},
    },
    store::TraceStep as Step,
};

/// Draws the trace, a line an event, none wider than the terminal.
pub fn write(out: &mut Output, steps: &[Step]) -> io::Result<()> {
    let forest = Forest::of(steps);
    for standing in forest.walk() {
        let mut line = vec![(branches(&standing, out.look().width), style::FAINT)];
        line.extend(event(&forest, &standing));
        let mut room = out.look().width;
        for (text, style) in line {
            let text = cut(&text, room);
            room -= room.min(unicode_width::UnicodeWidthStr::width(&*text));
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

fn event(forest: &Forest<'_>, standing: &Standing) -> Vec<(String, Style)> {
    let step = &forest.steps[standing.step];
    let id = visible(step.id.as_deref().unwrap_or("(no id)")).into_owned();
    if step.missing {
        return vec![("not stored  ".to_owned(), style::WARNING), (id, style::PLAIN)];
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
    let mut line = vec![(format!("{time}  "), style::FAINT), (name.into_owned(), asked)];
    if let Some(source) = &step.source {
        line.push((format!("  {}", visible(source)), style::PLAIN));
    }
    line.push((format!("  {id}"), style::FAINT));
    if step.depth == 0 {
        line.push(("  ◀".to_owned(), style::HEADING));
    }
    if step.copies > 1 {
        line.push((format!("  {} times with other content", step.copies - 1), style::WARNING));
    }
    let others =
        step.causes.iter().flatten().filter(|cause| Some(*cause) != step.parent.as_ref()).count();
    if others > 0 {
        line.push((format!("  and from {others} other(s)"), style::FAINT));
    }
    line
}
