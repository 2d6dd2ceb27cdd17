//! The log, written into buffers and temporary directories.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tracing::subscriber::with_default;

use super::*;
use crate::config::{Config, Environment, Flags};

/// A stderr whose lines can be read.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config(settings: &[&str]) -> Log {
    let flags =
        settings.iter().fold(Flags::default(), |flags, setting| flags.with_assignment(setting));
    Config::load(&flags, &Environment::empty()).unwrap().config.log
}

fn config_in(directory: &Path, settings: &[&str]) -> Log {
    Log { directory: Some(directory.to_owned()), ..config(settings) }
}

/// What stderr shows of the events, once the log is closed.
fn shown(config: &Log, colour: bool, events: impl FnOnce(&LogHandle)) -> String {
    let screen = Screen::default();
    let (subscriber, logs) = Logs::build(config, screen.clone(), colour).unwrap();
    with_default(subscriber, || events(&logs.handle()));
    drop(logs);
    screen.text()
}

fn only_file(directory: &Path) -> String {
    let files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    fs::read_to_string(&files[0]).unwrap()
}

#[test]
fn json_is_one_object_a_line() {
    let text = shown(&config(&["log.format=json"]), true, |_| {
        tracing::info!(batch_events = 3, "stored\nand acked");
        tracing::warn!("two");
    });
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], "stored\nand acked");
    assert_eq!(lines[0]["batch_events"], 3);
    assert_eq!((&lines[0]["level"], &lines[1]["level"]), (&"INFO".into(), &"WARN".into()));
}

#[test]
fn the_level_filters_by_target() {
    let text = shown(&config(&["log.level=warn,loud=trace"]), false, |_| {
        tracing::info!("unseen");
        tracing::trace!(target: "loud", "seen");
    });
    assert!(!text.contains("unseen") && text.contains("seen"), "{text}");
}

#[test]
fn another_level_counts_for_what_is_said_afterwards() {
    let text = shown(&config(&["log.level=warn"]), false, |handle| {
        // One place, which is asked again whether it is to speak.
        let say = |what: &str| tracing::info!("{what}");
        say("before");
        handle.filter(&config(&["log.level=info"])).unwrap();
        say("between");
        handle.filter(&config(&["log.level=off"])).unwrap();
        say("after");
    });
    assert!(!text.contains("before") && text.contains("between"), "{text}");
    assert!(!text.contains("after"), "{text}");
}

#[test]
fn colour_stays_on_the_terminal_also_in_the_fields_of_spans() {
    let directory = TempDir::new().unwrap();
    let text = shown(&config_in(directory.path(), &[]), true, |_| {
        let _span = tracing::info_span!("connection", host = "h").entered();
        tracing::info!("up");
    });
    assert!(text.contains('\u{1b}'), "{text}");
    let file = only_file(directory.path());
    assert!(file.contains("connection{host=\"h\"}") && !file.contains('\u{1b}'), "{file}");
    let text = shown(&config(&[]), false, |_| tracing::info!("up"));
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn no_line_is_lost_in_the_files() {
    // More than the queue holds, so that the callers wait.
    let lines = 2 * QUEUED_LINES;
    let directory = TempDir::new().unwrap();
    shown(&config_in(directory.path(), &[]), false, |_| {
        for number in 0..lines {
            tracing::info!(number, "line");
        }
    });
    let file = only_file(directory.path());
    assert_eq!(file.lines().count(), lines);
    for (number, line) in file.lines().enumerate() {
        assert!(line.ends_with(&format!("number={number}")), "{line}");
    }
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("bloodbank-audit.log");
    let moved = directory.path().join("bloodbank-audit.log.1");
    let config = config_in(directory.path(), &["log.rotation=never"]);
    shown(&config, false, |handle| {
        tracing::info!("before");
        fs::rename(&path, &moved).unwrap();
        handle.reopen().unwrap();
        tracing::info!("after");
    });
    let (moved, present) = (fs::read_to_string(moved).unwrap(), fs::read_to_string(path).unwrap());
    let both = moved + &present;
    assert!(both.contains("before") && present.contains("after"), "{both}");
}

#[test]
fn where_reopening_fails_the_old_file_is_written_on() {
    let directory = TempDir::new().unwrap();
    let logs = directory.path().join("logs");
    let moved = directory.path().join("moved");
    let config = config_in(&logs, &["log.rotation=never"]);
    shown(&config, false, |handle| {
        fs::rename(&logs, &moved).unwrap();
        fs::write(&logs, "in the way").unwrap();
        let error = handle.reopen().unwrap_err().to_string();
        assert!(error.starts_with("log.directory: cannot write log files in"), "{error}");
        tracing::info!("still here");
    });
    assert!(only_file(&moved).contains("still here"));
}

#[test]
fn a_file_or_a_directory_that_was_taken_away_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let logs = directory.path().join("logs");
    let config = config_in(&logs, &["log.rotation=never", "log.max_size=4 KiB"]);
    let screen = Screen::default();
    let (subscriber, log) = Logs::build(&config, screen.clone(), false).unwrap();
    let written = || log.handle.file.as_ref().unwrap().drain(LAST_LINES);
    with_default(subscriber, || {
        tracing::info!("before");
        written();
        fs::remove_file(logs.join("bloodbank-audit.log")).unwrap();
        tracing::info!("between");
        written();
        assert!(only_file(&logs).ends_with("between\n"));
        fs::remove_dir_all(&logs).unwrap();
        tracing::info!("after");
        written();
        assert!(only_file(&logs).ends_with("after\n"));
        // Something is in the way.
        fs::remove_dir_all(&logs).unwrap();
        fs::write(&logs, "").unwrap();
        (0..3).for_each(|_| tracing::info!("on stderr alone"));
        written();
        fs::remove_file(&logs).unwrap();
        tracing::info!("again");
        written();
        assert!(only_file(&logs).ends_with("again\n"));
    });
    drop(log);
    let screen = screen.text();
    assert_eq!(screen.matches("is gone, and cannot be opened anew").count(), 1, "{screen}");
}

