//! What a server's directory has left on the machine, found without the testbed's own code.

use std::path::Path;
use std::time::Duration;

use testbed::eventually;

/// Processes that name the directory in their command line, environment or working directory.
fn processes(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    let mentions = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(name);
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|process| {
            let path = process.path();
            let read = |file| std::fs::read(path.join(file)).is_ok_and(mentions);
            let inside =
                std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
            read("cmdline") || read("environ") || inside
        })
        .map(|process| {
            let command =
                std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            format!("{} {}", process.file_name().display(), command.replace('\0', " "))
        })
        .collect()
}

/// How many processes the directory has.
pub fn count(directory: &Path) -> usize {
    processes(directory).len()
}

/// Awaits that neither a process nor the directory itself is left.
pub async fn vanish(directory: &Path) {
    eventually("all traces of a server vanish", Duration::from_secs(10), async || {
        let processes = processes(directory);
        if processes.is_empty() && !directory.exists() {
            Ok(())
        } else {
            Err(format!("directory exists: {}; processes: {processes:?}", directory.exists()))
        }
    })
    .await
    .unwrap();
}
