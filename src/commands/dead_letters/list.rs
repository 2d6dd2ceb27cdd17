//! The dead letters, in the order of their queue.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{chosen::Chosen, look_through, object::object, places, summary::NOTHING};
use crate::{
    commands::{
        access::{Noted, Purpose},
        json, lasted,
        overview::{Format, grouped, size},
        reading,
        replay::Status,
        terminal::{Cell, Column, Output, Paging, Table, json_safe, style},
    },
    config::Config,
    dead_letters::Letter,
    event::now,
};

/// Bytes of lines that are kept while the queue is read: whoever waits for a reader must not hold messages meanwhile.
const KEPT: usize = 16 << 20;

/// Options of `bloodbank-audit dead-letters list`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write to the terminal without a pager
    #[arg(long)]
    no_pager: bool,
}

impl Options {
    pub async fn run(self, config: &Config) -> anyhow::Result<Status> {
        let choice = self.chosen.choice()?;
        let noted =
            Noted::begin(config, Purpose::Read, "dead-letters list", self.chosen.json()).await?;
        let paging = if self.no_pager { Paging::Never } else { Paging::Auto };
        let mut out = Output::open(paging);
        let mut writer = Writer::new(self.format, &out);
        let mut found = 0;
        let limit = choice.limit.unwrap_or(u64::MAX);
        let mut kept = Vec::new();
        let most = if out.is_paged() { KEPT } else { 0 };
        let each = |letter: Letter| {
            if choice.fits(&letter) {
                found += 1;
                writer.letter(&mut kept, &letter)?;
                if kept.len() > most {
                    out.write_all(&kept)?;
                    kept.clear();
                }
            }
            Ok(found < limit && !out.is_left())
        };
        look_through(&places(config, Duration::ZERO)?, each).await?;
        out.write_all(&kept)?;
        writer.end(&mut out)?;
        out.close()?;
        noted.end(found).await?;
        if found == 0 && self.format == Format::Table {
            reading::say_at_a_terminal(NOTHING);
        }
        Ok(if found == 0 { Status::Nothing } else { Status::Done })
    }
}

/// Writes letters as they come.
enum Writer {
    Table { table: Table, letters: i64, bytes: i64 },
    Json { first: bool, terminal: bool },
}

impl Writer {
    fn new(format: Format, out: &Output) -> Writer {
        match format {
            Format::Json => Writer::Json { first: true, terminal: out.look().terminal },
            Format::Table => {
                let columns = vec![
                    Column::text("id"),
                    Column::text("reason"),
                    Column::text("routing key"),
                    Column::number("size"),
                    Column::number("age"),
                    Column::number("deaths").labelled(),
                    Column::text("detail"),
                ];
                Writer::Table {
                    table: Table::new(columns, out.look()).roomy(),
                    letters: 0,
                    bytes: 0,
                }
            }
        }
    }

    fn letter(&mut self, out: &mut impl Write, letter: &Letter) -> anyhow::Result<()> {
        match self {
            Writer::Table { table, letters, bytes } => {
                let cause = letter.cause();
                let length = i64::try_from(letter.delivery.body.len()).unwrap_or(i64::MAX);
                let age = letter.died_at().map(|at| lasted(now() - at)).unwrap_or_default();
                let broken = if letter.record.is_some() { style::BAD } else { style::WARNING };
                *letters += 1;
                *bytes += length;
                table.row(
                    out,
                    vec![
                        Cell::new(&letter.id()),
                        Cell::new(&cause.short()).styled(broken),
                        Cell::new(letter.origin().1).styled(style::STRONG),
                        Cell::new(&size(length)),
                        Cell::new(&age),
                        Cell::new(&grouped(letter.times_died())),
                        Cell::new(&cause.detail),
                    ],
                )?;
            }
            Writer::Json { first, terminal } => {
                let start = if std::mem::take(first) { "[\n  " } else { ",\n  " };
                let text = json::indented(&object(letter, false)?, 1);
                let safe = if *terminal { json_safe(&text) } else { text.as_str().into() };
                write!(out, "{start}{safe}")?;
            }
        }
        Ok(())
    }

    fn end(self, out: &mut Output) -> io::Result<()> {
        match self {
            Writer::Table { table, letters, bytes } => {
                table.end(out)?;
                if letters > 0 {
                    writeln!(out, "{} dead letter(s), {}", grouped(letters), size(bytes))?;
                }
                Ok(())
            }
            Writer::Json { first: true, .. } => out.write_all(b"[]\n"),
            Writer::Json { first: false, .. } => out.write_all(b"\n]\n"),
        }
    }
}
