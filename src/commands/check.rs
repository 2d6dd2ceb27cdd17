//! `bloodbank-audit check`: what would break the audit, and what to type.

mod report;

use std::process::ExitCode;

use super::{
    keys,
    overview::write_json,
    reading::with_broker,
    settings,
    terminal::{Output, Paging},
};
use crate::{
    check::{self, Finding, LedgerKey, SecretFile, Setup, Verdict},
    config::{Config, Environment, Flags, Passwords},
    exit, store,
};
use report::Report;

const HELP: &str = "\
Examples:
  bloodbank-audit check                                 before the first start, and when in doubt
  bloodbank-audit check --strict                        warnings count as faults
  bloodbank-audit check --json | jq -r '.findings[] | select(.verdict == \"fault\") | .commands[]'

Nothing is changed, declared or consumed. Both sides are looked at to the end; what depends on something that is wrong is
named as skipped. What RabbitMQ tells by its management interface alone is unknown without rabbitmq.management_url. Run it
as the user that the daemon runs as, with the daemon's configuration.

Exit status:
   0  nothing is at fault; with --strict, nothing is to be warned of either
   1  something is at fault
   2  the command line is wrong
  70  the command died (a panic): a bug
  74  the output cannot be written
  78  the configuration is wrong: nothing else was looked at";

/// Options of `bloodbank-audit check`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Let warnings count as faults
    #[arg(long)]
    strict: bool,
    /// Write one JSON object with all findings
    #[arg(long)]
    json: bool,
}

/// How it ends.
enum Outcome {
    Well,
    Faulty,
}

impl From<Outcome> for u8 {
    fn from(outcome: Outcome) -> u8 {
        match outcome {
            Outcome::Well => exit::CLEAN,
            Outcome::Faulty => exit::FAULTY,
        }
    }
}

impl Options {
    /// Looks at everything, and writes what it found to stdout.
    pub fn start(self, flags: &Flags, environment: &Environment) -> ExitCode {
        with_broker(flags, environment, |config| async move {
            let passwords = Config::load(flags, environment)?.passwords(environment);
            let ledger_key = ledger_key(&config, environment);
            let findings = check::check(&setup(&config, passwords, ledger_key)?).await;
            self.write(&findings)
        })
    }

    fn write(&self, findings: &[Finding]) -> anyhow::Result<Outcome> {
        let report = Report::new(findings);
        let mut out = Output::open(Paging::Never);
        if self.json {
            write_json(&mut out, &report)?;
        } else {
            report.write(&mut out)?;
        }
        out.close()?;
        let at_fault = |finding: &Finding| {
            finding.verdict == Verdict::Fault || self.strict && finding.verdict == Verdict::Warning
        };
        Ok(if findings.iter().any(at_fault) { Outcome::Faulty } else { Outcome::Well })
    }
}

fn ledger_key(config: &Config, environment: &Environment) -> Option<LedgerKey> {
    let path = config.ledger.key_file.clone().filter(|_| config.ledger.enabled)?;
    let read = keys::read(&path, environment);
    let public = read.map(|key| key.signer().verifier().to_string());
    Some(LedgerKey { path, read: public.map_err(|error| format!("{error:#}")) })
}

fn setup(
    config: &Config,
    passwords: Passwords,
    ledger_key: Option<LedgerKey>,
) -> Result<Setup, store::Fault> {
    let rabbitmq = &config.rabbitmq;
    let secrets = passwords.files.into_iter().map(|(path, keys)| SecretFile { path, keys });
    Ok(Setup {
        secrets: secrets.collect(),
        shown: passwords.shown,
        ledger_key,
        log_directory: config.log.directory.clone(),
        broker: settings::broker_at(config, settings::address(config)),
        management: rabbitmq.management_url.as_ref().map(|url| settings::management(url, config)),
        canaries: config.canary.every.is_some(),
        consumer_timeout: rabbitmq.consumer_timeout,
        store: settings::store(config)?,
        migrates: config.postgres.migrate,
    })
}
