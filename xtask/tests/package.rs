//! The Debian package on a machine of its own: this one's files seen through an overlay, in a mount namespace that ends with the
//! test. Nothing of it reaches the real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use testbed::{Package, ensure_installed};

/// Mounts the overlay, says so, and stays until its stdin is closed.
const MOUNT: &str = r#"
mount -t tmpfs -o size=500m package "$0"
mkdir "$0/up" "$0/work" "$0/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/up,workdir=$0/work" "$0/root"
mount --rbind /dev "$0/root/dev"
mount --rbind /proc "$0/root/proc"
echo mounted
exec cat
"#;

/// A machine of its own.
struct Machine {
    directory: tempfile::TempDir,
    holder: Child,
}

impl Machine {
    fn new() -> Result<Machine> {
        let directory = tempfile::tempdir()?;
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec", MOUNT])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run unshare")?;
        let mut said = [0; 8];
        let stdout = holder.stdout.as_mut().context("its stdout")?;
        std::io::Read::read_exact(stdout, &mut said)
            .context("an overlay cannot be mounted here; it takes root and CAP_SYS_ADMIN")?;
        Ok(Machine { directory, holder })
    }

    /// Runs a command on it; what it says.
    fn run(&self, script: &str) -> Result<String> {
        let output = Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("chroot")
            .arg(self.directory.path().join("root"))
            .args(["sh", "-exc", script])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .context("run nsenter")?;
        let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        ensure!(output.status.success(), "{script}: {}\n{said}", output.status);
        Ok(said)
    }

    /// Which of these paths are there.
    fn has(&self, paths: &[&str]) -> Result<Vec<String>> {
        let said = self.run(&format!(
            "{{ set +x; }} 2>/dev/null; for path in {}; do if [ -e \"$path\" ]; then echo \"has $path\"; fi; done",
            paths.join(" ")
        ))?;
        Ok(said.lines().filter_map(|line| line.strip_prefix("has ")).map(str::to_owned).collect())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its stdin is closed first, which ends it; it may have ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Builds the package in that version.
fn package(out: &Path, version: &str) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["package", "--deb", "--quick", "--version", version, "--out"])
        .arg(out)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(said.lines().next().context("no path")?))
}

const PROGRAM: &str = "/usr/bin/bloodbank-audit";
const UNIT: &str = "/usr/lib/systemd/system/bloodbank-audit.service";
const CONFIGURATION: &str = "/etc/bloodbank-audit/config.toml";
const STATE: &str = "/var/lib/bloodbank-audit";
const LOGS: &str = "/var/log/bloodbank-audit";
const ALL: &[&str] = &[PROGRAM, UNIT, CONFIGURATION, STATE, LOGS];

#[tokio::test]
async fn installed_upgraded_removed_and_purged_it_leaves_what_it_should() -> Result<()> {
    ensure_installed(&[Package::Systemd]).await?;
    let packages = tempfile::tempdir()?;
    let first = package(packages.path(), "0.1.0")?;
    let again = fs::read(&first)?;
    package(packages.path(), "0.1.0")?;
    ensure!(fs::read(&first)? == again, "the same sources make another package");
    let second = package(packages.path(), "0.2.0")?;

    let machine = Machine::new()?;
    let install = |deb: &Path| machine.run(&format!("dpkg -i {}", deb.display()));
    install(&first)?;
    assert_eq!(machine.has(ALL)?, [PROGRAM, UNIT, CONFIGURATION]);
    let said =
        machine.run(&format!("dpkg -V bloodbank-audit; {PROGRAM} config; id bloodbank-audit"))?;
    assert!(said.contains("# default") && said.contains("uid="), "{said}");
    let said = machine.run("stat -c '%a %U %G' /etc/bloodbank-audit")?;
    assert!(said.contains("750 root bloodbank-audit"), "{said}");
    // With its manual there, the unit is found right as it is; nothing was enabled.
    let verified =
        machine.run("systemd-analyze verify bloodbank-audit.service bloodbank-audit@x.service")?;
    assert_eq!(verified.lines().count(), 1, "{verified}");
    assert_eq!(
        machine.has(&["/etc/systemd/system/multi-user.target.wants/bloodbank-audit.service"])?,
        [""; 0]
    );

    // As if it had run, and had been told where to.
    machine.run(&format!(
        "mkdir -p {STATE} {LOGS}; echo x > {LOGS}/log; echo y > /var/log/neighbour
         printf '[log]\\nlevel = \"debug\"\\n' > {CONFIGURATION}; echo '[log]' > /etc/bloodbank-audit/orders.toml"
    ))?;
    install(&second)?;
    let said =
        machine.run(&format!("dpkg-query -W bloodbank-audit; {PROGRAM} config; cat {LOGS}/log"))?;
    assert!(said.contains("0.2.0") && said.contains("level = \"debug\""), "{said}");

    machine.run("dpkg -r bloodbank-audit")?;
    assert_eq!(machine.has(ALL)?, [CONFIGURATION, STATE, LOGS]);
    install(&second)?;
    assert!(machine.run(&format!("{PROGRAM} config"))?.contains("level = \"debug\""));

    machine.run("dpkg -P bloodbank-audit")?;
    assert_eq!(machine.has(ALL)?, [""; 0]);
    // What others put there is theirs.
    let others = ["/etc/bloodbank-audit/orders.toml", "/var/log/neighbour"];
    assert_eq!(machine.has(&others)?, others);
    machine.run("rm /etc/bloodbank-audit/orders.toml")?;
    install(&second)?;
    machine.run("dpkg -P bloodbank-audit")?;
    assert_eq!(machine.has(&["/etc/bloodbank-audit"])?, [""; 0]);
    machine.run("id bloodbank-audit")?;
    // Nothing of it was here.
    assert!(!Path::new("/var/log/neighbour").exists());
    Ok(())
}
