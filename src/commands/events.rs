//! `bloodbank-audit events`: what the history holds, as a table for people or as lines for programs.

mod columns;
mod csv;
pub mod filters;
mod follow;
mod object;
mod table;
mod write;

use std::{io::Write as _, num::NonZeroU32, time::Duration};

use clap::ValueEnum;

pub use csv::text;
pub use object::{body_of, object, written};

use self::{
    columns::Columns, csv::Csv, filters::Filters, follow::Following, object::Objects, table::Events,
};
use super::{
    access::{Noted, Purpose, filter_json},
    reading::{self, Found, Misuse},
    settings,
    terminal::{Output, Paging},
};
use crate::{
    backoff::Backoff,
    config::Config,
    store::{Column, Filter, Follower, Order, Reader, Selection},
};

/// Events of a table where no number is asked for.
const USUAL_LIMIT: i64 = 50;

/// Options of `bloodbank-audit events`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
pub struct Options {
    #[command(flatten)]
    filters: Filters,
    /// At most so many, or "all"; 50 for a table, all for the other formats
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = limit)]
    limit: Option<Limit>,
    /// Which come first, by when they were received
    #[arg(long, value_enum, default_value_t = Direction::Newest)]
    order: Direction,
    /// How they are written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    format: Format,
    /// These columns, in this order: of audit.events, or id, or body_bytes; with --replays, or replay, or original_at
    #[arg(long, value_name = "NAME,…", value_parser = columns::parse)]
    columns: Option<Columns>,
    /// Only say how many there are
    #[arg(long, conflicts_with_all = ["limit", "order", "format", "columns"])]
    count: bool,
    /// Write new events as they commit, from now or --since on, until --limit of them were written or a signal ends it
    #[arg(long, short = 'F', conflicts_with_all = ["count", "until", "order"])]
    follow: bool,
    /// Show replays that came back, too: each as the event that it is, received then, with which replay it was and when the
    /// event itself was received
    #[arg(long, conflicts_with = "follow")]
    replays: bool,
    /// Show canaries, too: the small events that daemons publish to see them come back
    #[arg(long)]
    canaries: bool,
    /// How long PostgreSQL may take to find the next event; with --where or --count, all of them
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
  bloodbank-audit events                                      the last 50
  bloodbank-audit events --type 'llm.#' --since 2h            of some types, of the last two hours
  bloodbank-audit events --key 'session.*.ended' --since yesterday --until today
  bloodbank-audit events --source workstation-7 --columns received_at,routing_key,body_bytes
  bloodbank-audit events --correlation 0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11
  bloodbank-audit events --where \"payload->'payload'->>'model' like 'gpt%'\" --since 1d
  bloodbank-audit events --malformed --count
  bloodbank-audit events --follow --type 'session.#' --format ndjson | jq .payload
  bloodbank-audit events --since 2026-11-23 --order oldest --format ndjson > history.ndjson

A topic pattern is words between dots: * is exactly one word, # any number, none included.

Formats:
  table   cut to the width of the terminal, control characters escaped; $PAGER, or less -FRX, on a terminal
  ndjson  an object a line, without nulls; the body is last and exact, in one of: \"payload\" (JSON, verbatim),
          \"body\" (text; also JSON with line breaks), \"body_base64\" (anything else)
  json    the same as one array, indented; JSON bodies are \"payload\", indented too
  csv     with a header, as RFC 4180 has it; a body that is no text as \\x and hexadecimal
All but the table, and all with access_log.reads = true, leave a row in audit.access_log: who, when, what for, how many.
On a terminal, json and ndjson escape control characters, which leaves their meaning as it is.

--follow waits for a database that goes away while it follows, says so on stderr, and goes on behind the last event that it
wrote. What time does not mend, such as a changed password, ends it with 69; a reader of its output that goes away, with 0.

--where is a condition on the columns of audit.events in PostgreSQL's SQL. It is asked in a read-only transaction, as the
role audit_reader or one that cannot write.

{}",
        reading::EXIT_STATUS
    )
});

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One array of objects
    Json,
    /// An object a line
    Ndjson,
    /// Comma-separated values
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    /// The last one first
    Newest,
    /// The first one first
    Oldest,
}

