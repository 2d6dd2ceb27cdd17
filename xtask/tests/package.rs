//! The Debian package on a machine of its own: this one's files seen through an overlay, in a mount namespace that ends with the
//! test. Nothing of it reaches the real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::broker::{Address, Auth, Publisher, Trust};
use bloodbank_audit::config::AmqpUrl;
use bloodbank_audit::event::Properties;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection as _, PgConnection};
use testbed::{
    Package, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, ensure_installed, eventually,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long something that happens in a second may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

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

    /// Starts the installed program on it, as the daemon that records this.
    fn daemon(&self, environment: &[(&str, &str)]) -> Result<Daemon> {
        let child = Command::new("nsenter")
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("chroot")
            .arg(self.directory.path().join("root"))
            .args([PROGRAM, "run"])
            .envs(environment.iter().copied())
            .env("BLOODBANK_AUDIT__HTTP__LISTEN", "off")
            .stdin(Stdio::null())
            .spawn()
            .context("start the daemon")?;
        Ok(Daemon(child))
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

/// A daemon that was installed; killed when dropped.
struct Daemon(Child);

impl Daemon {
    /// The file that it was started from; the kernel says where that is gone.
    fn program(&self) -> Result<String> {
        let program = fs::read_link(format!("/proc/{}/exe", self.0.id()))?;
        Ok(program.to_string_lossy().into_owned())
    }

    async fn stops_cleanly(mut self) -> Result<()> {
        kill(Pid::from_raw(self.0.id().try_into()?), Signal::SIGTERM)?;
        let status = eventually("the daemon ends", PATIENCE, || {
            let ended = self.0.try_wait().ok().flatten();
            async move { ended.ok_or("not yet") }
        })
        .await?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
    let documents = "/usr/share/doc/bloodbank-audit";
    let examples = ["prometheus-alerts.yml", "grafana-dashboard.json", "growing-delays.conf"];
    let examples = examples.map(|name| format!("{documents}/examples/{name}"));
    assert_eq!(machine.has(&examples.each_ref().map(String::as_str))?, examples);
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

/// Awaits that a query of the history counts so many or more.
async fn counts(url: &str, wanted: i64, query: &'static str) -> Result<()> {
    eventually(query, PATIENCE, async || {
        let found = async {
            let mut sql = PgConnection::connect(url).await?;
            let found: i64 = sqlx::query_scalar(query).fetch_one(&mut sql).await?;
            sql.close().await?;
            Ok::<_, sqlx::Error>(found)
        };
        match found.await {
            Ok(found) if found >= wanted => Ok(()),
            Ok(found) => Err(format!("{found} of {wanted}")),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

const EVENTS: &str = "select count(*) from audit.events";

/// Publishes events one after the other until told to stop; how many the broker has confirmed.
async fn publishes(address: &Address, over: &CancellationToken) -> Result<i64> {
    let publisher = Publisher::open(address, "the bus", PATIENCE).await?;
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let mut confirmed = 0;
    while !over.is_cancelled() {
        let body = format!(r#"{{"event_id":"{}"}}"#, Uuid::new_v4());
        let sent = publisher.publish("bloodbank.events.v1", "a.b.c", &properties, body.into());
        ensure!(sent.await?.taken().await?, "the broker did not take an event");
        confirmed += 1;
    }
    publisher.close().await;
    Ok(confirmed)
}

#[tokio::test(flavor = "multi_thread")]
async fn upgraded_while_events_flow_it_misses_none() -> Result<()> {
    ensure_installed(&[Package::Systemd, Package::RabbitMq, Package::Postgres]).await?;
    let (rabbitmq, postgres) = tokio::try_join!(
        RabbitMq::start(RabbitMqOptions::default()),
        Postgres::start(PostgresOptions::default())
    )?;
    let database = postgres.create_database("bloodbank_audit").await?;
    let packages = tempfile::tempdir()?;
    let [first, second] = [package(packages.path(), "0.1.0")?, package(packages.path(), "0.2.0")?];
    let machine = Machine::new()?;
    machine.run(&format!("dpkg -i {}", first.display()))?;
    let amqp = rabbitmq.amqp_url();
    let environment = [("RABBIT_URL", &*amqp), ("DATABASE_URL", &*database)];
    let daemon = machine.daemon(&environment)?;
    let recording = "select count(*) from audit.coverage where state = 'recording'";
    counts(&database, 1, recording).await?;

    let url = AmqpUrl::parse(&amqp)?;
    let address = Address {
        host: url.host,
        port: url.port,
        others: Vec::new(),
        renewed: bloodbank_audit::shared::Shared::default(),
        vhost: url.vhost,
        user: url.user,
        password: url.password.expose().to_owned(),
        tls: url.tls,
        trust: Trust::default(),
        server_name: None,
        auth: Auth::Plain,
    };
    let over = CancellationToken::new();
    let upgrade = async {
        let _over = over.clone().drop_guard();
        counts(&database, 50, EVENTS).await?;
        let before = daemon.program()?;
        tokio::task::block_in_place(|| machine.run(&format!("dpkg -i {}", second.display())))?;
        ensure!(machine.run("dpkg-query -W bloodbank-audit")?.contains("0.2.0"));
        // What runs is the old program still, whose file is gone, and it records on.
        assert_eq!(daemon.program()?, format!("{before} (deleted)"));
        counts(&database, 200, EVENTS).await?;
        daemon.stops_cleanly().await?;
        let daemon = machine.daemon(&environment)?;
        counts(&database, 2, recording).await?;
        assert_eq!(daemon.program()?, before);
        Ok(daemon)
    };
    let (published, daemon) = tokio::join!(publishes(&address, &over), upgrade);
    let (daemon, published) = (daemon?, published?);
    counts(&database, published, EVENTS).await?;
    daemon.stops_cleanly().await?;
    let mut sql = PgConnection::connect(&database).await?;
    let stored: (i64, i64) =
        sqlx::query_as("select count(*), count(distinct event_id) from audit.events")
            .fetch_one(&mut sql)
            .await?;
    assert_eq!(stored, (published, published));
    machine.run("dpkg -P bloodbank-audit")?;
    Ok(())
}
