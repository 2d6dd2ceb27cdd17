//! A log directory on a file system without room: events go on to be stored, and the log says what is missing in it.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use testbed::eventually;

use crate::support::{Bed, Daemon, PATIENCE, PROGRAM, Scene, event};

/// Mounts a small file system that this process alone sees, and becomes the program. That takes root.
const ON_A_SMALL_DISK: &str = r#"mount -t tmpfs -o size=256k small "$0"; exec "$@""#;

/// A directory as the daemon sees it.
fn seen_by(daemon: &Daemon, directory: &Path) -> Result<PathBuf> {
    let inside = directory.strip_prefix("/").context("not absolute")?;
    Ok(Path::new("/proc").join(daemon.pid().to_string()).join("root").join(inside))
}

/// Takes all the room there is.
fn fill(path: &Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    // To the last page, whatever is written beside it meanwhile.
    for size in [4096, 1] {
        while let Ok(written) = file.write(&vec![b'x'; size]) {
            if written == 0 {
                bail!("nothing is written, and nothing refused");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_stored_and_the_file_says_how_many_lines_are_missing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("log.directory", directory.path().display().to_string())
        .with("log.rotation", "never");
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", ON_A_SMALL_DISK]);
    command.arg(directory.path()).arg(PROGRAM);
    let daemon = Daemon::spawn_by(command, &["run"], &scene.environment())?;
    daemon.consumes(1).await?;
    let disk = seen_by(&daemon, directory.path())?;
    let log = disk.join("bloodbank-audit.log");
    let filler = disk.join("filler");
    assert!(fs::read_to_string(&log)?.contains("consuming"));

    fill(&filler)?;
    let told = "SIGUSR1: how the daemon fares";
    // Each is a line of more than a kilobyte, and the last page of the file may have room for some.
    eventually("there is no room for a line", PATIENCE, async || {
        daemon.signal(Signal::SIGUSR1).map_err(|error| error.to_string())?;
        match daemon.said("cannot write the log files in") {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    })
    .await?;
    scene.publish(&(0..100).map(event).collect::<Vec<_>>()).await?;
    scene.stored(100).await?;
    let before = daemon.said(told);
    daemon.signal(Signal::SIGUSR1)?;
    daemon.says(told, before + 1).await?;

    fs::remove_file(&filler)?;
    daemon.signal(Signal::SIGUSR1)?;
    daemon.says("are written again, and say where lines are missing", 1).await?;
    daemon.signal(Signal::SIGUSR1)?;
    eventually("the last line is in the file", PATIENCE, async || {
        let text = fs::read_to_string(&log).map_err(|error| error.to_string())?;
        let after = text.split("lines are missing here").nth(1);
        match after.map(|after| after.matches(told).count()) {
            Some(2..) => Ok(()),
            _ => Err(text),
        }
    })
    .await?;

    // The disk goes with the process, and an open file of it stays. By then each line is where it is to be.
    let mut file = fs::File::open(&log)?;
    daemon.stops_cleanly().await?;
    let mut written = String::new();
    file.read_to_string(&mut written)?;

    // All that was said is in the file, or counted as missing there.
    let whole = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    let of_the_file = |line: &&str| !line.contains("logs::notice");
    let lines: Vec<_> = written.lines().collect();
    let torn = lines.iter().filter(|line| !whole(line)).count();
    assert!(torn <= 1, "{torn} torn lines in {written}");
    let notice = lines.iter().find(|line| line.contains("lines are missing here"));
    let notice: serde_json::Value = serde_json::from_str(notice.context("no notice")?)?;
    let missing = notice["missing_lines"].as_u64().context("no number")?;
    let written = lines.iter().filter(|line| whole(line) && of_the_file(line)).count();
    let accounted = written + usize::try_from(missing)?;
    eventually(&format!("{accounted} lines were said"), PATIENCE, async || {
        let said = daemon.log();
        match said.iter().map(String::as_str).filter(of_the_file).count() {
            lines if lines == accounted => Ok(()),
            lines => Err(format!("{lines}: {said:#?}")),
        }
    })
    .await?;
    assert_eq!(daemon.said("cannot write the log files in"), 1);
    Ok(())
}
