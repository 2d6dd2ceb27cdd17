//! Findings as they are written: for people a line each, and below it what to do.

use std::io::{self, Write as _};

use anstyle::Style;
use serde::Serialize;

use crate::{
    check::{Finding, Verdict},
    commands::terminal::{Output, style, visible},
};

/// All findings, and how many there are of each kind.
#[derive(Serialize)]
pub struct Report<'a> {
    /// The worst of them; what is unknown or skipped is not bad in itself.
    verdict: Verdict,
    faults: usize,
    warnings: usize,
    unknown: usize,
    skipped: usize,
    ok: usize,
    findings: &'a [Finding],
}

impl<'a> Report<'a> {
    /// Counts them.
    pub fn new(findings: &'a [Finding]) -> Report<'a> {
        let number = |verdict| findings.iter().filter(|one| one.verdict == verdict).count();
        let (faults, warnings) = (number(Verdict::Fault), number(Verdict::Warning));
        Report {
            verdict: match (faults, warnings) {
                (0, 0) => Verdict::Ok,
                (0, _) => Verdict::Warning,
                _ => Verdict::Fault,
            },
            faults,
            warnings,
            unknown: number(Verdict::Unknown),
            skipped: number(Verdict::Skipped),
            ok: number(Verdict::Ok),
            findings,
        }
    }

    /// Writes them for people.
    pub fn write(&self, out: &mut Output) -> io::Result<()> {
        let verdicts = self.findings.iter().map(|one| one.verdict.name().len()).max().unwrap_or(0);
        let areas = self.findings.iter().map(|one| one.area.name().len()).max().unwrap_or(0);
        let checks = self.findings.iter().map(|one| one.check.len()).max().unwrap_or(0);
        let margin = verdicts + 2;
        for Finding { area, check, verdict, found, advice, commands } in self.findings {
            styled(out, style_of(*verdict), &format!("{:verdicts$}", verdict.name()))?;
            let (area, found) = (area.name(), one_line(found));
            writeln!(out, "  {area:areas$}  {check:checks$}  {found}")?;
            if let Some(advice) = advice {
                writeln!(out, "{:margin$}{}", "", one_line(advice))?;
            }
            for command in commands {
                write!(out, "{:margin$}  ", "")?;
                styled(out, style::STRONG, &one_line(command))?;
                writeln!(out)?;
            }
        }
        let Report { faults, warnings, unknown, skipped, ok, .. } = self;
        writeln!(
            out,
            "{faults} fault(s), {warnings} warning(s), {unknown} unknown, {skipped} skipped, {ok} ok"
        )
    }
}

fn style_of(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Ok => style::PLAIN,
        Verdict::Warning => style::WARNING,
        Verdict::Fault => style::BAD,
        Verdict::Unknown | Verdict::Skipped => style::FAINT,
    }
}

fn styled(out: &mut Output, style: Style, text: &str) -> io::Result<()> {
    if out.look().colours && style != style::PLAIN {
        write!(out, "{style}{text}{style:#}")
    } else {
        write!(out, "{text}")
    }
}

/// What servers say may hold anything.
fn one_line(text: &str) -> String {
    visible(text).into_owned()
}
