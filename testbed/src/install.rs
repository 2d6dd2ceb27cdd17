//! Installs the servers, and what else the tests need of the distribution, where they are missing.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{postgres, prometheus, rabbitmq};

/// What the tests need, as the distribution packages it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Package {
    /// `rabbitmq-server`, with the Erlang it runs on.
    RabbitMq,
    /// `postgresql`, in the distribution's version.
    Postgres,
    /// `prometheus`, with its `promtool`.
    Prometheus,
    /// `systemd`, for what `systemd-analyze` says of a unit; it need not run.
    Systemd,
    /// `openssl`, the program: what others have to look at keys and signatures with.
    OpenSsl,
}

impl Package {
    /// The package's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq-server",
            Self::Postgres => "postgresql",
            Self::Prometheus => "prometheus",
            Self::Systemd => "systemd",
            Self::OpenSsl => "openssl",
        }
    }

    /// The variable that names another installation, where one can be named.
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::RabbitMq => Some(rabbitmq::ROOT_VARIABLE),
            Self::Postgres => Some(postgres::BIN_VARIABLE),
            Self::Prometheus => None,
            Self::Systemd => None,
            Self::OpenSsl => None,
        }
    }

    /// Whether its programs are there, or another installation was named.
    ///
    /// A named one is never installed; if it is wrong, starting it says so.
    #[must_use]
    pub fn is_present(self) -> bool {
        self.variable().is_some_and(|variable| std::env::var_os(variable).is_some())
            || match self {
                Self::RabbitMq => rabbitmq::is_installed(),
                Self::Postgres => postgres::is_installed(),
                Self::Prometheus => prometheus::is_installed(),
                Self::Systemd => on_path("systemd-analyze"),
                Self::OpenSsl => on_path("openssl"),
            }
    }
}

/// Installs those of the packages that are missing, through apt, and says so on stderr.
///
/// No service is started and no cluster created by it. As another user than root it goes through `sudo`,
/// which may ask for a password. Several callers wait for one another.
///
/// # Errors
/// When there is no apt or no `sudo`, with what to install by hand, or when the installation fails.
pub async fn ensure_installed(packages: &[Package]) -> Result<()> {
    let missing: Vec<Package> =
        packages.iter().copied().filter(|package| !package.is_present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name()).collect();
    let names = names.join(" ");
    let by_hand = by_hand(&missing);
    if !on_path("apt-get") {
        bail!("missing: {names}; and there is no apt-get to install it. {by_hand}");
    }
    let root = nix::unistd::geteuid().is_root();
    if !root && !on_path("sudo") {
        bail!("missing: {names}; and there is no sudo to install it as root. {by_hand}");
    }
    eprintln!("testbed: {names} missing, installing with apt-get; no service will be started");
    let mut command = if root {
        Command::new("/bin/sh")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("/bin/sh");
        sudo
    };
    command
        .arg("-c")
        .arg(include_str!("install.sh"))
        .arg("testbed-install")
        .args(missing.iter().map(|p| p.name()));
    command.stdin(Stdio::inherit()).stdout(Stdio::null());
    let status = command.status().await.context("run the installation")?;
    if !status.success() {
        bail!("installing {names} failed: {status}; what apt said is above. {by_hand}");
    }
    if let Some(package) = missing.iter().find(|package| !package.is_present()) {
        bail!(
            "{} was installed, but its program is not where it is expected. {by_hand}",
            package.name()
        );
    }
    Ok(())
}

/// What to do without apt.
fn by_hand(missing: &[Package]) -> String {
    let each = missing.iter().map(|package| match package {
        Package::RabbitMq => format!(
            "Install RabbitMQ 3.10 or later with its Erlang, or name its directory in {}.",
            rabbitmq::ROOT_VARIABLE
        ),
        Package::Postgres => format!(
            "Install the PostgreSQL server, 15 or later, or name the directory of its programs in {}.",
            postgres::BIN_VARIABLE
        ),
        Package::Prometheus => "Install Prometheus with its promtool into /usr/bin.".to_owned(),
        Package::Systemd => "Install systemd, of which systemd-analyze is wanted.".to_owned(),
        Package::OpenSsl => "Install the program openssl.".to_owned(),
    });
    each.collect::<Vec<_>>().join(" ")
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .any(|directory: std::path::PathBuf| Path::new(&directory).join(program).is_file())
}
