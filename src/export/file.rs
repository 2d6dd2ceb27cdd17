//! A file of checkpoints, which is appended to and never changed otherwise.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::PATIENCE;
use crate::ledger::{Checkpoint, Note};

/// Anyone may read a checkpoint: it says nothing of what was recorded.
const MODE: u32 = 0o644;

/// What ends each note in the file.
const END: &[u8] = b"\n\n";

/// How much of the file's end is looked at for its last note.
const END_BYTES: u64 = 1024 * 1024;

pub(super) struct File {
    path: PathBuf,
    /// What a disk that does not answer has not done yet.
    under_way: Option<JoinHandle<io::Result<u64>>>,
}

impl File {
    pub fn new(path: &Path) -> File {
        File { path: path.to_owned(), under_way: None }
    }

    /// On the disk when this returns. The file is opened anew each time, so it may be moved away at any moment.
    pub async fn append(&mut self, note: &Note) -> Result<String, String> {
        let shown = self.path.display();
        if let Some(before) = &mut self.under_way
            && timeout(PATIENCE, before).await.is_err()
        {
            return Err(format!("{shown}: its disk does not answer"));
        }
        let (path, text) = (self.path.clone(), note.in_series());
        let writing = self.under_way.insert(spawn_blocking(move || append(&path, &text)));
        let Ok(written) = timeout(PATIENCE, writing).await else {
            return Err(format!("{shown}: its disk does not answer"));
        };
        self.under_way = None;
        match written {
            Ok(Ok(from)) => Ok(format!("{shown}, from byte {from} on")),
            Ok(Err(error)) => Err(format!("{shown}: {error}")),
            Err(error) => Err(format!("{shown}: {error}")),
        }
    }
}

/// Appends it in one piece, and tells from which byte on.
fn append(path: &Path, text: &str) -> io::Result<u64> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(MODE);
    let (mut file, is_new) = match options.clone().create_new(true).open(path) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => (options.open(path)?, false),
        Err(error) => return Err(error),
    };
    if is_new {
        // The mask of this process is for other files.
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    let length = file.metadata()?.len();
    let mut end = [0; END.len()];
    let read = END.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    file.seek(SeekFrom::End(-i64::try_from(read).unwrap_or_default()))?;
    file.read_exact(&mut end[..read])?;
    let whole = length == 0 || end == END;
    // A write that was cut off is left where it is, by itself.
    let text = if whole { text.to_owned() } else { format!("\n\n{text}") };
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    if is_new && let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(if whole { length } else { length + 2 })
}

/// What such a file says last of the ledger that goes by `origin`, among the notes at its end: the largest tree of the latest
/// epoch, which others may have been written behind. More than one where they disagree; none where there is no file.
///
/// # Errors
/// It cannot be read.
pub fn kept(path: &Path, origin: &str) -> io::Result<Vec<(Checkpoint, Note)>> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let reach = |checkpoint: &Checkpoint| (checkpoint.epoch().ok(), checkpoint.size());
    let mut last: Vec<(Checkpoint, Note)> = Vec::new();
    for note in Note::series(&String::from_utf8_lossy(&end)).into_iter().flatten() {
        let Ok(checkpoint) = Checkpoint::parse(note.text()) else { continue };
        if checkpoint.origin() != origin || checkpoint.epoch().is_err() {
            continue;
        }
        let (known, new) = (last.first().map(|(known, _)| reach(known)), Some(reach(&checkpoint)));
        if known < new {
            last.clear();
        }
        if known <= new && !last.iter().any(|(other, _)| *other == checkpoint) {
            last.push((checkpoint, note));
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::{append, kept};
    use crate::ledger::{Checkpoint, Hash, KeyName, SignerKey};

    fn checkpoint(origin: &str, epoch: u64, size: u64, root: Hash) -> Checkpoint {
        Checkpoint::new(origin, size, root).unwrap().with_epoch(epoch).unwrap()
    }

    #[test]
    fn the_largest_counts_whatever_was_written_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        let key = SignerKey::from_seed(KeyName::new("k").unwrap(), &[7; 32]);
        assert!(kept(&path, "us").unwrap().is_empty());
        let write =
            |one: &Checkpoint| append(&path, &one.signed(&key).unwrap().in_series()).unwrap();
        let last =
            || kept(&path, "us").unwrap().into_iter().map(|(one, _)| one).collect::<Vec<_>>();
        let large = checkpoint("us", 1, 9, [1; 32]);
        for one in [&large, &checkpoint("us", 1, 8, [2; 32]), &checkpoint("them", 7, 90, [3; 32])] {
            write(one);
        }
        assert_eq!(last(), std::slice::from_ref(&large));
        // Both are kept in mind: one of them is a lie.
        let other = checkpoint("us", 1, 9, [4; 32]);
        write(&other);
        write(&large);
        assert_eq!(last(), [large, other]);
        let next = checkpoint("us", 2, 1, [5; 32]);
        write(&next);
        assert_eq!(last(), [next]);
    }
}
