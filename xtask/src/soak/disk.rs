//! What the history is stored on, with an end that can be set: a file system in memory.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use testbed::Postgres;

/// What is left free of a full disk: less than a batch, more than nothing.
const REST: u64 = 64 << 10;

/// A file system of its own below the database server's directory; gone with the last process of this run.
pub struct Disk {
    path: PathBuf,
}

/// Makes mounts of this process invisible to all others, and gone with it. Must come before any thread is started.
///
/// # Errors
/// Where this is not allowed: mostly to anybody but root.
pub fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make mounts private")
}

impl Disk {
    /// Mounts it and has the database keep everything new on it.
    ///
    /// # Errors
    /// When it cannot be mounted, or PostgreSQL does not take it.
    pub async fn below(postgres: &Postgres, database: &str) -> Result<Self> {
        let path = postgres.directory().join("disk");
        std::fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        let owner = std::fs::metadata(postgres.data_dir()).context("ask who runs PostgreSQL")?;
        let options = format!("mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        mount(Some("soak"), &path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("mount a tmpfs on {}", path.display()))?;
        let disk = Self { path };
        let location = disk.path.display();
        // A tablespace is not made in a transaction, and two statements of one call are one.
        postgres.sql(database, &format!("create tablespace soak location '{location}'")).await?;
        let use_it = format!("alter database {database} set default_tablespace = soak");
        postgres.sql(database, &use_it).await?;
        Ok(disk)
    }

    /// Sets its end right behind what is used.
    pub fn fill(&self) -> Result<()> {
        let about = statvfs(&self.path).context("ask how full the disk is")?;
        let used = (about.blocks() - about.blocks_free()) * about.fragment_size();
        self.resize(&format!("size={}", used + REST))
    }

    /// Sets its end far away again.
    pub fn free(&self) -> Result<()> {
        self.resize("size=50%")
    }

    fn resize(&self, size: &str) -> Result<()> {
        mount(None::<&str>, &self.path, None::<&str>, MsFlags::MS_REMOUNT, Some(size))
            .with_context(|| format!("remount {} with {size}", self.path.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Still in use until PostgreSQL is gone, and free for its directory to be removed.
        let _ = umount2(Path::new(&self.path), MntFlags::MNT_DETACH);
    }
}
