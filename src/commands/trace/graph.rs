//! A trace as a graph for other programs to draw: every link, and how long it took.

use std::io::{self, Write};

use super::forest::Forest;
use crate::{
    commands::{events::written, lasted, terminal::visible},
    store::TraceStep as Step,
};

/// A flowchart as Mermaid has it.
pub fn mermaid(out: &mut impl Write, steps: &[Step]) -> io::Result<()> {
    let label = |step: &Step| {
        let lines: Vec<_> = label(step).iter().map(|line| for_mermaid(line)).collect();
        lines.join("<br/>")
    };
    let forest = Forest::of(steps);
    writeln!(out, "flowchart TD")?;
    for (n, step) in steps.iter().enumerate() {
        writeln!(out, "    n{n}[\"{}\"]", label(step))?;
    }
    for (from, to) in forest.links() {
        match took(&forest, from, to) {
            Some(took) => writeln!(out, "    n{from} -->|{took}| n{to}")?,
            None => writeln!(out, "    n{from} -.-> n{to}")?,
        }
    }
    for (n, step) in steps.iter().enumerate().filter(|(_, step)| step.depth == 0 || step.missing) {
        let line = if step.missing { "stroke-dasharray:5" } else { "stroke-width:3px" };
        writeln!(out, "    style n{n} {line}")?;
    }
    Ok(())
}

/// A digraph as Graphviz has it.
pub fn dot(out: &mut impl Write, steps: &[Step]) -> io::Result<()> {
    let forest = Forest::of(steps);
    writeln!(out, "digraph trace {{\n    node [shape=box];")?;
    for (n, step) in steps.iter().enumerate() {
        let lines: Vec<_> = label(step).iter().map(|line| for_dot(line)).collect();
        let style = match step {
            Step { missing: true, .. } => ", style=dashed",
            Step { depth: 0, .. } => ", penwidth=3",
            _ => "",
        };
        writeln!(out, "    n{n} [label=\"{}\"{style}];", lines.join("\\n"))?;
    }
    for (from, to) in forest.links() {
        match took(&forest, from, to) {
            Some(took) => writeln!(out, "    n{from} -> n{to} [label=\"{took}\"];")?,
            None => writeln!(out, "    n{from} -> n{to} [style=dashed];")?,
        }
    }
    writeln!(out, "}}")
}

fn label(step: &Step) -> Vec<String> {
    let id = step.id.clone().unwrap_or_else(|| "(no id)".to_owned());
    if step.missing {
        return vec!["not stored".to_owned(), id];
    }
    let name = step.event_type.clone().or_else(|| step.routing_key.clone());
    let at = step.received_at.map(|at| written(at, 3));
    [name, step.source.clone(), at, Some(id)]
        .into_iter()
        .flatten()
        .filter(|line| !line.is_empty())
        .collect()
}

fn took(forest: &Forest<'_>, from: usize, to: usize) -> Option<String> {
    let took = forest.between(from, to)?;
    Some(if took.is_negative() { format!("-{}", lasted(took)) } else { lasted(took) })
}

/// Text as Mermaid takes it within quotes: what means something there as an entity.
fn for_mermaid(text: &str) -> String {
    let mut safe = String::new();
    for character in visible(text).chars() {
        match character {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' | ';' => {
                safe.push_str(&format!("#{};", u32::from(character)));
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// Text as Graphviz takes it within quotes.
fn for_dot(text: &str) -> String {
    visible(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_event_says_is_only_text() {
        assert_eq!(
            for_mermaid("a\"]; x --> <b>`#1`"),
            "a#34;]#59; x --#62; #60;b#62;#96;#35;1#96;"
        );
        assert_eq!(for_dot("a\"]; \\n \u{1b}"), "a\\\"]; \\\\n \\\\u{1b}");
    }
}
