//! `bloodbank-audit trace`: what led to an event, and what followed from it.

mod forest;
mod graph;
mod tree;

use std::{io::Write as _, time::Duration};

use clap::ValueEnum;
use serde_json::json;
use time::OffsetDateTime;

use super::{
    access::{Noted, Purpose, filter_json},
    events::written,
    overview::write_json,
    reading::{self, Found, NothingFound},
    settings,
    terminal::{Output, Paging, visible},
};
use crate::{
    config::Config,
    store::{Filter, Reader, TraceStep as Step},
};

/// Options of `bloodbank-audit trace`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
pub struct Options {
    /// The id of any event of it: a uuid in any spelling, or what it has instead
    #[arg(value_name = "ID")]
    id: String,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Tree)]
    format: Format,
    /// At most so many links up, and down
    #[arg(long, value_name = "LINKS", default_value_t = 100, value_parser = clap::value_parser!(i32).range(0..=100_000))]
    depth: i32,
    /// How long after an event others may have followed from it, or "all"
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = within)]
    within: Within,
    /// About so many events up, and down
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    limit: i32,
    /// How long PostgreSQL may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = reading::timeout)]
    timeout: Duration,
    /// Write to the terminal without a pager
    #[arg(long)]
    no_pager: bool,
}

static HELP: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        "\
Examples:
  bloodbank-audit trace 8057a88f-1d84-5270-8500-1fe179622bcf
  bloodbank-audit trace 8057a88f-1d84-5270-8500-1fe179622bcf --within all --depth 5
  bloodbank-audit trace order-7 --format dot | dot -Tsvg > trace.svg
  bloodbank-audit trace order-7 --format json | jq '.events[] | select(.missing) | .id'

An event follows from those that its correlation ids name, stored or not. In the tree an event stands once, below one of
them; a line that begins with an arrow follows from the line above. Times are those between being received; + after the event
above, - before. Mermaid, dot and JSON have every link.

{}",
        reading::EXIT_STATUS
    )
});

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Tree,
    /// One object
    Json,
    /// A flowchart for Markdown
    Mermaid,
    /// For Graphviz
    Dot,
}

#[derive(Debug, Clone, Copy)]
struct Within(Option<Duration>);

/// Longest time after an event that PostgreSQL is given to add to it: a hundred years.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

fn within(text: &str) -> Result<Within, String> {
    match text.trim() {
        "all" => Ok(Within(None)),
        text => match humantime::parse_duration(text) {
            Ok(within) if within <= LONGEST => Ok(Within(Some(within))),
            Ok(_) => Err("write a duration up to 36500d, or all".to_owned()),
            Err(error) => Err(format!("{error}; write a duration such as 12h or 30d, or all")),
        },
    }
}

impl Options {
    /// Writes the trace.
    ///
    /// # Errors
    /// Nothing is known under the id; it cannot be read, or not be written.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let mut reader = Reader::open(&settings::store(&config)?, self.timeout).await?;
        let asked_for = filter_json(&Filter { id: Some(self.id.clone()), ..Filter::default() });
        let noted = Noted::begin(&config, Purpose::Read, "trace", asked_for).await?;
        let steps = reader.trace(&self.id, self.depth, self.within.0, self.limit).await?;
        noted.end(u64::try_from(steps.len())?).await?;
        if steps.is_empty() {
            let id = visible(&self.id);
            let said = format!("no event with the id {id} is stored, and none names it");
            return Err(NothingFound(said).into());
        }
        let mut out = Output::open(if self.no_pager { Paging::Never } else { Paging::Auto });
        match self.format {
            Format::Tree => tree::write(&mut out, &steps)?,
            Format::Json => self.json(&mut out, &steps)?,
            Format::Mermaid => graph::mermaid(&mut out, &steps)?,
            Format::Dot => graph::dot(&mut out, &steps)?,
        }
        out.close()?;
        if let Some(left_out) = self.left_out(&steps) {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "bloodbank-audit: {left_out}");
        }
        Ok(Found::Something)
    }

    /// What of the trace may not be here.
    fn left_out(&self, steps: &[Step]) -> Option<&'static str> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let many = |some: &dyn Fn(i32) -> bool| {
            steps.iter().filter(|step| some(step.depth)).count() >= limit
        };
        if many(&|depth| depth > 0) || many(&|depth| depth < 0) {
            Some("there may be more events than these: --limit")
        } else if steps.iter().any(|step| step.depth.abs() >= self.depth && self.depth > 0) {
            Some("the trace may go on beyond these links: --depth")
        } else {
            None
        }
    }

    fn json(&self, out: &mut Output, steps: &[Step]) -> anyhow::Result<()> {
        let at = |at: Option<OffsetDateTime>| at.map(|at| written(at, 6));
        let step = |step: &Step| {
            json!({
                "depth": step.depth,
                "id": step.id,
                "parent": step.parent,
                "missing": step.missing,
                "seq": step.seq,
                "received_at": at(step.received_at),
                "event_time": at(step.event_time),
                "event_type": step.event_type,
                "source": step.source,
                "routing_key": step.routing_key,
                "causes": step.causes,
                "copies": step.copies,
            })
        };
        let whole = json!({
            "id": self.id,
            "events": steps.iter().map(step).collect::<Vec<_>>(),
            "left_out": self.left_out(steps),
        });
        Ok(write_json(out, &whole)?)
    }
}
