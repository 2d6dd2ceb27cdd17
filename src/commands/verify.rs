//! `bloodbank-audit verify`: whether the history is what was recorded.

mod input;
mod look_on;
mod page;
mod progress_file;

use std::{
    io::{self, Write as _},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{
    access::{Noted, Purpose},
    moment::{Span, parse},
    overview::{exact, write_json},
    reading::{Misuse, alone, with_threads},
    settings,
    terminal::{Output, Paging, visible},
};
use crate::{
    config::{Config, Environment, Flags},
    exit,
    verify::{CheckError, Keeping, Meter, Progress, Report, Request, Scope, check, check_proof},
};
use look_on::look_on;
use page::Page;
use progress_file::ProgressFile;

const HELP: &str = "\
Examples:
  bloodbank-audit verify --checkpoint last.note --key 'audit+2d1b5a3c+AS…'
  bloodbank-audit verify --checkpoint old.note --checkpoint new.note --key audit.pub
  tail -n 7 checkpoints | bloodbank-audit verify --checkpoint - --key audit.pub --json | jq .findings
  bloodbank-audit verify --proof proof.json --key audit.pub    with no database
  bloodbank-audit verify --since yesterday           events of a day; the tree is always looked at whole
  bloodbank-audit verify --checkpoint last.note --key audit.pub --resume verify.progress    again after it was interrupted

Each event, each header and the whole tree are recomputed from the bytes that are stored, and compared with what was
recorded; nothing is changed. What shows that the database as a whole is the one that was recorded is a checkpoint that was
kept elsewhere, and the public key: without them only its own statements are compared with each other. docs/ledger.md has what
each verdict means.

Exit status:
   0  all of it is as it was recorded
   1  something is not: altered, deleted, inserted, moved, backdated, forked, unsealed or unsigned
   2  the command line is wrong, or a checkpoint or a key cannot be relied on
  69  the database is away, refuses, or its schema is missing or of another version
  70  the command died (a panic): a bug
  74  the output cannot be written
  78  the configuration is wrong";

/// Options of `bloodbank-audit verify`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Compare with the checkpoints in this file, one or several behind each other, - for stdin; repeatable
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<String>,
    /// Public key that has signed, as text or in a file; repeatable. One that it endorsed in the ledger counts, too
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,
    /// Check a proof that `prove` has written, with no database; - for stdin
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["checkpoint", "since", "until", "resume", "jobs", "memory", "unsealed_after", "unsigned_before", "limit"])]
    proof: Option<String>,
    #[command(flatten)]
    span: Span,
    /// Keep in this file what is done, and go on from there where it was interrupted; whoever goes on believes the file
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Partitions that are read at once [default: one for each core]
    #[arg(long, short = 'j', value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Memory for each of them; where it does not suffice, as rows stand in another order than they came, the server sorts them
    #[arg(long, value_name = "SIZE", default_value = "64 MiB")]
    memory: ByteSize,
    /// How old a batch may be that is in no seal yet
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    unsealed_after: Duration,
    /// What was committed before then may be unsigned, such as by a daemon that was started before it had the key; as --since
    #[arg(long, value_name = "WHEN", value_parser = parse)]
    unsigned_before: Option<OffsetDateTime>,
    /// Findings that are written; all are counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// How it ends.
enum Outcome {
    Clean,
    Damaged,
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> u8 {
        match outcome {
            Outcome::Clean => exit::CLEAN,
            Outcome::Damaged => exit::DAMAGED,
        }
    }
}

impl Options {
    /// Checks, and writes what it found to stdout.
    pub fn start(self, flags: &Flags, environment: &Environment) -> ExitCode {
        if let Some(file) = &self.proof {
            return alone(|| self.check_proof(file));
        }
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let jobs = self.jobs.unwrap_or(cores);
        with_threads(jobs.get(), flags, environment, |config| self.run(config, jobs))
    }

    /// Checks a proof, and says what it proves.
    fn check_proof(&self, file: &str) -> anyhow::Result<Outcome> {
        let proof = input::proof(file)?;
        let keys = input::keys(&self.key)?;
        let checked = check_proof(&proof, &keys);
        let mut out = Output::open(Paging::Never);
        page::proof(&mut out, self.json, &proof, &checked)?;
        out.close()?;
        Ok(if checked.is_ok() { Outcome::Clean } else { Outcome::Damaged })
    }

    async fn run(self, config: Config, jobs: NonZeroUsize) -> anyhow::Result<Outcome> {
        let span = self.span.clone().checked()?;
        let (given, words) = input::checkpoints(&self.checkpoint)?;
        let request = Request {
            store: settings::store(&config)?,
            given,
            keys: input::keys(&self.key)?,
            since: span.since.map(micros),
            until: span.until.map(micros),
            jobs,
            window: usize::try_from(self.memory.as_u64()).unwrap_or(usize::MAX),
            unsigned_before: self.unsigned_before.map(micros),
            unsealed_after: self.unsealed_after,
        };
        for words in words {
            // Whoever reads what it writes may not read this.
            let _ = writeln!(io::stderr(), "bloodbank-audit: {}", visible(&words));
        }
        let scope = Scope::of(&request);
        let file = self.resume.as_deref().map(ProgressFile::at);
        let keeping = match &file {
            Some(file) => file.keeping(scope)?,
            None => Keeping::nowhere(Progress::new(scope)),
        };
        let noted = Noted::begin(&config, Purpose::Read, "verify", asked_for(&span)).await?;
        let begun = Instant::now();
        let meter = Arc::new(Meter::default());
        let report =
            look_on(&meter, check(&request, &meter, keeping)).await.map_err(|error| {
                match (error, &file) {
                    (CheckError::Differs(differs), Some(file)) => file.refused(differs).into(),
                    (CheckError::Keep(error), Some(file)) => file.unwritable(error),
                    (CheckError::Read(error), None) => error.into(),
                    (CheckError::Read(error), Some(file)) => file.interrupted(error.into()),
                    (error @ CheckError::Unsigned { .. }, _) => Misuse(error.to_string()).into(),
                    (other, _) => anyhow::Error::from(other),
                }
            })?;
        let took = begun.elapsed();
        noted.end(0).await?;
        self.write(&Page::new(&request, &report, took, self.limit))?;
        if let Some(file) = file {
            file.remove()?;
        }
        Ok(outcome(&report))
    }

    fn write(&self, page: &Page<'_>) -> anyhow::Result<()> {
        let mut out = Output::open(Paging::Never);
        if self.json {
            write_json(&mut out, page)?;
        } else {
            page.write(&mut out)?;
        }
        out.close()?;
        Ok(())
    }
}

fn outcome(report: &Report) -> Outcome {
    if report.findings.all() == 0 { Outcome::Clean } else { Outcome::Damaged }
}

fn asked_for(span: &Span) -> Map<String, Value> {
    let times = [("since", span.since), ("until", span.until)];
    let set = times.into_iter().filter_map(|(name, at)| Some((name.to_owned(), exact(at?).into())));
    set.collect()
}

/// Microseconds since 1970, as the database counts.
fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}
