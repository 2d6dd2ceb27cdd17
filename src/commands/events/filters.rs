//! What events have to be, as options.

use crate::{
    commands::{moment::Span, reading::Misuse},
    store::Filter,
};

/// Longest pattern in characters: routing keys end at 255 bytes.
const LONGEST: usize = 1000;

/// Which events. All that is given has to hold.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which events")]
pub struct Filters {
    /// Of these types: a topic pattern, such as llm.prompt.* or llm.#
    #[arg(long = "type", value_name = "PATTERN", value_parser = of_types)]
    event_type: Option<String>,
    /// With these routing keys: a topic pattern
    #[arg(long, value_name = "PATTERN", value_parser = of_keys)]
    key: Option<String>,
    /// From this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// With this id, a uuid or not; more than one where others came under it
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// That name this id as one that led to them
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    #[command(flatten)]
    span: Span,
    /// Whose body is not what the envelope expects
    #[arg(long)]
    malformed: bool,
    /// That came under the id of another event
    #[arg(long)]
    conflict: bool,
    /// For which this holds, in SQL: "payload->>'x' = 'y'"
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
}

impl Filters {
    /// The filter.
    ///
    /// # Errors
    /// Nothing can match.
    pub fn filter(self) -> Result<Filter, Misuse> {
        let Span { since, until } = self.span.checked()?;
        Ok(Filter {
            event_type: self.event_type,
            routing_key: self.key,
            source: self.source,
            id: self.id,
            correlation: self.correlation,
            since,
            until,
            malformed: self.malformed,
            conflict: self.conflict,
            replays: false,
            canaries: false,
            condition: self.condition,
        })
    }
}

fn of_types(text: &str) -> Result<String, String> {
    pattern(text, "event_type")
}

/// A topic pattern of routing keys.
///
/// # Errors
/// It is none, or cannot be what is meant.
pub fn of_keys(text: &str) -> Result<String, String> {
    pattern(text, "routing_key")
}

/// A pattern of what is in that column. Wildcards stand for whole words. One within a word would mean itself, which nobody
/// means.
fn pattern(text: &str, column: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > LONGEST {
        return Err(format!(
            "a topic pattern has at most {LONGEST} characters, and this one has {length}: routing keys end at 255 bytes"
        ));
    }
    let odd = |word: &&str| (word.len() > 1 && word.contains(['*', '#'])) || *word == "%";
    match text.split('.').find(odd) {
        None => Ok(text.to_owned()),
        Some(word) => {
            let plain = word.trim_matches(['*', '#', '%']);
            let meant = if plain.is_empty() { "#".to_owned() } else { format!("{plain}.#") };
            let like = text.replace(['*', '#'], "%");
            Err(format!(
                "in {word}, a wildcard is part of a word, where it stands for itself: * stands for one whole word and # for \
                 any number of them, as in {meant}; --where \"{column} like '{like}'\" looks within words"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn wildcards_are_whole_words() {
        for good in ["", "a", "a.*.#", "#", "*", "a..b", "a%b"] {
            assert_eq!(pattern(good, "event_type").as_deref(), Ok(good));
        }
        for (bad, said) in [
            ("llm*", "llm.#"),
            ("a.**", "#"),
            ("a.%", "#"),
            ("a.b*.c", "--where \"routing_key like 'a.b%.c'\""),
            (&"a.".repeat(10_000), "20000"),
        ] {
            let error = pattern(bad, "routing_key").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