impl From<Direction> for Order {
    fn from(direction: Direction) -> Order {
        match direction {
            Direction::Newest => Order::Newest,
            Direction::Oldest => Order::Oldest,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    All,
    Of(NonZeroU32),
}

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "all" => Ok(Limit::All),
        _ => text.parse().map(Limit::Of).map_err(|_| "write a number from 1 on, or all".to_owned()),
    }
}

impl Options {
    /// Writes what matches.
    ///
    /// # Errors
    /// What is asked for makes no sense, cannot be read, or cannot be written.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let (replays, canaries) = (self.replays, self.canaries);
        let filter = Filter { replays, canaries, ..self.filters.filter()? };
        let settings = settings::store(&config)?;
        if self.count {
            let mut reader = Reader::open(&settings, self.timeout).await?;
            let noted =
                Noted::begin(&config, Purpose::Read, "events --count", filter_json(&filter))
                    .await?;
            let number = reader.count(&filter).await?;
            noted.end(u64::try_from(number).unwrap_or_default()).await?;
            let mut out = Output::open(Paging::Never);
            writeln!(out, "{number}")?;
            out.close()?;
            return Ok(Found::when(number > 0));
        }
        let usual = || self.format.columns(self.replays);
        let columns = self.columns.map_or_else(usual, |columns| columns.0);
        if let Some(column) = columns.iter().find(|column| column.is_of_replays() && !self.replays)
        {
            let words = format!("{} is told of replays, which --replays shows", column.name());
            return Err(Misuse(words).into());
        }
        let limit = match self.limit {
            Some(Limit::Of(number)) => Some(i64::from(number.get())),
            None if self.format == Format::Table && !self.follow => Some(USUAL_LIMIT),
            Some(Limit::All) | None => None,
        };
        let selection = Selection {
            order: self.order.into(),
            limit,
            bodies: columns.iter().any(|column| matches!(column, Column::Payload | Column::Body)),
            body_bytes: columns.contains(&Column::BodyBytes),
        };
        let mut asked_for = filter_json(&filter);
        asked_for.extend(limit.map(|limit| ("limit".to_owned(), limit.into())));
        if self.follow {
            if self.format == Format::Json {
                let meant = "an array that has no end is of no use: did you mean --format ndjson?";
                return Err(Misuse(meant.to_owned()).into());
            }
            let follower = Follower::open(&settings, self.timeout, filter.since).await?;
            let purpose = self.format.purpose();
            let noted = Noted::begin(&config, purpose, "events --follow", asked_for).await?;
            let backoff = Backoff::new(config.reconnect.initial, config.reconnect.max);
            let (filter, format) = (&filter, self.format);
            Following { follower, filter, selection, format, columns, backoff }.write().await?;
            // It ends by itself only with as many as were asked for.
            noted.end(u64::try_from(limit.unwrap_or_default())?).await?;
            return Ok(Found::Something);
        }
        let mut reader = Reader::open(&settings, self.timeout).await?;
        let noted = Noted::begin(&config, self.format.purpose(), "events", asked_for).await?;
        let paging = if self.no_pager { Paging::Never } else { Paging::Auto };
        let writer = write::Writer { format: self.format, columns, paging };
        let found = writer.write(&mut reader, &filter, selection).await?;
        noted.end(found).await?;
        if found == 0 && self.format == Format::Table {
            reading::say_at_a_terminal("nothing matches");
        }
        Ok(Found::when(found > 0))
    }
}

impl Format {
    /// Whoever sees a table looks; the other formats are for keeping.
    fn purpose(self) -> Purpose {
        match self {
            Format::Table => Purpose::Read,
            Format::Json | Format::Ndjson | Format::Csv => Purpose::Export,
        }
    }

    /// What is written where nobody says which columns.
    fn columns(self, replays: bool) -> Vec<Column> {
        let mut columns = match self {
            Format::Table => {
                vec![Column::ReceivedAt, Column::EventType, Column::Source, Column::Id]
            }
            Format::Json | Format::Ndjson | Format::Csv => Column::stored().to_vec(),
        };
        match self {
            _ if !replays => {}
            Format::Table => columns.push(Column::Replay),
            _ => columns.extend([Column::Replay, Column::OriginalAt]),
        }
        columns
    }
}
