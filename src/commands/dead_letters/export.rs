//! Dead letters as lines of JSON.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use super::{chosen::Chosen, look_through, object::object, places};
use crate::{
    commands::{
        access::{Noted, Purpose},
        new_file,
        replay::Status,
        terminal::{Output, Paging, json_safe},
    },
    config::Config,
    dead_letters::{Keeper, Letter},
};

/// Options of `bloodbank-audit dead-letters export`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    chosen: Chosen,
    /// To this file, which must not exist, instead of stdout
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Options {
    pub async fn run(self, config: &Config) -> anyhow::Result<Status> {
        let choice = self.chosen.choice()?;
        let noted =
            Noted::begin(config, Purpose::Export, "dead-letters export", self.chosen.json())
                .await?;
        let mut found = 0;
        let limit = choice.limit.unwrap_or(u64::MAX);
        let places = places(config, Duration::ZERO)?;
        match &self.output {
            Some(path) => {
                let mut lines =
                    Lines::create(path).with_context(|| format!("--output {}", path.display()))?;
                let each = |letter: Letter| {
                    if choice.fits(&letter) {
                        found += 1;
                        lines.line(&letter)?;
                    }
                    Ok(found < limit)
                };
                let looked = look_through(&places, each).await;
                if looked.is_err() && found == 0 {
                    // It is this command's own, and would only be in the way of the next. Why it failed is said.
                    let _ = fs::remove_file(path);
                }
                looked?;
                lines.sync()?;
            }
            None => {
                let mut out = Output::open(Paging::Never);
                let terminal = out.look().terminal;
                let each = |letter: Letter| {
                    if choice.fits(&letter) {
                        found += 1;
                        let text = object(&letter, true)?;
                        let safe = if terminal { json_safe(&text) } else { text.as_str().into() };
                        writeln!(out, "{safe}")?;
                    }
                    Ok(found < limit)
                };
                look_through(&places, each).await?;
                out.close()?;
            }
        }
        noted.end(found).await?;
        Ok(if found == 0 { Status::Nothing } else { Status::Done })
    }
}

/// A file of such lines.
pub struct Lines(BufWriter<File>);

impl Lines {
    /// Makes the file, which must not exist.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Lines> {
        Ok(Lines(BufWriter::new(new_file::create(path, new_file::AS_USUAL)?)))
    }

    fn line(&mut self, letter: &Letter) -> io::Result<()> {
        writeln!(self.0, "{}", object(letter, true)?)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.0.get_ref().sync_all()
    }
}

impl Keeper for Lines {
    fn keep(&mut self, letters: &[Letter]) -> io::Result<()> {
        for letter in letters {
            self.line(letter)?;
        }
        self.sync()
    }
}
