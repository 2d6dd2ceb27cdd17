//! `bloodbank-audit coverage`: when events were recorded, and when and why not.

mod periods;

use std::{io, io::Write as _, sync::LazyLock};

use serde::Serialize;

use super::{
    lasted::lasted,
    moment::Span,
    overview::{Format, exact, seconds, write_json},
    reading::{EXIT_STATUS, Found, say_at_a_terminal},
    settings,
    terminal::{Cell, Column, Output, Paging, Table, style, visible},
};
use crate::{config::Config, store};
use periods::{Period, Queue, queues};

static HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Examples:
  bloodbank-audit coverage                          all that is known
  bloodbank-audit coverage --since 7d               of the last week
  bloodbank-audit coverage --since yesterday --until today --format json

A hole is a time in which no daemon recorded that queue: what was published then waited in the durable queue, unless
the queue was unbound. audit.listening(at) says what became of the events of a moment. Times are the daemons'. What
lies before the first start is not known and no hole.

{EXIT_STATUS}"
    )
});

/// Options of `bloodbank-audit coverage`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
pub struct Options {
    #[command(flatten)]
    span: Span,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write to the terminal without a pager
    #[arg(long)]
    no_pager: bool,
}

impl Options {
    /// Writes it to stdout, queue by queue, the oldest first.
    ///
    /// # Errors
    /// The database cannot be asked, or stdout cannot be written to.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let Span { since, until } = self.span.checked()?;
        let spans = store::coverage_spans(&settings::store(&config)?, since, until).await?;
        let queues = queues(&spans);
        if queues.is_empty() && self.format == Format::Table {
            say_at_a_terminal("no daemon is known to have run in that time");
            return Ok(Found::Nothing);
        }
        let mut out = Output::open(if self.no_pager { Paging::Never } else { Paging::Auto });
        match self.format {
            Format::Json => {
                write_json(&mut out, &queues.iter().map(Listed::of).collect::<Vec<_>>())?;
            }
            Format::Table => {
                for queue in &queues {
                    table(&mut out, queue)?;
                }
            }
        }
        out.close()?;
        Ok(Found::when(!queues.is_empty()))
    }
}

fn table(out: &mut Output, queue: &Queue) -> io::Result<()> {
    let columns = vec![
        Column::whole("from"),
        Column::whole("to"),
        Column::number("lasted"),
        Column::whole("what"),
        Column::text("why"),
    ];
    let mut table = Table::new(columns, out.look());
    for period in &queue.periods {
        let (what, what_style) =
            if period.recorded { ("recorded", style::PLAIN) } else { ("hole", style::BAD) };
        let to = if period.lasts { "now".to_owned() } else { seconds(period.to) };
        let row = vec![
            Cell::new(&seconds(period.from)),
            Cell::new(&to),
            Cell::new(&lasted(period.length())),
            Cell::new(what).styled(what_style),
            Cell::new(&period.causes.join("; ")),
        ];
        table.row(out, row)?;
    }
    table.end(out)?;
    let (recorded, length) = (queue.recorded(), queue.length());
    let percent =
        100.0 * recorded.as_seconds_f64() / length.as_seconds_f64().max(f64::MIN_POSITIVE);
    let longest = queue.holes().map(Period::length).max();
    let holes = match longest {
        None => "no hole".to_owned(),
        Some(longest) => {
            format!("{} hole(s), the longest of {}", queue.holes().count(), lasted(longest))
        }
    };
    // Cut, not rounded: with a hole it is never all of it.
    let percent = (percent * 1000.0).floor() / 1000.0;
    writeln!(
        out,
        "{} from {}: recorded for {} of {} ({percent:.3} %), {holes}",
        visible(&queue.queue),
        visible(&queue.exchange),
        lasted(recorded),
        lasted(length),
    )
}

#[derive(Serialize)]
struct Listed<'a> {
    exchange: &'a str,
    queue: &'a str,
    seconds: f64,
    recorded_seconds: f64,
    spans: Vec<ListedSpan<'a>>,
}

#[derive(Serialize)]
struct ListedSpan<'a> {
    from: String,
    to: String,
    lasts: bool,
    recorded: bool,
    causes: &'a [String],
}

impl Listed<'_> {
    fn of(queue: &Queue) -> Listed<'_> {
        let spans = queue.periods.iter().map(|period| ListedSpan {
            from: exact(period.from),
            to: exact(period.to),
            lasts: period.lasts,
            recorded: period.recorded,
            causes: &period.causes,
        });
        Listed {
            exchange: &queue.exchange,
            queue: &queue.queue,
            seconds: queue.length().as_seconds_f64(),
            recorded_seconds: queue.recorded().as_seconds_f64(),
            spans: spans.collect(),
        }
    }
}
