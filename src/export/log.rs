//! A line of the log.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tracing::{Level, enabled, info};

use crate::ledger::{Checkpoint, Note};

/// All that it takes to make the note again.
pub(super) fn write(note: &Note) -> Result<String, String> {
    if !enabled!(Level::INFO) {
        return Err(
            "log.level or log.filter leaves out its line, which is at the level info".to_owned()
        );
    }
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
    let signatures: Vec<_> = note.signatures().iter().map(ToString::to_string).collect();
    info!(
        origin = checkpoint.origin(),
        size = checkpoint.size(),
        root = STANDARD.encode(checkpoint.root()),
        epoch = checkpoint.epoch().unwrap_or_default(),
        signatures = signatures.join("\n"),
        "checkpoint"
    );
    Ok("a line of the log".to_owned())
}
