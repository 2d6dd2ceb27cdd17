//! Nothing is left behind, however the process ends.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};
use tokio::task::JoinSet;

use crate::traces;

/// A cluster, whose servers share a process that belongs to one of them, and a database.
async fn servers() -> ([RabbitMq; 2], Postgres) {
    tokio::try_join!(
        RabbitMq::start_cluster(RabbitMqOptions::default()),
        Postgres::start(PostgresOptions::default())
    )
    .unwrap()
}

/// What [`nothing_is_left_after_sigkill`] starts this program for, and kills it in.
#[tokio::test]
#[ignore = "never ends: it is run, and killed, by another test"]
async fn hold_servers_until_killed() {
    let ([one, two], postgres) = servers().await;
    // The test harness may have begun a line of its own.
    println!();
    for directory in [one.directory(), two.directory(), postgres.directory()] {
        println!("held {}", directory.display());
    }
    std::future::pending().await
}

#[tokio::test]
async fn nothing_is_left_after_sigkill() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "clean_up::hold_servers_until_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let held: Vec<PathBuf> = lines
        .map_while(Result::ok)
        .filter_map(|line| Some(line.strip_prefix("held ")?.into()))
        .take(3)
        .collect();
    assert_eq!(held.len(), 3);
    for directory in &held {
        assert!(traces::count(directory) > 1, "{directory:?} has servers and a watchdog");
    }

    holder.kill().unwrap();
    holder.wait().unwrap();

    for directory in &held {
        traces::vanish(directory).await;
    }
}

#[tokio::test]
async fn nothing_is_left_after_a_panic() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let ([one, two], postgres) = servers().await;
        let directories = [one.directory(), two.directory(), postgres.directory()];
        tell.send(directories.map(ToOwned::to_owned)).unwrap();
        panic!("as a failed assertion would");
    });
    let directories = told.await.unwrap();
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    // The destructor itself has done it; there is nothing to wait for.
    for directory in directories {
        assert!(!directory.exists());
        assert_eq!(traces::count(&directory), 0);
    }
}
