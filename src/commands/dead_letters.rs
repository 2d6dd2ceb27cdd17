//! `bloodbank-audit dead-letters`: what could not be recorded, looked at, sent again, discarded, taken along.

mod ask;
mod chosen;
mod discard;
mod export;
mod list;
mod object;
mod requeue;
mod show;
mod summary;

use std::io::{self, Write as _};

use clap::Subcommand;

use super::{replay::Status, settings, terminal::visible};
use crate::{
    config::Config,
    dead_letters::{Item, Letter, Places, Unreadable, Walk},
};

const HELP: &str = "\
Examples:
  bloodbank-audit dead-letters list
  bloodbank-audit dead-letters list --reason 23514 --since yesterday
  bloodbank-audit dead-letters show 8057a88f-1d84-5270-8500-1fe179622bcf
  bloodbank-audit dead-letters show 8057a88f-1d84-5270-8500-1fe179622bcf --save body.json
  bloodbank-audit dead-letters requeue --reason refused --rate 100/s
  bloodbank-audit dead-letters requeue --all
  bloodbank-audit dead-letters export --output dead-letters.ndjson
  bloodbank-audit dead-letters discard --key 'test.#' --because 'left by a trial' --save discarded.ndjson

All of them read the queue rabbitmq.dead_letter_queue while the daemon runs or is down. Nothing is taken out of it but by
requeue, when the broker has confirmed the message in another queue, and by discard; both put each message on record in
audit.dead_letter_actions before. While one of them reads, what it has read is out of others' sight. A message that no client
of this program can decode is passed by with a word, and stays where it is.

A message is called by the event's id, by its message_id, or by the first 16 digits of the SHA-256 of its body.

Exit status:
   0  done
   1  no dead letter is there, or none that was asked for
   2  wrong use: a flag, a time, a pattern; or nobody can be asked, and --yes is not given
   4  some that were meant are left in the dead-letter queue: why is said
  69  the broker or the database is away or refuses
  74  the output cannot be written
  75  stopped before the end
  78  the configuration is wrong";

/// Options of `bloodbank-audit dead-letters`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, arg_required_else_help = true, subcommand_required = true)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them: why each is here, its key, its size, when it died and how often
    List(list::Options),
    /// Show one whole: headers, deaths, body
    Show(show::Options),
    /// Send them again, to the audit queue or to where they came from
    Requeue(requeue::Options),
    /// Take them out for good, on record
    Discard(discard::Options),
    /// Write them as lines of JSON, bodies exact
    Export(export::Options),
}

impl Options {
    /// Does what is asked.
    ///
    /// # Errors
    /// It cannot begin, or what it found cannot be written. What ends it later is said, and is in its status.
    pub async fn run(self, config: Config) -> anyhow::Result<Status> {
        match self.what {
            What::List(options) => options.run(&config).await,
            What::Show(options) => options.run(&config).await,
            What::Requeue(options) => options.run(&config).await,
            What::Discard(options) => options.run(&config).await,
            What::Export(options) => options.run(&config).await,
        }
    }
}

fn places(config: &Config, patience: std::time::Duration) -> anyhow::Result<Places> {
    Ok(Places {
        broker: settings::broker_at(config, settings::address(config)),
        store: settings::store(config)?,
        envelope: settings::envelope(config),
        patience,
    })
}

/// Reads the queue once, and hands out each letter, until `each` has seen enough.
async fn look_through(
    places: &Places,
    mut each: impl FnMut(Letter) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut walk = Walk::begin(places, "dead letters").await?;
    walk.permit(walk.waiting());
    let (mut unreadable, mut unknown) = (Vec::new(), None);
    let mut outcome = Ok(true);
    'pages: while matches!(outcome, Ok(true)) {
        let page = match walk.page().await {
            Ok(page) if page.is_empty() => break,
            Ok(page) => page,
            // Nothing is left to be given back.
            Err(fault) => return Err(fault.into()),
        };
        unknown = unknown.or_else(|| walk.unknown().cloned());
        for item in page {
            match item {
                Item::Letter(letter) => outcome = each(*letter),
                Item::Unreadable(one) => unreadable.push(one),
            }
            if !matches!(outcome, Ok(true)) {
                break 'pages;
            }
        }
    }
    walk.end().await;
    if let Some(fault) = unknown {
        say(&format!(
            "PostgreSQL cannot be asked why the daemon rejected them, so that only the broker's words are shown: {fault}"
        ));
    }
    say_unreadable(&unreadable);
    outcome.map(drop)
}

/// Most places that are named.
const NAMED: usize = 10;

fn say_unreadable(unreadable: &[Unreadable]) {
    if unreadable.is_empty() {
        return;
    }
    let positions: Vec<_> =
        unreadable.iter().take(NAMED).map(|one| one.position.to_string()).collect();
    let more = if unreadable.len() > NAMED { ", …" } else { "" };
    say(&format!(
        "{} message(s) that this client cannot decode, passed by (position {}{more}): {}",
        unreadable.len(),
        positions.join(", "),
        unreadable[0].why
    ));
}

/// Says something beside the output. A closed stderr leaves nobody to tell.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "bloodbank-audit: {}", visible(words));
}
