//! A directory in which the files of a package lie as they are to lie on the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::tool;

/// The directory. Modes are set and not taken from whoever builds; owners are the packer's business.
pub struct Stage {
    root: PathBuf,
}

impl Stage {
    /// An empty one; what an earlier run has left there goes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(root: PathBuf) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
        }
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        set_mode(&root, 0o755)?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Adds a file that anybody may read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.with_mode(path, content, 0o644)
    }

    /// Adds a file that anybody may run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn program(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.with_mode(path, content, 0o755)
    }

    /// Adds a file, compressed, with `.gz` behind its name.
    ///
    /// # Errors
    /// When it cannot be written or compressed.
    pub fn compressed(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        self.file(path, content)?;
        // Without name and time, so that the same content is the same file.
        tool::output("gzip", &["-9n", path], &self.root).map(drop)
    }

    fn with_mode(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.directory_of(path)?;
        let path = self.root.join(path);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        set_mode(&path, mode)
    }

    fn directory_of(&self, path: &str) -> Result<()> {
        let mut directory = self.root.clone();
        for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
            directory.push(part);
            if !directory.exists() {
                fs::create_dir(&directory)
                    .with_context(|| format!("create {}", directory.display()))?;
                set_mode(&directory, 0o755)?;
            }
        }
        Ok(())
    }

    /// The files below a directory of it, as paths from its root, in order.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn files(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).context("list the staged files")? {
                let path = entry.context("list the staged files")?.path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let path = path.strip_prefix(&self.root).context("a staged file")?;
                    found.push(path.to_str().context("a name that is no UTF-8")?.to_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}
