//! `bloodbank-audit show`: one event whole.

mod copy;
mod page;

use std::time::Duration;

use clap::ValueEnum;

pub use self::{
    copy::Body,
    page::{body, field, line, properties},
};

use self::copy::Copy;
use super::{
    access::{Noted, Purpose, filter_json},
    reading::{self, Found, NothingFound},
    settings,
    terminal::{Output, Paging, visible},
};
use crate::{
    config::Config,
    store::{Filter, Order, Place, Reader, Relative, Selection},
};

/// Events under one id that are shown; usually there is one.
const COPIES: usize = 20;
/// Events that name it that are shown.
const EFFECTS: usize = 100;

/// Options of `bloodbank-audit show`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
pub struct Options {
    /// The event's id: a uuid in any spelling, or what it has instead
    #[arg(value_name = "ID")]
    id: String,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Text)]
    format: Format,
    /// How long PostgreSQL may take for each of its answers
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
  bloodbank-audit show 8057a88f-1d84-5270-8500-1fe179622bcf
  bloodbank-audit show order-7 --format json | jq .events[0].payload

Shows the envelope, properties and headers, where it sits, the body (JSON indented, bytes in hexadecimal), the events that it
names and those that name it. Where other content came under the same id, each of them, the first one first. The body is
exact in `bloodbank-audit events --id ID --format ndjson`.

{}",
        reading::EXIT_STATUS
    )
});

#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One object
    Json,
}

/// All that is known of an id.
struct Whole {
    /// What was stored under it, the first one first, and where.
    copies: Vec<(Copy, Option<Place>)>,
    /// Whether there are more.
    more: bool,
    causes: Vec<Relative>,
    effects: Vec<Relative>,
    more_effects: bool,
}

impl Options {
    /// Shows the event.
    ///
    /// # Errors
    /// It is not stored, cannot be read, or cannot be written.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let mut reader = Reader::open(&settings::store(&config)?, self.timeout).await?;
        let asked_for = filter_json(&Filter { id: Some(self.id.clone()), ..Filter::default() });
        let noted = Noted::begin(&config, Purpose::Read, "show", asked_for).await?;
        let whole = self.find(&mut reader).await?;
        noted.end(u64::try_from(whole.copies.len())?).await?;
        if whole.copies.is_empty() {
            let id = visible(&self.id);
            return Err(match whole.effects.len() {
                0 => NothingFound(format!("no event with the id {id} is stored")),
                _ => NothingFound(format!(
                    "no event with the id {id} is stored, but others name it: bloodbank-audit trace {id}"
                )),
            }
            .into());
        }
        let paging = if self.no_pager { Paging::Never } else { Paging::Auto };
        let mut out = Output::open(paging);
        match self.format {
            Format::Text => page::text(&mut out, &whole)?,
            Format::Json => page::json(&mut out, &whole)?,
        }
        out.close()?;
        Ok(Found::Something)
    }

    async fn find(&self, reader: &mut Reader) -> anyhow::Result<Whole> {
        let filter = Filter { id: Some(self.id.clone()), ..Filter::default() };
        let selection = Selection {
            order: Order::Oldest,
            limit: Some(i64::try_from(COPIES)? + 1),
            bodies: true,
            body_bytes: true,
        };
        let mut copies = Vec::new();
        let mut more = false;
        let keep = |row: &_| -> anyhow::Result<()> {
            more = copies.len() == COPIES;
            if !more {
                copies.push(Copy::of(row)?);
            }
            Ok(())
        };
        reader.events(&filter, selection, keep).await?;

        let mut causes: Vec<String> = Vec::new();
        for cause in copies.iter().flat_map(|copy| &copy.causes) {
            if !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
        let causes = if causes.is_empty() { Vec::new() } else { reader.causes(&causes).await? };
        let mut effects = reader.effects(&self.id, i64::try_from(EFFECTS)? + 1).await?;
        let more_effects = effects.len() > EFFECTS;
        effects.truncate(EFFECTS);
        let mut placed = Vec::new();
        for copy in copies {
            let place = match copy.received_at {
                Some(at) => reader.place(copy.seq, at).await?,
                None => None,
            };
            placed.push((copy, place));
        }
        Ok(Whole { copies: placed, more, causes, effects, more_effects })
    }
}
