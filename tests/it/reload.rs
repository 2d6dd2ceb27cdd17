//! SIGHUP: the configuration is read again under the running daemon.

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::support::{Bed, Daemon, Scene, event};

/// A daemon configured by a file, and that file.
struct Filed {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Filed {
    fn new(text: &str) -> Result<Filed> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text)?;
        Ok(Filed { _directory: directory, path })
    }

    fn holds(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(&self.path, text)?)
    }

    fn starts(&self, scene: &Scene) -> Result<Daemon> {
        let path = self.path.to_string_lossy();
        Daemon::spawn(&["run", "--config", &path], &scene.environment())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_change_changes_and_the_rest_is_named_without_its_value() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let file = Filed::new("[log]\nlevel = \"warn\"\n")?;
    let daemon = file.starts(&scene)?;
    // It says nothing of that in the log.
    scene.counts(1, "select count(*) from audit.coverage where state = 'recording'").await?;
    scene.publish(&[event(1)]).await?;
    scene.stored(1).await?;
    assert_eq!(daemon.log(), [""; 0]);

    file.holds(
        "[log]\nlevel = \"info\"\n[ingest]\nprefetch = 7\n[shutdown]\ngrace = \"24s\"\n\
         [rabbitmq]\nmanagement_url = \"http://u:hunter2@h\"\ntls_ca_file = \"/hunter2\"\n",
    )?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.says("taken over: log.level\"", 1).await?;
    daemon
        .says("needs a restart: rabbitmq.tls_ca_file, ingest.prefetch, shutdown.grace\"", 1)
        .await?;
    assert_eq!(daemon.said("hunter2"), 0, "{:#?}", daemon.log());

    // A change to less is said before it would silence that very line.
    for (times, level) in [(2, "warn"), (3, "info")] {
        file.holds(&format!("[log]\nlevel = \"{level}\"\n"))?;
        daemon.signal(Signal::SIGHUP)?;
        daemon.says("taken over: log.level\"", times).await?;
    }
    daemon.signal(Signal::SIGHUP)?;
    daemon.says("nothing of it is taken over", 1).await?;
    assert_eq!(daemon.said("needs a restart"), 1);
    daemon.stops_cleanly().await?;
    assert_eq!(daemon.said("\"stopped\""), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_one_line_and_changes_nothing() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let file = Filed::new("")?;
    let daemon = file.starts(&scene)?;
    daemon.consumes(1).await?;
    file.holds("[log]\nlevel = \"off\"\n[ingest]\nprefetch = 0\nbatch_events = 0\n")?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.says("SIGHUP: nothing is taken over: the configuration has 2 problems: ", 1).await?;
    let log = daemon.log();
    let line = log.iter().find(|line| line.contains("SIGHUP: nothing")).map_or("", |line| line);
    for word in ["ERROR", "ingest.prefetch", "ingest.batch_events", "config.toml"] {
        assert!(line.contains(word), "no {word} in {line}");
    }
    // A file that was named and is gone is as wrong.
    std::fs::remove_file(&file.path)?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.says("SIGHUP: nothing is taken over: the configuration is wrong: ", 1).await?;
    scene.publish(&[event(1)]).await?;
    scene.stored(1).await?;
    daemon.stops_cleanly().await
}
