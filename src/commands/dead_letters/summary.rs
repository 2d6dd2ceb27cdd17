//! At work: who looks on, what stops it, and what it came to.

use std::{
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use super::say;
use crate::{
    commands::{overview::grouped, reading, replay::Status, terminal::visible},
    dead_letters::{self, Action, Ended, Failure, Job, Keeper, Places, Tally, Watcher},
    signals::{Listener, Stop},
    store::DeadLetterLog,
};

/// How it is done, as options.
#[derive(Debug, clap::Args)]
pub struct Manner {
    /// End with one JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// How long the broker or PostgreSQL may be away before it is given up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = reading::timeout)]
    pub patience: Duration,
}

/// How often a line is written.
const LINE: Duration = Duration::from_secs(10);

/// Says how it comes along.
struct LookOn(Mutex<Instant>);

impl Watcher for LookOn {
    fn settled(&self, tally: &Tally) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.elapsed() >= LINE {
            *written = Instant::now();
            say(&format!("{} done so far, {} left", number(tally.done), number(tally.left())));
        }
    }

    fn say(&self, words: &str) {
        say(words);
    }
}

#[derive(Serialize)]
struct Object<'a> {
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    done: u64,
    repeated: u64,
    unroutable: u64,
    nacked: u64,
    refused: u64,
    unreadable: u64,
    without_copies: u64,
}

/// Works on it until it ends, and says how it did.
///
/// # Errors
/// Signals cannot be handled, or stdout cannot be written to.
pub async fn work(
    job: &Job,
    places: &Places,
    log: DeadLetterLog,
    keeper: Option<Box<dyn Keeper>>,
    json: bool,
) -> anyhow::Result<Status> {
    let stop = Stop::new();
    let listener = Listener::start(stop.clone(), || {}, || {}).context("handling signals")?;
    let saved = keeper.is_some();
    let look_on = LookOn(Mutex::new(Instant::now()));
    let outcome = dead_letters::run(job, places, log, keeper, &stop, &look_on).await;
    drop(listener);
    let (ended, tally) = (&outcome.ended, &outcome.tally);
    let (state, cause) = match ended {
        Ended::Finished => ("finished", None),
        Ended::Stopped | Ended::CutShort => ("stopped", None),
        Ended::Failed(failure) => ("failed", Some(failure.to_string())),
    };
    if let Some(cause) = &cause {
        say(cause);
    }
    for (id, why) in &tally.why {
        say(&format!("left: {id}: {why}"));
    }
    let status = match ended {
        Ended::Finished if tally.left() > 0 => Status::Undelivered,
        Ended::Finished if tally.done == 0 => nothing(),
        Ended::Finished => Status::Done,
        Ended::Stopped | Ended::CutShort => Status::Stopped,
        Ended::Failed(Failure::Keep(_)) => Status::Unreported,
        Ended::Failed(Failure::Broker(_) | Failure::Store(_)) => Status::Unavailable,
    };
    let object = Object {
        state,
        cause,
        done: tally.done,
        repeated: tally.repeated,
        unroutable: tally.unroutable,
        nacked: tally.nacked,
        refused: tally.refused,
        unreadable: tally.unreadable,
        without_copies: tally.without_copies,
    };
    let written = match json {
        true => write_json(&object),
        false => write_lines(&lines(job, tally, state, saved)),
    };
    Ok(status.told(written)?)
}

fn write_json(object: &Object<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, object)?;
    writeln!(out)?;
    out.flush()
}

fn write_lines(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for words in lines {
        writeln!(out, "{}", visible(words))?;
    }
    out.flush()
}

/// Why nothing is to be seen.
pub const NOTHING: &str = "no dead letter is there, or none that was asked for; what another command has in hand is out of \
                           sight";

/// Nothing was there to be done.
pub fn nothing() -> Status {
    reading::say_at_a_terminal(NOTHING);
    Status::Nothing
}

fn lines(job: &Job, tally: &Tally, state: &str, saved: bool) -> Vec<String> {
    let what = match job.action {
        Action::Requeue { .. } => "sent again and taken out of the dead-letter queue",
        Action::Discard => "discarded",
    };
    let mut lines = vec![format!("{state}: {} dead letter(s) {what}", number(tally.done))];
    if tally.left() > 0 {
        lines.push(format!(
            "left where they are: {} unroutable, {} not taken by the broker, {} refused",
            number(tally.unroutable),
            number(tally.nacked),
            number(tally.refused)
        ));
    }
    for (count, words) in [
        (tally.repeated, "sent or discarded twice, as an outage left open what had become of them"),
        (tally.unreadable, "passed by, as this client cannot decode them"),
        (
            tally.without_copies,
            "sent without their header CC, by which the broker would have sent copies to other queues",
        ),
    ] {
        if count > 0 {
            lines.push(format!("{} {words}", number(count)));
        }
    }
    if state != "finished" {
        let file = if saved { ", with another file for --save" } else { "" };
        lines.push(format!(
            "what was not taken out waits in the dead-letter queue; the same command goes on{file}"
        ));
    }
    lines
}

fn number(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}
