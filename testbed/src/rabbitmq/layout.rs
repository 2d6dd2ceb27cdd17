//! Where a RabbitMQ installation keeps its scripts and plugins.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The variable that names another installation.
pub(crate) const ROOT_VARIABLE: &str = "TESTBED_RABBITMQ_ROOT";

/// Where the distribution's package puts it.
const PACKAGED: &str = "/usr/lib/rabbitmq";

/// Whether the distribution's package is there.
pub(crate) fn is_installed() -> bool {
    Layout::below(Path::new(PACKAGED)).is_some()
}

/// One installation: the distribution's, or that below `TESTBED_RABBITMQ_ROOT`.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// What RabbitMQ calls its home: the parent of `sbin` and `plugins`.
    pub(crate) home: PathBuf,
}

impl Layout {
    pub(crate) fn find() -> Result<Self> {
        match std::env::var_os(ROOT_VARIABLE) {
            Some(root) => {
                let root = PathBuf::from(root);
                Self::below(&root).with_context(|| {
                    format!("{ROOT_VARIABLE}={} holds no rabbitmq-server in sbin/, bin/ or usr/lib/rabbitmq/bin/", root.display())
                })
            }
            None => match Self::below(Path::new(PACKAGED)) {
                Some(layout) => Ok(layout),
                None => bail!(
                    "RabbitMQ is not installed: install the package rabbitmq-server, or name another installation in {ROOT_VARIABLE}"
                ),
            },
        }
    }

    /// Debian links `bin/` to the `sbin/` of a generic layout, which is the layout of the tarball.
    fn below(root: &Path) -> Option<Self> {
        ["sbin", "bin", "usr/lib/rabbitmq/bin"].iter().find_map(|scripts| {
            let script = root.join(scripts).join("rabbitmq-server").canonicalize().ok()?;
            let home = script.parent()?.parent()?.to_owned();
            home.join("plugins").is_dir().then_some(Self { home })
        })
    }

    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.home.join("sbin").join(name)
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.home.join("plugins")
    }
}
