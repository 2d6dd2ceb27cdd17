//! Files with private keys: read only where nobody else could have, made so that nobody else can.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use zeroize::Zeroizing;

use crate::{commands::new_file, config::Environment, ledger::KeyFile};

/// More than any key file has.
const MAX_BYTES: u64 = 64 * 1024;

/// What lets others than the owner at a file.
const OTHERS: u32 = 0o077;

/// Reads a private key from its file, with the word of the key before it, which is checked.
///
/// # Errors
/// The file cannot be read, others than its owner may use it though it is no credential of the service manager, or it is no key
/// file: all of them with the path, and what to do.
pub fn read(path: &Path, environment: &Environment) -> anyhow::Result<KeyFile> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let advice =
            if missing { ": `bloodbank-audit keys generate --out FILE` makes one" } else { "" };
        anyhow::anyhow!("cannot read the private key {shown}: {error}{advice}")
    })?;
    let metadata = file.metadata().with_context(|| format!("cannot look at {shown}"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    // A credential's group bits are those of its access control list, by which one user alone can read it.
    if mode & OTHERS != 0 && !environment.is_credential(path) {
        bail!(
            "the private key {shown} can be used by others than its owner (mode {mode:04o}): chmod 600 it, and if others \
             could read it, make a new one with `bloodbank-audit keys generate --rotates`"
        );
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the private key {shown}"))?;
    ensure!(bytes.len() as u64 <= MAX_BYTES, "{shown} is too large to be a key file");
    let text = std::str::from_utf8(&bytes).ok().with_context(|| {
        format!(
            "{shown} is no key file: it is not UTF-8; `bloodbank-audit keys generate` makes one"
        )
    })?;
    KeyFile::parse(text).with_context(|| format!("{shown} is no key file"))
}

/// Makes the file of a new private key, which is on the disk when this returns.
///
/// # Errors
/// It exists, or cannot be made or written; then it is not left behind.
pub(super) fn create(path: &Path, key: &KeyFile) -> anyhow::Result<()> {
    let failed = || format!("cannot make the private key {}", path.display());
    let mut file = new_file::create(path, new_file::OWNER_ALONE).with_context(failed)?;
    let written = file.write_all(key.text().as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // It is this command's own, and would only be in the way of the next. Why it failed is said.
        let _ = fs::remove_file(path);
    }
    written.with_context(failed)
}
