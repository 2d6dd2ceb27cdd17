//! Nothing is left behind, however the process ends.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};
use tokio::task::JoinSet;

use crate::traces;

/// What [`nothing_is_left_after_sigkill`] starts this program for, and kills it in.
#[tokio::test]
#[ignore = "never ends: it is run, and killed, by another test"]
async fn hold_servers_until_killed() {
    let (rabbitmq, postgres) = tokio::try_join!(
        RabbitMq::start(RabbitMqOptions::default()),
        Postgres::start(PostgresOptions::default())
    )
    .unwrap();
    // The test harness may have begun a line of its own.
    println!("\nheld {}\nheld {}", rabbitmq.directory().display(), postgres.directory().display());
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
        .take(2)
        .collect();
    assert_eq!(held.len(), 2);
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
        let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
        tell.send(postgres.directory().to_owned()).unwrap();
        panic!("as a failed assertion would");
    });
    let directory = told.await.unwrap();
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    // The destructor itself has done it; there is nothing to wait for.
    assert!(!directory.exists());
    assert_eq!(traces::count(&directory), 0);
}
