//! `bloodbank-audit stats`: how much of what, when.

mod page;
mod sparkline;

use std::time::Duration;

use super::{
    access::{Noted, Purpose, filter_json},
    moment::Span,
    overview::Format,
    reading::{self, Found},
    settings,
    terminal::{Output, Paging},
};
use crate::{
    config::Config,
    event,
    store::{Filter, Reader},
};

/// Types and sources that are listed.
const TOP: i64 = 10;

/// Options of `bloodbank-audit stats`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
pub struct Options {
    #[command(flatten)]
    span: Span,
    /// Of the whole history, which takes a while where it is long
    #[arg(long, conflicts_with = "since")]
    all: bool,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
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
  bloodbank-audit stats                                  the last 24 hours
  bloodbank-audit stats --since 7d
  bloodbank-audit stats --since yesterday --until today --format json | jq .hours

Events count by when the daemon received them, duplicates by when they were committed. Rejections are what the daemon sent
to the dead-letter queue, by reason. Events of a partition are as of its last vacuum.

{}",
        reading::EXIT_STATUS
    )
});

impl Options {
    /// Writes the figures of the span.
    ///
    /// # Errors
    /// The span makes no sense; it cannot be read, or not be written.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let mut span = self.span.checked()?;
        if span.since.is_none() && !self.all {
            let until = span.until.unwrap_or_else(event::now).min(event::now());
            span.since = until.checked_sub(time::Duration::DAY);
        }
        let mut reader = Reader::open(&settings::store(&config)?, self.timeout).await?;
        let asked_for = Filter { since: span.since, until: span.until, ..Filter::default() };
        let noted = Noted::begin(&config, Purpose::Read, "stats", filter_json(&asked_for)).await?;
        let stats = reader.stats(span.since, span.until, TOP).await?;
        noted.end(u64::try_from(stats.all.events).unwrap_or_default()).await?;
        let paging = if self.no_pager { Paging::Never } else { Paging::Auto };
        let mut out = Output::open(paging);
        match self.format {
            Format::Table => page::table(&mut out, &stats, &span)?,
            Format::Json => page::json(&mut out, &stats, &span)?,
        }
        out.close()?;
        Ok(Found::when(stats.all.events > 0 || !stats.rejections.is_empty()))
    }
}
