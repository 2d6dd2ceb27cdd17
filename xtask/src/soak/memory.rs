//! The most memory that the daemon has held, over all of its lives.

use std::cell::Cell;
use std::fs;

/// Looks at the daemon's process, and remembers the most.
#[derive(Default)]
pub struct Memory(Cell<u64>);

impl Memory {
    /// Looks at the process of that id; one that is gone adds nothing.
    pub fn look(&self, pid: Option<u32>) {
        let status = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
        let peak = status.as_deref().and_then(peak).unwrap_or(0);
        self.0.set(self.0.get().max(peak));
    }

    /// The most so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.0.get()
    }
}

/// Of a line such as `VmHWM: 12345 kB`, with tabs between.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Memory, peak};

    #[test]
    fn the_peak_is_read_and_kept() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2048));
        let memory = Memory::default();
        memory.look(Some(std::process::id()));
        let peak = memory.peak_kib();
        assert!(peak > 500, "{peak}");
        memory.look(None);
        assert_eq!(memory.peak_kib(), peak);
    }
}
