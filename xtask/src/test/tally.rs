//! The sum of libtest's own summary lines, one a test binary, and what failed tests said first.
//!
//! Where the end of a log is all that is kept of it, a failure of the first binary is told too.

use std::fmt;

/// Longest line that can be a summary; of longer ones the rest is not kept.
const LONGEST: usize = 512;

/// Lines of a failed test's output that are told again.
const TOLD: usize = 24;

/// What the summary lines seen so far add up to.
#[derive(Debug, Default)]
pub struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    summaries: u64,
    line: Vec<u8>,
    failures: Vec<String>,
    /// Lines of the last failure that there still is room for; 0 where none is being told.
    room: usize,
}

impl Tally {
    /// Reads a piece of the output; lines may be cut anywhere between two pieces.
    pub fn read(&mut self, mut piece: &[u8]) {
        while let Some(end) = piece.iter().position(|&byte| byte == b'\n') {
            self.keep(&piece[..end]);
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            self.count(&line);
            self.tell(&line);
            piece = &piece[end + 1..];
        }
        self.keep(piece);
    }

    /// How many summary lines there were.
    pub fn summaries(&self) -> u64 {
        self.summaries
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LONGEST.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..room.min(piece.len())]);
    }

    /// From `---- module::name stdout ----` on, to the next of these or the list of names.
    fn tell(&mut self, line: &str) {
        if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.room = TOLD;
        } else if line == "failures:" {
            self.room = 0;
        }
        if self.room > 0 && !line.trim().is_empty() {
            self.room -= 1;
            self.failures.push(line.to_owned());
        }
    }

    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn count(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|verdict_and_counts| verdict_and_counts.split_once(". "))
        else {
            return;
        };
        let count = |word: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok())
        };
        if let (Some(passed), Some(failed), Some(ignored)) =
            (count("passed"), count("failed"), count("ignored"))
        {
            self.passed += passed;
            self.failed += failed;
            self.ignored += ignored;
            self.summaries += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.failures {
            writeln!(f, "{line}")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    const OUTPUT: &str = "running 2 tests\ntest a ... ok\n\
        test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
        a test may print: test result: ok. 9 passed; 0 failed; 0 ignored\n\
        test result: FAILED. 40 passed; 3 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s\n";

    #[test]
    fn sums_the_summaries_wherever_the_output_is_cut() {
        for size in [1, 7, 64, 8192] {
            let mut tally = Tally::default();
            OUTPUT.as_bytes().chunks(size).for_each(|piece| tally.read(piece));
            assert_eq!(tally.to_string(), "42 passed, 3 failed, 1 skipped");
            assert_eq!(tally.summaries(), 2);
        }
    }

    #[test]
    fn tells_what_failed_tests_said_first() {
        let said: String = (1..=100).map(|number| format!("line {number}\n")).collect();
        let output = format!(
            "failures:\n\n---- a::b stdout ----\nError: one\n\n---- c stdout ----\n{said}\nfailures:\n    a::b\n    c\n\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured\n"
        );
        let mut tally = Tally::default();
        tally.read(output.as_bytes());
        let told = tally.to_string();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(
            lines[..4],
            ["---- a::b stdout ----", "Error: one", "---- c stdout ----", "line 1"]
        );
        assert_eq!(lines[lines.len() - 2..], ["line 23", "1 passed, 2 failed, 0 skipped"]);
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut tally = Tally::default();
        for _ in 0..1000 {
            tally.read(&[b'x'; 1000]);
        }
        assert!(tally.line.len() <= super::LONGEST);
    }
}
