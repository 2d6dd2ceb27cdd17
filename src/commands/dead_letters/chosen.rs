//! Which dead letters, as options.

use clap::builder::NonEmptyStringValueParser;

use crate::{
    commands::{events::filters::of_keys, moment::Span, reading::Misuse},
    dead_letters::Choice,
};

/// Which dead letters. All that is given has to hold.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct Chosen {
    /// With one of these ids: the event's, the message's, or 12 and more digits of the body's SHA-256
    #[arg(long, value_name = "ID", num_args = 1.., value_parser = NonEmptyStringValueParser::new())]
    id: Vec<String>,
    /// That were published with such routing keys: a topic pattern
    #[arg(long, value_name = "PATTERN", value_parser = of_keys)]
    key: Option<String>,
    /// For this reason or SQLSTATE, or with this text in the detail
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: Option<String>,
    #[command(flatten)]
    span: Span,
    /// At most so many, from the first one on
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// The same for what takes them out of the queue: all of them have to be asked for by name.
#[derive(Debug, clap::Args)]
pub struct ChosenOrAll {
    #[command(flatten)]
    chosen: Chosen,
    /// All that wait now
    #[arg(long, help_heading = "Which dead letters")]
    all: bool,
}

impl ChosenOrAll {
    /// Which ones to do that with, in words.
    ///
    /// # Errors
    /// Nothing can match, or neither a filter nor `--all` is given, or both are.
    pub fn choice(&self, what: &str) -> Result<Choice, Misuse> {
        let choice = self.chosen.choice()?;
        match choice == Choice::default() {
            true if !self.all => Err(Misuse(format!(
                "which ones? --id, --key, --reason, --since, --until and --limit choose, and --all is all that wait: say which \
                 to {what}"
            ))),
            false if self.all => {
                Err(Misuse("--all is all of them: give it or a filter, not both".to_owned()))
            }
            _ => Ok(choice),
        }
    }
}

impl Chosen {
    /// Which.
    ///
    /// # Errors
    /// Nothing can match.
    pub fn choice(&self) -> Result<Choice, Misuse> {
        let Span { since, until } = self.span.clone().checked()?;
        Ok(Choice {
            ids: self.id.clone(),
            key: self.key.clone(),
            reason: self.reason.clone(),
            since,
            until,
            limit: self.limit,
        })
    }

    /// What of it is set, under the names of the options.
    pub fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        let text = |value: &Option<String>| value.clone().map(serde_json::Value::from);
        let time = |at: Option<time::OffsetDateTime>| at.map(crate::event::rfc3339).map(Into::into);
        let ids = (!self.id.is_empty()).then(|| self.id.clone().into());
        let set = [
            ("id", ids),
            ("key", text(&self.key)),
            ("reason", text(&self.reason)),
            ("since", time(self.span.since)),
            ("until", time(self.span.until)),
            ("limit", self.limit.map(Into::into)),
        ];
        set.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}
