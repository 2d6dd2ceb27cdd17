//! The walls of the house: what ARCHITECTURE.md says about who knows whom is checked here, against the source.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bloodbank_audit::config::DEFAULTS;

/// Which modules of the library each module may use. Who is not named here may use all of them.
const WALLS: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("backoff", &[]),
    ("exit", &[]),
    ("signals", &[]),
    ("measures", &[]),
    ("certificates", &[]),
    ("hosts", &[]),
    ("ledger", &[]),
    ("shared", &[]),
    ("config", &["event", "hosts", "ledger"]),
    ("telemetry", &["config", "measures"]),
    ("http", &["supervisor", "telemetry"]),
    ("broker", &["certificates", "event", "shared"]),
    ("store", &["certificates", "event", "hosts", "ledger", "shared"]),
    ("export", &["broker", "event", "ledger"]),
    ("replay", &["backoff", "broker", "event", "signals", "store"]),
    ("dead_letters", &["broker", "event", "replay", "signals", "store"]),
    ("pipeline", &["backoff", "broker", "event", "measures", "store"]),
    ("check", &["broker", "certificates", "event", "store"]),
    ("verify", &["ledger", "store"]),
    ("service_manager", &[]),
    (
        "supervisor",
        &[
            "backoff",
            "broker",
            "event",
            "export",
            "ledger",
            "measures",
            "pipeline",
            "service_manager",
            "signals",
            "store",
        ],
    ),
];

/// Libraries that one part alone knows: their names, and where they may stand.
const ALONE: &[(&str, &[&str])] = &[
    ("sd_notify", &["src/service_manager.rs"]),
    ("axum", &["src/http.rs"]),
    ("metrics_exporter_prometheus", &["src/telemetry/exporter.rs"]),
    ("metrics_util", &["src/telemetry/exporter.rs"]),
    ("amqprs", &["src/broker/"]),
    // The configuration checks the URL with the parser that will read it.
    ("ed25519_dalek", &["src/ledger/"]),
    ("sqlx", &["src/store/", "src/config/postgres_url.rs"]),
    ("signal_hook", &["src/signals.rs"]),
    ("libc", &["src/allocator.rs"]),
    ("clap", &["src/cli.rs", "src/commands/"]),
    ("figment", &["src/config/", "src/config.rs"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder: its path from the root, and its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "nothing in {folder}");
    let named = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(named).collect()
}

/// The lines that are code; comments may mention anything.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line))
}

