//! Files that commands make: always new ones, never written over.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt as _, path::Path};

/// What others may do with a file, as the process's umask has it.
pub const AS_USUAL: u32 = 0o666;

/// Nobody but its owner.
pub const OWNER_ALONE: u32 = 0o600;

/// Makes the file, which must not exist, with this mode less the umask. Its name is on the disk when this returns.
///
/// # Errors
/// It exists, also as a link that leads nowhere, or cannot be made.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    let created = File::options().write(true).create_new(true).mode(mode).open(path);
    let file = created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            io::Error::new(error.kind(), "it exists, and is not written over: name another one")
        }
        _ => error,
    })?;
    // A file is safe when its directory is, too.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}
