//! Logs: files are reopened on SIGHUP, so that they can be rotated from outside, and what outages say is said once.

use anyhow::Result;
use nix::sys::signal::Signal;
use testbed::{Proxy, eventually};

use crate::support::{Bed, PATIENCE, Scene, event};

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reopens_the_log_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("log.directory", directory.path().display().to_string())
        .with("log.rotation", "never");
    let daemon = scene.daemon().await?;
    let the_file = || -> Result<std::path::PathBuf> {
        let entry = std::fs::read_dir(directory.path())?.next();
        Ok(entry.ok_or_else(|| anyhow::anyhow!("no log file"))??.path())
    };
    let file = the_file()?;
    let moved = tempfile::tempdir()?;
    let old = moved.path().join("old");
    std::fs::rename(&file, &old)?;
    daemon.signal(Signal::SIGHUP)?;
    eventually("a new log file is there", PATIENCE, async || {
        if file.exists() { Ok(()) } else { Err("not yet") }
    })
    .await?;
    daemon.stops_cleanly().await?;
    let (before, after) = (std::fs::read_to_string(&old)?, std::fs::read_to_string(&file)?);
    assert!(before.contains("consuming") && !before.contains("\"stopped\""), "{before}");
    assert!(!after.contains("consuming") && after.contains("\"stopped\""), "{after}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_tells_which_connection_it_is_about() -> Result<()> {
    let bed = Bed::shared().await?;
    let proxy = Proxy::start(bed.rabbitmq.port()).await?;
    let scene = Scene::set(bed).await?;
    let through = Some(bed.rabbitmq.amqp_url_at(proxy.port()));
    let scene = scene.through(through, None);
    let daemon = scene.daemon().await?;
    proxy.cut().await;
    daemon.consumes(2).await?;
    daemon.stops_cleanly().await?;
    let span = |line: &str| -> Result<serde_json::Value> {
        Ok(serde_json::from_str::<serde_json::Value>(line)?["span"].clone())
    };
    let mut sessions = Vec::new();
    for line in daemon.log() {
        let of_session = ["\"consuming\"", "session with the broker ended"];
        if of_session.iter().any(|words| line.contains(words)) {
            let span = span(&line)?;
            assert_eq!(span["name"], "session");
            assert!(
                span["broker"].as_str().is_some_and(|at| at.contains(&proxy.port().to_string()))
            );
            sessions.push(span["number"].as_u64());
        } else if line.contains("connected to PostgreSQL") {
            let span = span(&line)?;
            assert_eq!(span["name"], "postgres");
            assert!(span["lane"].is_string(), "{span}");
        }
    }
    assert_eq!(sessions, [Some(1), Some(1), Some(2)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_flow_say_nothing_and_an_outage_says_when_it_is_over() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed).await?;
    let daemon = scene.daemon().await?;
    scene.publish(&(0..500).map(event).collect::<Vec<_>>()).await?;
    scene.stored(500).await?;
    daemon.says("connected to PostgreSQL", 1).await?;
    let quiet = daemon.log().len();
    scene.publish(&(500..1_000).map(event).collect::<Vec<_>>()).await?;
    scene.stored(1_000).await?;
    assert_eq!(daemon.log().len(), quiet, "{:#?}", daemon.log());

    bed.postgres.stop().await?;
    scene.publish(&[event(1_000)]).await?;
    daemon.says("PostgreSQL cannot store", 3).await?;
    bed.postgres.start_again().await?;
    scene.stored(1_001).await?;
    daemon.says("PostgreSQL is back", 1).await?;
    // One line an attempt, with its cause and the time of the next.
    let attempts: Vec<_> =
        daemon.log().into_iter().filter(|line| line.contains("PostgreSQL cannot store")).collect();
    for (number, line) in (1..).zip(&attempts) {
        assert!(line.contains(&format!("\"attempt\":{number},")), "{line}");
        assert!(line.contains("\"cause\":") && line.contains("\"retry_in\":"), "{line}");
    }
    assert_eq!(daemon.said("PostgreSQL is back"), 1);
    daemon.stops_cleanly().await
}
