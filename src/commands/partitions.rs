//! `bloodbank-audit partitions`: in which pieces the history lies, how large they are, and when they go.

use std::{io, io::Write as _, sync::LazyLock};

use serde::Serialize;
use time::OffsetDateTime;

use super::{
    lasted::lasted,
    overview::{Format, exact, grouped, seconds, size, write_json},
    reading::{EXIT_STATUS, Found},
    settings,
    terminal::{Cell, Column, Output, Paging, Table, style},
};
use crate::{
    config::Config,
    event::now,
    store::{self, ExpiredPartition, Partition, Presence},
};

static HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Examples:
  bloodbank-audit partitions                      each with its span, rows, sizes, and when retention drops it
  bloodbank-audit partitions --exact              rows counted, which reads all of the history
  bloodbank-audit partitions --expired            those that are gone, and when they went
  bloodbank-audit partitions --format json | jq '[.[].table_bytes] | add'

Rows are PostgreSQL's estimate unless --exact is given. When a partition goes follows from retention.keep as it is
configured here; the daemon's configuration counts.

{EXIT_STATUS}"
    )
});

/// Options of `bloodbank-audit partitions`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
pub struct Options {
    /// Those that are gone instead: dropped by retention, or found missing
    #[arg(long)]
    expired: bool,
    /// Count rows instead of taking PostgreSQL's estimate; reads all of the history
    #[arg(long, conflicts_with = "expired")]
    exact: bool,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write to the terminal without a pager
    #[arg(long)]
    no_pager: bool,
}

impl Options {
    /// Writes them to stdout, the oldest first.
    ///
    /// # Errors
    /// The database cannot be asked, or stdout cannot be written to.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let settings = settings::store(&config)?;
        let paging = if self.no_pager { Paging::Never } else { Paging::Auto };
        if self.expired {
            let gone = store::expired_partitions(&settings).await?;
            let mut out = Output::open(paging);
            match self.format {
                Format::Json => {
                    write_json(&mut out, &gone.iter().map(Gone::of).collect::<Vec<_>>())?;
                }
                Format::Table => expired_table(&mut out, &gone)?,
            }
            out.close()?;
            return Ok(Found::when(!gone.is_empty()));
        }
        let partitions = store::partitions(&settings, self.exact).await?;
        let keep = config.retention.keep;
        let listed: Vec<_> = partitions
            .iter()
            .map(|partition| {
                let kept_until = keep
                    .filter(|_| partition.presence == Presence::Attached)
                    .and_then(|keep| partition.to.checked_add(keep.try_into().ok()?));
                (partition, kept_until)
            })
            .collect();
        let mut out = Output::open(paging);
        match self.format {
            Format::Json => {
                let listed = listed.iter().map(|&(p, until)| Listed::of(p, until, self.exact));
                write_json(&mut out, &listed.collect::<Vec<_>>())?;
            }
            Format::Table => table(&mut out, &listed, self.exact)?,
        }
        out.close()?;
        Ok(Found::when(!partitions.is_empty()))
    }
}

type WithEnd<'a> = (&'a Partition, Option<OffsetDateTime>);

fn table(out: &mut Output, listed: &[WithEnd<'_>], exact: bool) -> io::Result<()> {
    let columns = vec![
        Column::text("partition"),
        Column::whole("from"),
        Column::whole("to"),
        Column::number(if exact { "rows" } else { "rows, about" }),
        Column::number("table"),
        Column::number("indexes"),
        Column::text("state"),
        Column::text("dropped").labelled(),
    ];
    let mut table = Table::new(columns, out.look());
    for (partition, kept_until) in listed {
        let (state, state_style) = match partition.presence {
            Presence::Attached => ("attached", style::PLAIN),
            Presence::Detached => ("detached", style::WARNING),
            Presence::Missing => ("missing", style::BAD),
        };
        let dropped = match kept_until {
            None => "never".to_owned(),
            Some(until) if *until <= now() => "due".to_owned(),
            Some(until) => format!("from {} on", seconds(*until)),
        };
        let row = vec![
            Cell::new(&partition.name).styled(style::STRONG),
            Cell::new(&seconds(partition.from)),
            Cell::new(&seconds(partition.to)),
            Cell::new(&partition.rows.map(grouped).unwrap_or_default()),
            Cell::new(&size(partition.table_bytes)),
            Cell::new(&size(partition.index_bytes)),
            Cell::new(state).styled(state_style),
            Cell::new(&dropped),
        ];
        table.row(out, row)?;
    }
    table.end(out)?;
    if listed.is_empty() {
        return Ok(());
    }
    let sum = |of: &dyn Fn(&Partition) -> i64| listed.iter().map(|(p, _)| of(p)).sum::<i64>();
    writeln!(
        out,
        "{} partition(s), {}{} rows, {} of tables and {} of indexes",
        listed.len(),
        if exact { "" } else { "about " },
        grouped(sum(&|partition| partition.rows.unwrap_or_default())),
        size(sum(&|partition| partition.table_bytes)),
        size(sum(&|partition| partition.index_bytes)),
    )
}

fn expired_table(out: &mut Output, gone: &[ExpiredPartition]) -> io::Result<()> {
    let columns = vec![
        Column::text("partition"),
        Column::whole("from"),
        Column::whole("to"),
        Column::number("events"),
        Column::number("size"),
        Column::whole("dropped").labelled(),
        Column::text("kept for").labelled(),
    ];
    let mut table = Table::new(columns, out.look());
    for partition in gone {
        let (kept, kept_style) = match partition.keep {
            Some(keep) => (lasted(keep.try_into().unwrap_or(time::Duration::MAX)), style::PLAIN),
            None => ("taken away by hand".to_owned(), style::WARNING),
        };
        let row = vec![
            Cell::new(&partition.name).styled(style::STRONG),
            Cell::new(&seconds(partition.from)),
            Cell::new(&seconds(partition.to)),
            Cell::new(&partition.events.map(grouped).unwrap_or_default()),
            Cell::new(&partition.bytes.map(size).unwrap_or_default()),
            Cell::new(&seconds(partition.dropped_at)),
            Cell::new(&kept).styled(kept_style),
        ];
        table.row(out, row)?;
    }
    table.end(out)
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    from: String,
    to: String,
    state: &'static str,
    rows: Option<i64>,
    exact: bool,
    table_bytes: i64,
    index_bytes: i64,
    kept_until: Option<String>,
}

impl Listed<'_> {
    fn of(
        partition: &Partition,
        kept_until: Option<OffsetDateTime>,
        exact_rows: bool,
    ) -> Listed<'_> {
        Listed {
            name: &partition.name,
            from: exact(partition.from),
            to: exact(partition.to),
            state: match partition.presence {
                Presence::Attached => "attached",
                Presence::Detached => "detached",
                Presence::Missing => "missing",
            },
            rows: partition.rows,
            exact: exact_rows,
            table_bytes: partition.table_bytes,
            index_bytes: partition.index_bytes,
            kept_until: kept_until.map(exact),
        }
    }
}

#[derive(Serialize)]
struct Gone<'a> {
    name: &'a str,
    from: String,
    to: String,
    events: Option<i64>,
    bytes: Option<i64>,
    dropped_at: String,
    keep_seconds: Option<u64>,
}

impl Gone<'_> {
    fn of(partition: &ExpiredPartition) -> Gone<'_> {
        Gone {
            name: &partition.name,
            from: exact(partition.from),
            to: exact(partition.to),
            events: partition.events,
            bytes: partition.bytes,
            dropped_at: exact(partition.dropped_at),
            keep_seconds: partition.keep.map(|keep| keep.as_secs()),
        }
    }
}
