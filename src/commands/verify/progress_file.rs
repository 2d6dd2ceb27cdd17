//! `--resume FILE`: what is done, in a file that is whole at any time.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    commands::{
        new_file::{self, OWNER_ALONE},
        reading::Misuse,
    },
    verify::{Differs, Keeping, Progress, Scope},
};

/// Where it is.
#[derive(Debug, Clone)]
pub struct ProgressFile(PathBuf);

impl ProgressFile {
    /// There; it need not exist.
    pub fn at(path: &Path) -> ProgressFile {
        ProgressFile(path.to_owned())
    }

    /// What was done of this check, if it was begun, and that more is written there.
    ///
    /// # Errors
    /// It cannot be read, is nothing of the kind, or is of another check.
    pub fn keeping(&self, scope: Scope) -> Result<Keeping, Misuse> {
        let file = self.clone();
        let write = move |progress: &Progress| file.write(progress);
        let text = match fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Keeping::by(Progress::new(scope), write));
            }
            Err(error) => {
                return Err(Misuse(format!("{} cannot be read: {error}", self.0.display())));
            }
        };
        let progress: Progress = serde_json::from_slice(&text).map_err(|error| {
            let file = self.0.display();
            Misuse(format!(
                "{file} is not what an interrupted verify keeps, or was cut off: {error}. Name another file, or remove this one to begin \
                 anew"
            ))
        })?;
        progress.is_of(&scope).map_err(|differs| self.refused(differs))?;
        Ok(Keeping::by(progress, write))
    }

    /// It is of another check.
    pub fn refused(&self, differs: Differs) -> Misuse {
        let file = self.0.display();
        Misuse(format!(
            "{file} is of another verification: {differs}. Name another file, or remove this one to begin anew"
        ))
    }

    /// It cannot be written.
    pub fn unwritable(&self, error: io::Error) -> anyhow::Error {
        anyhow::Error::from(error).context(format!("cannot write {}", self.0.display()))
    }

    /// The check was cut off by this.
    pub fn interrupted(&self, error: anyhow::Error) -> anyhow::Error {
        let file = self.0.display();
        error.context(format!("{file} has what is done, and the same command goes on from there"))
    }

    /// Nobody needs it any more.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        fs::remove_file(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))
    }

    /// Beside it first, and then in its place, so that whoever reads it finds one state or the other.
    fn write(&self, progress: &Progress) -> io::Result<()> {
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        let beside = Path::new(&beside);
        match fs::remove_file(beside) {
            // One that was killed while it wrote has left it.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = new_file::create(beside, OWNER_ALONE)?;
        let mut out = io::BufWriter::new(&file);
        serde_json::to_writer(&mut out, progress)?;
        out.write_all(b"\n").and_then(|()| out.flush())?;
        file.sync_all()?;
        fs::rename(beside, &self.0)
    }
}
