//! Dead letters, taken out for good.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{
    ask,
    chosen::ChosenOrAll,
    export::Lines,
    places,
    summary::{self, Manner},
};
use crate::{
    commands::{access, overview::size, replay::Status, settings},
    config::Config,
    dead_letters::{Action, Job, Keeper, new_run},
    store::{DeadLetterAction, DeadLetterLog},
};

/// Options of `bloodbank-audit dead-letters discard`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    chosen: ChosenOrAll,
    /// Why, in words: it stays on record
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    because: String,
    /// Write each to this file before, as `export` does; it must not exist
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    manner: Manner,
}

impl Options {
    pub async fn run(self, config: &Config) -> anyhow::Result<Status> {
        let mut choice = self.chosen.choice("discard")?;
        let places = places(config, self.manner.patience)?;
        let who = (access::os_user(), settings::host_name());
        let run = new_run(&places, DeadLetterAction::Discarded, who, (None, Some(self.because)));
        let log = DeadLetterLog::open(&places.store, run).await.map_err(ask::unrecorded)?;
        if !self.manner.yes {
            let (matched, bytes) = ask::count(&places, &choice).await?;
            if matched == 0 {
                return Ok(summary::nothing());
            }
            let saved = match &self.save {
                Some(path) => format!("after they are written to {}", path.display()),
                None => "and they are nowhere else, as --save FILE would have them".to_owned(),
            };
            ask::ask(&format!(
                "{matched} dead letter(s), {}, are taken out of '{}' for good, {saved}",
                size(i64::try_from(bytes).unwrap_or(i64::MAX)),
                places.dead_letter_queue()
            ))?;
            // What came meanwhile was not asked about.
            choice.limit = Some(matched);
        }
        let keeper = match &self.save {
            Some(path) => {
                let lines =
                    Lines::create(path).with_context(|| format!("--save {}", path.display()))?;
                Some(Box::new(lines) as Box<dyn Keeper>)
            }
            None => None,
        };
        let job = Job { choice, action: Action::Discard };
        summary::work(&job, &places, log, keeper, self.manner.json).await
    }
}
