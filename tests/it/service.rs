//! What a service manager is told, over a socket of the test's own that speaks its protocol.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use testbed::{Proxy, eventually, proxy::Mode};
use tokio::{net::UnixDatagram, task::JoinSet};

use crate::support::{Bed, Daemon, PATIENCE, Scene, event};

/// The service manager's end of the protocol: keeps what it is told.
struct Manager {
    _directory: tempfile::TempDir,
    path: PathBuf,
    told: Arc<Mutex<Vec<String>>>,
    _listener: JoinSet<()>,
}

impl Manager {
    fn listen() -> Result<Manager> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        let told = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&told);
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            let mut message = vec![0; 65_536];
            while let Ok(length) = socket.recv(&mut message).await {
                let text = String::from_utf8_lossy(&message[..length]);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(text.lines().map(str::to_owned));
            }
        });
        Ok(Manager { _directory: directory, path, told, _listener: listener })
    }

    /// Starts a daemon under it, of which it wants a sign of life within that time.
    fn starts(&self, scene: &Scene, watchdog: Duration) -> Result<Daemon> {
        let mut environment = scene.environment();
        environment.push(("NOTIFY_SOCKET".to_owned(), self.path.display().to_string()));
        environment.push(("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string()));
        Daemon::spawn(&["run"], &environment)
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn times(&self, line: &str) -> usize {
        self.told().iter().filter(|told| told.starts_with(line)).count()
    }

    async fn is_told(&self, line: &str, times: usize) -> Result<()> {
        eventually(&format!("the service manager is told {line}"), PATIENCE, || async {
            ensure!(self.times(line) >= times, "{line} is not in {:#?}", self.told());
            Ok(())
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_what_the_daemon_does() -> Result<()> {
    let bed = Bed::shared().await?;
    let proxy = Proxy::start(bed.postgres.port()).await?;
    proxy.set(Mode::Refuse).await;
    let scene = Scene::set(bed).await?;
    let through = Some(bed.postgres.url_at(proxy.port(), &scene.name));
    let scene = scene.through(None, through);
    let manager = Manager::listen()?;
    let daemon = manager.starts(&scene, Duration::from_secs(600))?;

    // Alive, but not ready while it can store nothing.
    manager.is_told("STATUS=paused since ", 1).await?;
    manager.is_told("WATCHDOG=1", 1).await?;
    assert_eq!(manager.times("READY=1"), 0);

    proxy.set(Mode::Forward).await;
    manager.is_told("READY=1", 1).await?;
    manager.is_told("STATUS=recording since ", 1).await?;

    // An outage is said, and is no end of being ready.
    proxy.set(Mode::Refuse).await;
    proxy.cut().await;
    scene.publish(&[event(1)]).await?;
    manager.is_told("STATUS=paused since ", 2).await?;
    proxy.set(Mode::Forward).await;
    manager.is_told("STATUS=recording since ", 2).await?;
    assert_eq!(manager.times("READY=1"), 1);

    daemon.signal(Signal::SIGHUP)?;
    manager.is_told("READY=1", 2).await?;
    let told = manager.told();
    let reload = told.iter().position(|line| line == "RELOADING=1").context("no RELOADING=1")?;
    assert!(told[reload + 1].starts_with("MONOTONIC_USEC="), "{told:#?}");

    daemon.signal(Signal::SIGTERM)?;
    assert_eq!(daemon.ends().await?, 0, "{:#?}", daemon.log());
    manager.is_told("STOPPING=1", 1).await?;
    manager.is_told("EXTEND_TIMEOUT_USEC=", 1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_go_on_while_postgres_is_away_or_silent() -> Result<()> {
    let bed = Bed::shared().await?;
    let proxy = Proxy::start(bed.postgres.port()).await?;
    let scene = Scene::set(bed).await?;
    let through = Some(bed.postgres.url_at(proxy.port(), &scene.name));
    let scene = scene
        .through(None, through)
        .with("postgres.connect_timeout", "200ms")
        .with("postgres.statement_timeout", "200ms");
    let manager = Manager::listen()?;
    let daemon = manager.starts(&scene, Duration::from_secs(12))?;
    manager.is_told("READY=1", 1).await?;
    for (number, mode) in [(1, Mode::Stall), (2, Mode::Refuse)] {
        proxy.set(mode).await;
        if mode == Mode::Refuse {
            proxy.cut().await;
        }
        scene.publish(&[event(number)]).await?;
        manager.is_told("STATUS=paused since ", number).await?;
        // One is due every two seconds, until one thing has taken six.
        let before = manager.times("WATCHDOG=1");
        manager.is_told("WATCHDOG=1", before + 5).await?;
        proxy.set(Mode::Forward).await;
        manager.is_told("STATUS=recording since ", number + 1).await?;
    }
    assert_eq!(daemon.said("a stage has been at one thing"), 0, "{:#?}", daemon.log());
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_does_not_get_on_gives_no_sign_of_life() -> Result<()> {
    let bed = Bed::shared().await?;
    let proxy = Proxy::start(bed.postgres.port()).await?;
    let scene = Scene::set(bed).await?;
    let through = Some(bed.postgres.url_at(proxy.port(), &scene.name));
    // A database that may be silent for minutes is what a stage cannot be told from that is stuck.
    let scene = scene.through(None, through).with("postgres.statement_timeout", "5m");
    let manager = Manager::listen()?;
    let daemon = manager.starts(&scene, Duration::from_secs(3))?;
    daemon.says("the service manager's watchdog is shorter than", 1).await?;
    manager.is_told("READY=1", 1).await?;
    proxy.set(Mode::Stall).await;
    scene.publish(&[event(1)]).await?;
    daemon.says("a stage has been at one thing", 1).await?;
    let before = manager.times("WATCHDOG=1");
    proxy.set(Mode::Forward).await;
    // What was stuck gets on, and so do the signs.
    daemon.says("the pipeline gets on again", 1).await?;
    manager.is_told("WATCHDOG=1", before + 1).await?;
    scene.stored(1).await?;
    daemon.stops_cleanly().await
}
