//! What belongs to the program wherever it is installed: what it says of itself, and the files of the repository.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use bloodbank_audit::config::DEFAULTS;

use super::{NAME, tool};
use crate::cargo;

/// The pages of the manual that the program writes: their names, and their texts.
///
/// # Errors
/// When it does not write them.
pub fn manual(program: &Path, scratch: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let directory = scratch.join("man");
    run(program, &["man", "--out", directory.to_str().context("a path that is no UTF-8")?])?;
    let mut pages = Vec::new();
    for entry in fs::read_dir(&directory).context("list the manual")? {
        let path = entry.context("list the manual")?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a page's name")?;
        pages.push((name.to_owned(), fs::read(&path).context("read the manual")?));
    }
    fs::remove_dir_all(&directory).context("remove the manual's directory")?;
    pages.sort();
    Ok(pages)
}

/// What a shell completes by, with the name under which that shell looks for it.
///
/// # Errors
/// When the program does not write it.
pub fn completions(program: &Path) -> Result<[(&'static str, String, String); 3]> {
    let of = |shell| run(program, &["completions", shell]);
    Ok([
        ("bash", NAME.to_owned(), of("bash")?),
        ("zsh", format!("_{NAME}"), of("zsh")?),
        ("fish", format!("{NAME}.fish"), of("fish")?),
    ])
}

/// A file of the repository.
///
/// # Errors
/// When it cannot be read.
pub fn of_repository(path: &str) -> Result<Vec<u8>> {
    fs::read(cargo::root().join(path)).with_context(|| format!("read {path}"))
}

/// What somebody copies who wants it: the directory in the repository, and the file.
pub const EXAMPLES: [(&str, &str); 3] = [
    ("config", "grafana-dashboard.json"),
    ("config", "prometheus-alerts.yml"),
    ("systemd", "growing-delays.conf"),
];

/// The documents of the repository, as paths from its root, in order.
///
/// # Errors
/// When they cannot be listed.
pub fn documents() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(cargo::root().join("docs")).context("list docs")? {
        let name = entry.context("list docs")?.file_name();
        names.push(format!("docs/{}", name.to_str().context("a name that is no UTF-8")?));
    }
    names.sort();
    Ok(names)
}

/// The commented configuration with every value commented out: what is not set there follows the defaults of the program, also of
/// a later one.
pub fn configuration() -> String {
    let mut lines = Vec::new();
    for line in DEFAULTS.lines() {
        let is_set = !line.starts_with(['#', '[']) && line.contains(" = ");
        lines.push(if is_set { format!("# {line}\n") } else { format!("{line}\n") });
    }
    lines.concat()
}

fn run(program: &Path, arguments: &[&str]) -> Result<String> {
    let name = program.to_str().context("a path that is no UTF-8")?;
    tool::output(name, arguments, &cargo::root())
}

#[cfg(test)]
mod tests {
    use bloodbank_audit::config::{Config, Environment, Flags};

    use super::*;

    #[test]
    fn the_configuration_that_is_installed_sets_nothing_and_shows_everything() {
        let text = configuration();
        assert!(!text.lines().any(|line| !line.starts_with(['#', '[']) && line.contains('=')));
        let directory = std::env::temp_dir().join(format!("package-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let file = directory.join("config.toml");
        fs::write(&file, &text).unwrap();
        let loaded = Config::load(&Flags::default().with_file(&file), &Environment::empty());
        fs::remove_dir_all(&directory).unwrap();
        let shown = loaded.unwrap().to_toml();
        assert!(!shown.contains("# file "), "{shown}");
        // Each value is there to be uncommented.
        assert!(text.contains("\n# prefetch = 6000\n") && text.contains("\n[ingest]\n"), "{text}");
    }
}
