//! `bloodbank-audit ledger new-epoch`: a new tree, after the database has lost what was sealed.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use crate::{
    commands::{
        access, consent,
        reading::{self, Found, Misuse},
        settings,
        terminal::visible,
    },
    config::{Config, Environment},
    event::column_text,
    export,
    store::{EpochLog, Ledger, NewEpoch},
};

const HELP: &str = "\
Examples:
  bloodbank-audit ledger new-epoch --reason \"restored from last night's backup, incident 4711\"
  bloodbank-audit ledger new-epoch --reason \"the standby lagged\" --yes

All that is in the database and not sealed, and all that follows, goes into a new tree. What the old one holds stays provable by its
checkpoints, as far as the database has it. It stays on record who began the new tree, when and why, together with the last
checkpoint in ledger.checkpoint_file and the last one in the database: whoever compares them sees what is missing.

Run it where the daemon runs, with its configuration, as the schema's owner: the role that records may not. Daemons that have
halted go on by themselves.";

/// Options of `bloodbank-audit ledger new-epoch`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Why, in words: it stays on record
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// How long PostgreSQL may take for each of its answers
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = reading::timeout)]
    timeout: Duration,
}

impl Options {
    /// Says what is lost, asks, and begins it.
    ///
    /// # Errors
    /// The answer is no, the file cannot be read, or the database refuses.
    pub async fn run(self, config: Config, environment: Environment) -> anyhow::Result<Found> {
        let store = settings::with_key(settings::store(&config)?, &config, &environment)?;
        let store = crate::store::Settings { statement_timeout: self.timeout, ..store };
        let origin = store.ledger.as_ref().and_then(Ledger::origin);
        let file = config.ledger.checkpoint_file.as_deref();
        let kept = match (file, &origin) {
            (Some(file), Some(origin)) => export::kept(file, origin).map_err(|error| {
                Misuse(format!("ledger.checkpoint_file {}: {error}", file.display()))
            })?,
            _ => Vec::new(),
        };
        let checkpoints: Vec<_> = kept.iter().map(|(checkpoint, _)| checkpoint.clone()).collect();
        let mut log = EpochLog::open(&store).await?;
        if log.wants_key().await? {
            return Err(settings::keyless().into());
        }
        let lost = log.lost(&checkpoints).await?;
        let found = match (lost, file) {
            (Some(lost), Some(file)) => format!("{} holds {lost}", file.display()),
            (None, Some(file)) if !kept.is_empty() => format!(
                "the database has as many leaves as the last checkpoint in {} speaks of, under its root",
                file.display()
            ),
            _ => "there is no checkpoint in ledger.checkpoint_file to compare with".to_owned(),
        };
        if !self.yes {
            let words = format!(
                "{}: all that is not sealed goes into a new tree, and it stays on record that it was begun",
                visible(&found)
            );
            let unasked =
                format!("{words}. Where nobody can be asked, --yes says that this is meant");
            consent::ask(&words, unasked, "no epoch is begun")?;
        }
        let new = NewEpoch {
            by: format!("{}@{}", access::os_user(), settings::host_name()),
            reason: column_text(&self.reason).into_owned(),
            outside: kept.last().map(|(_, note)| note.to_string()),
            outside_epoch: kept
                .last()
                .and_then(|(checkpoint, _)| checkpoint.epoch().ok())
                .unwrap_or_default(),
        };
        let epoch = log.begin(&new).await?;
        log.close().await;
        writeln!(io::stdout(), "{}", visible(&found))?;
        writeln!(io::stdout(), "epoch {epoch} is begun")?;
        Ok(Found::Something)
    }
}