/// The words right after each occurrence of `before`, also in `use crate::{a, b::c}`, which rustfmt writes over lines.
fn modules_used(text: &str) -> BTreeSet<String> {
    let plain: String = code(text).flat_map(|(_, line)| [line, "\n"]).collect();
    let word = |rest: &str| {
        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut used = BTreeSet::new();
    for rest in plain.split("crate::").skip(1) {
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (at, character) in list.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if c.is_whitespace() => {}
                    _ if start && depth == 0 => {
                        used.insert(word(&list[at..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            used.insert(word(rest));
        }
    }
    used
}

#[test]
fn modules_use_only_what_they_may() {
    let modules: BTreeSet<String> =
        sources("src").iter().filter_map(|(name, _)| module_of(name)).collect();
    for (name, text) in sources("src") {
        let Some(module) = module_of(&name) else { continue };
        let Some((_, allowed)) = WALLS.iter().find(|(walled, _)| *walled == module) else {
            continue;
        };
        for used in modules_used(&text) {
            let inside = used == module || !modules.contains(&used);
            assert!(inside || allowed.contains(&used.as_str()), "{name} uses {used}");
        }
    }
}

/// `src/store/append.rs` → `store`; none for `main` and `lib`.
fn module_of(name: &str) -> Option<String> {
    let name = name.strip_prefix("src/")?.split('/').next()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    (!["main", "lib"].contains(&name)).then(|| name.to_owned())
}

#[test]
fn the_pipeline_knows_contracts_only() {
    let stages =
        sources("src/pipeline").into_iter().filter(|(name, _)| !name.ends_with("tests.rs"));
    for (name, text) in stages {
        for (line, text) in code(&text) {
            for concrete in ["Writer", "Session", "Deliveries", "AckHandle", "Publisher"] {
                let word = |c: char| c.is_alphanumeric() || c == '_';
                assert!(
                    !text.split(|c| !word(c)).any(|found| found == concrete),
                    "{name}:{line}: {concrete}"
                );
            }
        }
    }
}

/// A mistake of the writer's must not be repeated by who looks for it.
#[test]
fn the_checker_has_encoders_of_its_own() {
    let own = sources("src/verify").into_iter().chain(
        sources("src/store").into_iter().filter(|(name, _)| name.starts_with("src/store/verify")),
    );
    const WRITERS: [&str; 9] = [
        "header_hash",
        "batch_hash",
        "Frontier",
        "EventRow",
        "Leaves",
        "Header",
        "Act",
        "Node",
        "BEGIN",
    ];
    for (name, text) in own {
        let used: String = code(&text).flat_map(|(_, line)| [line, "\n"]).collect();
        let imports = used.split("ledger::").skip(1).filter_map(|rest| rest.split(';').next());
        for import in imports {
            let words = import.split(|c: char| !c.is_alphanumeric() && c != '_');
            for word in words {
                assert!(!WRITERS.contains(&word), "{name} uses the writer's {word}");
            }
        }
    }
}

#[test]
fn libraries_are_known_where_they_belong() {
    for (name, text) in sources("src") {
        for (line, text) in code(&text) {
            for (library, places) in ALONE {
                // Every second part lies between quotes, and is only talk.
                let known = text.split('"').step_by(2).any(|code| {
                    code.contains(&format!("{library}::"))
                        || code.contains(&format!("use {library}"))
                });
                let allowed = places.iter().any(|place| name.starts_with(place));
                assert!(!known || allowed, "{name}:{line}: {library} belongs to {places:?}");
            }
        }
    }
}

#[test]
fn what_is_unsafe_stands_in_one_place() {
    for folder in ["src", "testbed/src", "xtask/src"] {
        for (name, text) in sources(folder) {
            for (line, text) in code(&text) {
                let allowed = name == "src/allocator.rs";
                assert!(allowed || !text.contains("unsafe"), "{name}:{line}");
            }
        }
    }
}

#[test]
fn no_statement_is_built_from_text() {
    for (name, text) in sources("src") {
        for (line, text) in code(&text) {
            // A reader's own condition, which is guarded there; and the name of a snapshot, which the server gave.
            let allowed =
                ["src/store/read/condition.rs", "src/store/verify/snapshot.rs"].contains(&&*name);
            assert!(allowed || !text.contains("AssertSqlSafe"), "{name}:{line}");
        }
    }
}

#[test]
fn nothing_is_detached_unbounded_or_left_to_do() {
    for (name, text) in sources("src") {
        for (line, text) in code(&text) {
            for banned in ["todo!(", "unimplemented!(", "unbounded_channel", "tokio::spawn("] {
                assert!(!text.contains(banned), "{name}:{line}: {banned}");
            }
        }
    }
}

#[test]
fn a_file_holds_one_concept() {
    for folder in ["src", "testbed/src", "xtask/src", "tests"] {
        for (name, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(lines <= 400, "{name} has {lines} lines: a concept wants out");
            for vague in ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"] {
                assert!(
                    !name.ends_with(&format!("/{vague}")),
                    "{name} says nothing about what is in it"
                );
            }
        }
    }
}

#[test]
fn every_configuration_key_stands_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut section = "";
    let mut keys = 0;
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, _)) = line.split_once(" = ") else { continue };
        if key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            keys += 1;
            assert!(
                readme.contains(&format!("`{section}.{key}`")),
                "{section}.{key} is not in README.md"
            );
        }
    }
    assert!(keys > 30, "only {keys} keys found");
}

/// A promise in the documents names the test that shows it, as `file::test`.
#[test]
fn every_test_that_the_documents_name_exists() {
    let tests: BTreeSet<String> = sources("tests/it")
        .iter()
        .flat_map(|(name, text)| {
            let file =
                name.strip_prefix("tests/it/").unwrap().trim_end_matches(".rs").replace('/', "::");
            code(text)
                .filter_map(|(_, line)| {
                    line.trim().strip_prefix("async fn ").or(line.trim().strip_prefix("fn "))
                })
                .map(|rest| format!("{file}::{}", rest.split('(').next().unwrap()))
                .collect::<Vec<_>>()
        })
        .collect();
    let files: BTreeSet<&str> = tests.iter().filter_map(|name| name.split("::").next()).collect();
    let mut named = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/guarantees.md",
        "docs/sql.md",
        "docs/replay.md",
        "docs/dead-letters.md",
        "docs/check.md",
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let is_test = word.split_once("::").is_some_and(|(file, _)| files.contains(file));
            if is_test && !word.contains(' ') {
                named += 1;
                assert!(tests.contains(word), "{document} names `{word}`, which is not there");
            }
        }
    }
    assert!(named >= 10, "only {named} tests are named in the documents");
}
