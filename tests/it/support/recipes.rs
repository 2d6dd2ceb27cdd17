//! The commands that a page of the manual shows, to be run as they stand there.

use anyhow::{Context as _, Result};

use super::{Answer, Scene};

/// The commands of that page, each as the words after the program's name.
pub fn recipes(page: &str) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR")))?;
    let lines = text
        .split("```sh\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    lines
        .map(|line| {
            let words = line.strip_prefix("bloodbank-audit ").context("another program")?;
            // Every second part lies between quotes.
            let parts = words.split('\'').enumerate().flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            });
            Ok(parts.collect())
        })
        .collect()
}

impl Scene {
    /// Runs a command of a page with these names in place of the page's.
    pub fn runs(&self, command: &[String], names: &[(&str, &str)]) -> Result<Answer> {
        let words = command.iter().map(|word| {
            names.iter().find(|(name, _)| name == word).map_or(word.as_str(), |(_, own)| own)
        });
        self.asks(&words.collect::<Vec<_>>())
    }
}