#[test]
fn without_files_there_is_nothing_to_reopen() {
    shown(&config(&[]), false, |handle| handle.reopen().unwrap());
}

#[test]
fn old_files_go_and_those_of_others_stay() {
    let directory = TempDir::new().unwrap();
    let touch = |name: &str| fs::write(directory.path().join(name), "").unwrap();
    let others = [
        "bloodbank-audit.log",
        "bloodbank-audit-2.2001-01-01.log",
        "bloodbank-audit.2001.notes.log",
        "x",
    ];
    others.iter().for_each(|name| touch(name));
    ["2001-01-01", "2002-02-02", "2003-03-03"]
        .iter()
        .for_each(|date| touch(&format!("bloodbank-audit.{date}.log")));
    shown(&config_in(directory.path(), &["log.keep_files=2"]), false, |_| ());
    let exists = |name: &str| directory.path().join(name).exists();
    assert!(others.iter().all(|name| exists(name)));
    assert!(!exists("bloodbank-audit.2001-01-01.log") && !exists("bloodbank-audit.2002-02-02.log"));
    assert!(exists("bloodbank-audit.2003-03-03.log"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), others.len() + 2);
}

/// The text of each file, in the order of their names.
fn in_order(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|name| (name.clone(), fs::read_to_string(directory.join(name)).unwrap()))
        .collect()
}

#[test]
fn a_full_file_is_set_aside_and_no_line_is_lost() {
    for rotation in ["never", "daily", "hourly"] {
        let directory = TempDir::new().unwrap();
        let settings =
            [&format!("log.rotation={rotation}"), "log.max_size=4 KiB", "log.keep_files=1000"];
        // Over a restart, too, and beside a number that is taken.
        for run in 0..2 {
            shown(&config_in(directory.path(), &settings), false, |_| {
                for number in 0..200 {
                    tracing::info!(number = run * 200 + number, "line");
                }
            });
        }
        let files = in_order(directory.path());
        assert!(files.len() > 5, "{files:?}");
        assert!(files.iter().all(|(_, text)| text.len() <= 4096 && !text.is_empty()));
        assert!(files[0].0.ends_with(".000001.log"), "{}", files[0].0);
        let lines: String = files.into_iter().map(|(_, text)| text).collect();
        // A run may end at midnight, and the names still sort.
        for (number, line) in lines.lines().enumerate() {
            assert!(line.ends_with(&format!("number={number}")), "{line}");
        }
        assert_eq!(lines.lines().count(), 400);
    }
}

#[test]
fn of_files_that_were_set_aside_the_oldest_go() {
    let directory = TempDir::new().unwrap();
    let settings = ["log.rotation=never", "log.max_size=4 KiB", "log.keep_files=3"];
    let other = directory.path().join("bloodbank-audit.2.log");
    fs::write(&other, "another's").unwrap();
    shown(&config_in(directory.path(), &settings), false, |_| {
        (0..400).for_each(|number| tracing::info!(number, "line"));
    });
    fs::remove_file(other).unwrap();
    let files = in_order(directory.path());
    assert_eq!(files.len(), 3, "{files:?}");
    let lines: String = files.into_iter().map(|(_, text)| text).collect();
    let first = 400 - lines.lines().count();
    assert!(first > 0);
    for (number, line) in (first..).zip(lines.lines()) {
        assert!(line.ends_with(&format!("number={number}")), "{line}");
    }
}

