//! CPU time, from /proc.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

/// The kernel tells times to programs in hundredths of a second, whatever it counts in itself.
const TICK: f64 = 0.01;

/// CPU seconds of a process and all of its descendants, those included that have ended and were waited for: what a
/// child has used goes over to its parent then. Descendants of one that ended first are lost with it.
///
/// # Errors
/// When the process is gone.
pub fn of_tree(root: u32) -> Result<f64> {
    let processes = processes()?;
    anyhow::ensure!(processes.contains_key(&root), "process {root} is gone");
    let mut tree = BTreeSet::from([root]);
    loop {
        let before = tree.len();
        for (pid, process) in &processes {
            if tree.contains(&process.parent) {
                tree.insert(*pid);
            }
        }
        if tree.len() == before {
            break;
        }
    }
    Ok(tree
        .iter()
        .filter_map(|pid| processes.get(pid))
        .map(|process| process.own + process.ended)
        .sum())
}

/// CPU seconds of a process alone.
///
/// # Errors
/// When it is gone.
pub fn of_process(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("look at process {pid}"))?;
    Ok(Process::parse(&stat).context("read /proc")?.own)
}

/// CPU seconds of this process.
///
/// # Errors
/// When /proc cannot be read.
pub fn of_us() -> Result<f64> {
    of_process(std::process::id())
}

/// CPU seconds that everything on the machine has used, and those that its host gave to others.
///
/// # Errors
/// When /proc cannot be read.
pub fn of_machine() -> Result<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let at = |place: usize| ticks.get(place).copied().unwrap_or_default() * TICK;
    // user, nice, system, idle, iowait, irq, softirq, steal
    Ok((at(0) + at(1) + at(2) + at(5) + at(6), at(7)))
}

/// Most memory that a process has had at one time, in bytes.
///
/// # Errors
/// When it is gone.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("look at process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("read VmHWM")? * 1024)
}

struct Process {
    parent: u32,
    /// Seconds of its own.
    own: f64,
    /// Seconds of its children that have ended.
    ended: f64,
}

impl Process {
    /// A line of /proc/…/stat. The name, in parentheses, may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let rest = &stat[stat.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
        // The state, which follows the name, is field 3.
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: (ticks(11)? + ticks(12)?) * TICK,
            ended: (ticks(13)? + ticks(14)?) * TICK,
        })
    }
}

fn processes() -> Result<BTreeMap<u32, Process>> {
    let entries = std::fs::read_dir("/proc").context("read /proc")?;
    let processes = entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // It may be gone by now.
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, Process::parse(&stat)?))
    });
    Ok(processes.collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{of_tree, peak_memory};

    #[test]
    fn a_child_that_has_ended_still_counts() {
        let before = of_tree(std::process::id()).unwrap();
        let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", burn]).status().unwrap().success());
        let after = of_tree(std::process::id()).unwrap();
        assert!(after - before > 0.05, "{before} then {after}");
    }

    #[test]
    fn memory_is_told_in_bytes() {
        assert!(peak_memory(std::process::id()).unwrap() > 1 << 20);
    }
}
