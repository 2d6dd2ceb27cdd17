//! `bloodbank-audit redact`: an event's bytes are erased, and what proves that it was there stays.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use time::OffsetDateTime;

use super::{
    access::{self, Noted, Purpose},
    consent,
    overview::{exact, size},
    reading::{self, Found, Misuse, NothingFound},
    settings,
    terminal::visible,
};
use crate::{
    config::{Config, Environment},
    event::column_text,
    store::{Column, Erased, Eraser, Erasure, Filter, Level, Order, Reader, Row, Selection, Value},
};

const HELP: &str = "\
Examples:
  bloodbank-audit redact 8057a88f-1d84-5270-8500-1fe179622bcf --reason \"erasure request 4711\"
  bloodbank-audit redact order-7 order-8 --reason \"erasure request 4712\" --metadata --yes

Erases the body of each event with one of these ids, conflicts included; with --metadata everything else that it says, too: its
id, type, source, times, exchange, routing key, properties and causes. What stays is that there was an event, under its number, when
it was received, and its commitments: `verify` goes on to prove the rest of the history, and counts what was erased; by whom and
why is in audit.acts. It cannot be taken back.

Run it as the schema's owner: the role that records can change nothing. What is erased is out of the table, and still in dead
tuples until PostgreSQL vacuums them, in WAL, in backups and on standbys until those expire, in the dead-letter queue and in
audit.rejections where it went there too, and wherever the bus's other consumers keep it.

Exit status:
   0  erased, or it was before
   1  no event has one of the ids, or one is not as it was recorded: nothing was done with that one
   2  wrong use, or the answer was no
  69  the database is away, refuses, or its schema is missing or of another version
  70  the command died (a panic): a bug
  74  the output cannot be written
  78  the configuration is wrong";

/// Options of `bloodbank-audit redact`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// The events' ids: uuids in any spelling, or what they have instead
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Why, in words: it stays on record
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Erase everything that the event says beside its body, too
    #[arg(long)]
    metadata: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// How long PostgreSQL may take for each of its answers
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = reading::timeout)]
    timeout: Duration,
}

/// An event that is to be erased.
struct Doomed {
    id: String,
    seq: i64,
    received_at: OffsetDateTime,
    bytes: i64,
}

impl Options {
    /// Erases them one by one, and says what became of each.
    ///
    /// # Errors
    /// The answer is no, they cannot be found, or the database refuses; what was said to be erased is.
    pub async fn run(self, config: Config, environment: Environment) -> anyhow::Result<Found> {
        let store = settings::with_key(settings::store(&config)?, &config, &environment)?;
        let store = crate::store::Settings { statement_timeout: self.timeout, ..store };
        let mut asked_for = serde_json::Map::new();
        asked_for.insert("ids".to_owned(), self.ids.clone().into());
        asked_for.insert("reason".to_owned(), self.reason.clone().into());
        asked_for.insert("metadata".to_owned(), self.metadata.into());
        let noted = Noted::begin(&config, Purpose::Export, "redact", asked_for).await?;
        let (doomed, missing) = self.find(&store).await?;
        if doomed.is_empty() {
            noted.end(0).await?;
            return Err(NothingFound("no event with one of these ids is stored".to_owned()).into());
        }
        if !self.yes {
            self.ask(&doomed)?;
        }
        let level = if self.metadata { Level::Metadata } else { Level::Content };
        let by = format!("{}@{}", access::os_user(), settings::host_name());
        let reason = column_text(&self.reason).into_owned();
        let erasure = Erasure { level, by, reason };
        let mut eraser = Eraser::open(&store).await?;
        if eraser.wants_key().await? {
            return Err(settings::keyless().into());
        }
        let (mut erased, mut left) = (0, missing);
        for event in &doomed {
            let outcome = eraser.erase(event.seq, event.received_at, &erasure).await?;
            let name = format!(
                "{} (seq {}, received {})",
                visible(&event.id),
                event.seq,
                exact(event.received_at)
            );
            match outcome {
                Erased::Now => {
                    erased += 1;
                    say(&format!("erased {name}"))?;
                }
                Erased::Before => say(&format!("erased before: {name}"))?,
                Erased::Gone => {
                    left = true;
                    say(&format!("gone meanwhile: {name}"))?;
                }
                Erased::Altered => {
                    left = true;
                    say(&format!(
                        "left: {name} is not as it was recorded, and erasing it would hide that: run `bloodbank-audit verify`"
                    ))?;
                }
            }
        }
        eraser.close().await;
        noted.end(erased).await?;
        Ok(Found::when(!left))
    }

    /// What is stored under the ids, and whether there is one under which nothing is.
    async fn find(&self, store: &crate::store::Settings) -> anyhow::Result<(Vec<Doomed>, bool)> {
        let mut reader = Reader::open(store, self.timeout).await?;
        let selection =
            Selection { order: Order::Oldest, limit: None, bodies: false, body_bytes: true };
        let (mut doomed, mut missing) = (Vec::new(), false);
        for id in &self.ids {
            let filter = Filter {
                id: Some(id.clone()),
                replays: false,
                canaries: true,
                ..Filter::default()
            };
            let before = doomed.len();
            let keep = |row: &Row| -> anyhow::Result<()> {
                let number = |column| match row.value(column)? {
                    Some(Value::Number(number)) => anyhow::Ok(number),
                    _ => Ok(0),
                };
                if let Some(Value::Time(received_at)) = row.value(Column::ReceivedAt)? {
                    let (seq, bytes) = (number(Column::Seq)?, number(Column::BodyBytes)?);
                    doomed.push(Doomed { id: id.clone(), seq, received_at, bytes });
                }
                Ok(())
            };
            reader.events(&filter, selection, keep).await?;
            if doomed.len() == before {
                missing = true;
                say(&format!("no event with the id {} is stored", visible(id)))?;
            }
        }
        Ok((doomed, missing))
    }

    fn ask(&self, doomed: &[Doomed]) -> Result<(), Misuse> {
        let bytes = doomed.iter().map(|event| event.bytes).sum();
        let what = if self.metadata { "bodies and metadata" } else { "bodies" };
        let words = format!(
            "{what} of {} event(s), {} of bodies, are erased for good, and it stays on record that they were",
            doomed.len(),
            size(bytes)
        );
        let unasked = format!("{words}. Where nobody can be asked, --yes says that this is meant");
        consent::ask(&words, unasked, "nothing is erased")
    }
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