#[test]
fn where_lines_are_missing_the_file_says_how_many_once_there_is_room_again() {
    for format in ["human", "json"] {
        let directory = TempDir::new().unwrap();
        let present = directory.path().join("bloodbank-audit.log");
        std::os::unix::fs::symlink("/dev/full", &present).unwrap();
        let settings = [&format!("log.format={format}"), "log.rotation=never"];
        let config = config_in(directory.path(), &settings);
        let screen = Screen::default();
        let (subscriber, logs) = Logs::build(&config, screen.clone(), false).unwrap();
        with_default(subscriber, || {
            (0..3).for_each(|number| tracing::info!(number, "unseen"));
            logs.handle.file.as_ref().unwrap().drain(LAST_LINES);
            fs::remove_file(&present).unwrap();
            logs.handle().reopen().unwrap();
            (3..5).for_each(|number| tracing::info!(number, "seen"));
        });
        drop(logs);
        let file = only_file(directory.path());
        let lines: Vec<_> = file.lines().collect();
        assert_eq!(lines.len(), 3, "{file}");
        assert!(lines[0].contains("lines are missing here"), "{file}");
        assert!(lines[1].contains("seen") && lines[2].contains("seen"), "{file}");
        // Once at the start, once at the end, and in the format of the others.
        let screen = screen.text();
        for said in ["cannot write the log files in", "are written again"] {
            assert_eq!(screen.matches(said).count(), 1, "{screen}");
        }
        assert_eq!(screen.lines().count(), 7, "{screen}");
        if format == "json" {
            for line in lines.iter().copied().chain(screen.lines()) {
                let _: serde_json::Value = serde_json::from_str(line).unwrap();
            }
            assert!(lines[0].contains("\"missing_lines\":3"), "{file}");
        } else {
            assert!(lines[0].contains("WARN") && lines[0].ends_with("missing_lines=3"), "{file}");
        }
    }
}

#[test]
fn other_levels_count_for_single_modules() {
    let settings = ["log.level=warn", "log.filter=loud=trace,other::part=debug"];
    let text = shown(&config(&settings), false, |_| {
        tracing::info!("unseen");
        tracing::trace!(target: "loud::below", "seen");
        tracing::debug!(target: "other::part", "seen");
        tracing::debug!(target: "other", "unseen");
    });
    assert!(!text.contains("unseen") && text.matches("seen").count() == 2, "{text}");
}

#[test]
fn a_line_shows_the_connection_that_it_is_about_at_every_level() {
    let text = shown(&config(&["log.format=json", "log.level=error"]), false, |_| {
        let _span = tracing::error_span!("session", number = 7).entered();
        tracing::error!("lost");
    });
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(line["span"], serde_json::json!({"name": "session", "number": 7}));
}

#[test]
fn a_stderr_that_nobody_reads_any_more_stops_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let directory = TempDir::new().unwrap();
    let (subscriber, logs) = Logs::build(&config_in(directory.path(), &[]), writer, false).unwrap();
    with_default(subscriber, || (0..100).for_each(|number| tracing::info!(number, "line")));
    drop(logs);
    assert_eq!(only_file(directory.path()).lines().count(), 100);
}

#[test]
fn a_full_stderr_beside_files_stops_nothing() {
    // A pipe that is never read holds 64 KiB, then its writer blocks for ever.
    let (_reader, writer) = io::pipe().unwrap();
    let directory = TempDir::new().unwrap();
    let (subscriber, logs) = Logs::build(&config_in(directory.path(), &[]), writer, false).unwrap();
    let lines = 2 * QUEUED_LINES;
    with_default(subscriber, || (0..lines).for_each(|number| tracing::info!(number, "line")));
    drop(logs);
    assert_eq!(only_file(directory.path()).lines().count(), lines);
}

#[test]
fn a_panic_is_one_event_with_its_place_and_without_passwords() {
    let previous = std::panic::take_hook();
    let text = shown(&config(&["log.format=json"]), false, |_| {
        panics::install();
        let panicked = std::panic::catch_unwind(|| panic!("no way to amqp://u:{}@h", "hunter2"));
        std::panic::set_hook(previous);
        assert!(panicked.is_err());
    });
    let event: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(event["level"], "ERROR");
    assert_eq!(event["message"], "panicked: no way to amqp://u:***@h");
    assert!(event["location"].as_str().unwrap().contains("tests.rs:"), "{text}");
    assert!(event["thread"].as_str().unwrap().contains("a_panic_is_one_event"), "{text}");
}
