//! What the daemon itself keeps outside of the ledger's past: by it a database is noticed that went back in time.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};
use tracing::warn;

use super::Notary;
use crate::{export, ledger::Checkpoint, store};

/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The file of checkpoints, if there is one.
#[derive(Debug)]
pub(super) struct Past {
    file: Option<PathBuf>,
    origin: Option<String>,
    /// What was said last to be in the way of reading it.
    said: Option<String>,
}

impl Past {
    pub fn new(notary: &Notary, store: &store::Settings) -> Past {
        let file = notary.places.iter().find_map(|place| match place {
            export::Place::File(path) => Some(path.clone()),
            _ => None,
        });
        let origin = store.ledger.as_ref().and_then(store::Ledger::origin);
        Past { file, origin, said: None }
    }

    /// The file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What was kept last. Nothing where it cannot be read: a disk holds up neither sealing nor recording.
    pub async fn last(&mut self) -> Vec<Checkpoint> {
        let (Some(file), Some(origin)) = (self.file.clone(), self.origin.clone()) else {
            return Vec::new();
        };
        let reading = spawn_blocking(move || export::kept(&file, &origin));
        let why = match timeout(PATIENCE, reading).await {
            Ok(Ok(Ok(kept))) => {
                self.said = None;
                return kept.into_iter().map(|(checkpoint, _)| checkpoint).collect();
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its disk does not answer".to_owned(),
        };
        if self.said.as_ref() != Some(&why) {
            warn!(
                cause = why,
                "ledger.checkpoint_file cannot be read: it would not be noticed if the database went back in time"
            );
            self.said = Some(why);
        }
        Vec::new()
    }
}
