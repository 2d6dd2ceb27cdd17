//! One dead letter whole.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;

use super::{look_through, object::object, places};
use crate::{
    commands::{
        access::{Noted, Purpose},
        events::written,
        json,
        overview::Format,
        reading::{Misuse, NothingFound},
        replay::Status,
        show::{Body, body, field, line, properties},
        terminal::{Output, Paging, json_safe, style, visible},
    },
    config::Config,
    dead_letters::Letter,
};

/// Candidates that are named.
const NAMED: usize = 20;

/// Options of `bloodbank-audit dead-letters show`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Its id as `list` shows it, its message_id, or how one begins
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    id: String,
    /// Write the body to this file, exactly, and nothing else anywhere
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    save: Option<PathBuf>,
    /// Overwrite that file where it exists
    #[arg(long, requires = "save")]
    force: bool,
    /// How it is written
    #[arg(long, short = 'f', value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write to the terminal without a pager
    #[arg(long)]
    no_pager: bool,
}

impl Options {
    pub async fn run(self, config: &Config) -> anyhow::Result<Status> {
        let asked_for = [("id".to_owned(), self.id.clone().into())].into_iter().collect();
        let noted = Noted::begin(config, Purpose::Read, "dead-letters show", asked_for).await?;
        let (mut exact, mut candidate) = (None, None);
        let mut candidates: Vec<String> = Vec::new();
        let each = |letter: Letter| {
            if letter.is(&self.id) {
                exact = Some(letter);
            } else if letter.may_be(&self.id) {
                if candidates.len() < NAMED {
                    candidates.push(letter.id());
                }
                candidate.get_or_insert(letter);
            }
            // Others may be called the same, and are the same to the byte, or came under the same id.
            Ok(exact.is_none())
        };
        look_through(&places(config, Duration::ZERO)?, each).await?;
        let id = visible(&self.id);
        candidates.sort_unstable();
        candidates.dedup();
        if exact.is_none() && candidates.len() > 1 {
            return Err(Misuse(format!(
                "{id} may be any of these: {}",
                candidates.iter().map(|other| visible(other)).collect::<Vec<_>>().join(", ")
            ))
            .into());
        }
        let Some(letter) = exact.or(candidate) else {
            return Err(NothingFound(format!(
                "no dead letter is called {id}; `bloodbank-audit dead-letters list` shows those that are there"
            ))
            .into());
        };
        noted.end(1).await?;
        if let Some(path) = &self.save {
            save(path, &letter.delivery.body, self.force)
                .with_context(|| format!("--save {}", path.display()))?;
            return Ok(Status::Done);
        }
        let mut out = Output::open(if self.no_pager { Paging::Never } else { Paging::Auto });
        match self.format {
            Format::Table => text(&mut out, &letter)?,
            Format::Json => {
                let pretty = json::indented(&object(&letter, true)?, 0);
                let safe =
                    if out.look().terminal { json_safe(&pretty) } else { pretty.as_str().into() };
                writeln!(out, "{safe}")?;
            }
        }
        out.close()?;
        Ok(Status::Done)
    }
}

/// Writes these bytes and nothing else to a file, which is there when this returns.
pub fn save(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    let mut options = File::options();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            io::Error::new(error.kind(), "it exists; --force overwrites it")
        }
        _ => error,
    })?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn text(out: &mut Output, letter: &Letter) -> anyhow::Result<()> {
    let (exchange, routing_key) = letter.origin();
    let cause = letter.cause();
    if let Some(id) = &letter.event_id {
        field(out, "id", id)?;
    }
    field(out, "sha256", &letter.digest())?;
    field(out, "position", &letter.position.to_string())?;
    field(out, "reason", &cause.short())?;
    field(out, "detail", &cause.detail)?;
    if let Some(at) = letter.died_at() {
        field(out, "died_at", &written(at, 6))?;
    }
    field(out, "exchange", exchange)?;
    field(out, "routing_key", routing_key)?;
    field(out, "body_bytes", &letter.delivery.body.len().to_string())?;
    line(out, style::HEADING, "deaths")?;
    for death in &letter.deaths {
        let keys = death.routing_keys.join(", ");
        let at = death.time.map(|at| format!(", first at {}", written(at, 0))).unwrap_or_default();
        let said = format!(
            "  {} in '{}', {} time(s){at}: published to '{}' with {keys}",
            death.reason, death.queue, death.count, death.exchange
        );
        line(out, style::PLAIN, &said)?;
    }
    properties(out, &letter.delivery.properties_json())?;
    line(out, style::HEADING, "body")?;
    let bytes = &letter.delivery.body;
    let shown = match std::str::from_utf8(bytes) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            Body::Json(text.to_owned())
        }
        _ => Body::Bytes(bytes.clone()),
    };
    Ok(body(out, &shown)?)
}
