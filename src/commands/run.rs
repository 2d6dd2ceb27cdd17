//! `bloodbank-audit run`: the daemon.

use std::process::ExitCode;

use anyhow::Context as _;

use super::{
    reload::Reload,
    settings::{self, Live},
};
use crate::{
    broker::Declare,
    check,
    config::{Environment, Flags, Loaded},
    event::{Canary, now},
    exit, http,
    service_manager::ServiceManager,
    signals::{Listener, Stop},
    supervisor::{self, Board, Failure, Finished},
    telemetry::{exporter::Exporter, logs::LogHandle},
};

const HELP: &str = "\
Examples:
  bloodbank-audit run
  bloodbank-audit run --config ./audit.toml --log-format json
  bloodbank-audit run --set retention.keep=400d --set rabbitmq.declare=verify

SIGTERM or SIGINT stops it: what is in hand is committed and acknowledged, within shutdown.grace; a second one stops it at
once. SIGHUP opens the log files anew, reads the configuration again, takes over what can change while it runs, and names in the
log what needs a restart. SIGUSR1 writes into the log how the daemon fares.

Exit status:
   0  a clean stop: everything in hand was committed and acked
   1  a failure, said in the last line of the log: the database, the login, a permission or the schema wants mending
   2  the command line is wrong
  70  a part of the daemon died (a panic)
  75  a stop was cut short, by the end of the grace period, a second signal or an outage; the rest stays with the broker
  78  the configuration is wrong, or what exists on the broker is not what it asks for: restarting does not help";

/// Options of `bloodbank-audit run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {}

impl Options {
    /// Records until a signal ends it. On SIGHUP the configuration is loaded again from the same flags and environment.
    ///
    /// # Errors
    /// Something has to be mended before it can go on; what was not acknowledged stays with the broker.
    pub async fn run(
        self,
        loaded: Loaded,
        (flags, environment): (Flags, Environment),
        logs: LogHandle,
    ) -> anyhow::Result<ExitCode> {
        let live = Live::new(&loaded.config)?;
        let mut settings = settings::daemon(&loaded.config, &live)?;
        settings.store = match settings::with_key(settings.store, &loaded.config, &environment) {
            Ok(store) => store,
            Err(wrong) => {
                tracing::error!("{wrong:#}");
                return Ok(ExitCode::from(exit::CONFIG));
            }
        };
        let listen = loaded.config.http.listen;
        if let Err(wrong) = usable(&settings) {
            tracing::error!("{wrong}");
            return Ok(ExitCode::from(exit::CONFIG));
        }
        let stop = Stop::new();
        let manager = ServiceManager::default();
        let of_reload = manager.clone();
        let mut reload = Reload { flags, environment, running: loaded, logs, live };
        let reload = move || of_reload.reloading(|| reload.reload());
        let board = Board::new(&settings);
        let of_signal = board.clone();
        let tell = move || {
            of_signal.look_at_certificates();
            match serde_json::to_string(&of_signal.status()) {
                Ok(status) => tracing::info!(status, "SIGUSR1: how the daemon fares"),
                Err(error) => tracing::error!(%error, "the status cannot be told"),
            }
        };
        let listener = Listener::start(stop.clone(), reload, tell).context("handling signals")?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting");
        if settings.broker.topology.declare == Declare::Verify {
            tracing::warn!(
                "rabbitmq.declare = \"verify\": exchanges and queues are only looked for; AMQP shows nobody their type, \
                 arguments and bindings, so see to it that the queue is durable, bound, and has a dead-letter exchange"
            );
        }
        if settings.store.ledger.as_ref().is_some_and(|ledger| ledger.key.is_none()) {
            tracing::info!(
                "there is no ledger.key_file: what is recorded is sealed and nothing is signed, so whoever holds the database \
                 could make all of it anew; `bloodbank-audit keys generate` makes a key"
            );
        }
        if let Some((notary, _)) = settings.notary.as_ref().zip(settings.rules.ack.cover()) {
            let wait = notary.seal_every + notary.checkpoint_every;
            tracing::info!(
                prefetch = settings.rules.bounds.deliveries,
                wait = %humantime::format_duration(wait),
                events_per_second = f64::from(settings.rules.bounds.deliveries) / wait.as_secs_f64(),
                "ingest.ack = \"sealed\": messages are acknowledged when a checkpoint that covers them is outside; with this prefetch, \
                 and so long until the next one, this is the most events a second that can be taken for long"
            );
        }
        let (broker, database) = (settings.broker.clone(), settings.store.clone());
        let exposed = async {
            for finding in check::plain_text(&broker, &database).await {
                let advice = finding.advice.unwrap_or_default();
                tracing::warn!(advice, "{}", finding.found);
            }
            std::future::pending().await
        };
        let record = async {
            tokio::select! {
                result = supervisor::run(settings, stop, &manager, &board) => result,
                never = exposed => never,
            }
        };
        let result = match listen {
            Some(listen) => match Exporter::install() {
                Ok(exporter) => tokio::select! {
                    result = record => result,
                    never = http::serve(listen, board.clone(), exporter) => match never {},
                },
                Err(error) => {
                    tracing::error!(%error, "nothing is served at http.listen: events are recorded all the same");
                    record.await
                }
            },
            None => record.await,
        };
        drop(listener);
        let code = match result {
            Ok(Finished::Clean) => exit::CLEAN,
            Ok(Finished::CutShort) => exit::UNFINISHED,
            Err(failure) => {
                tracing::error!("{failure}");
                match failure {
                    Failure::Broker(_) => exit::CONFIG,
                    Failure::Died(_) => exit::DIED,
                    Failure::Store(_) | Failure::Schema(_) | Failure::Unmigrated(_) => {
                        exit::FAILURE
                    }
                }
            }
        };
        Ok(ExitCode::from(code))
    }
}

/// What the configuration cannot know by itself: whether files hold what they should, and a canary would be recognised.
fn usable(settings: &supervisor::Settings) -> Result<(), String> {
    let address = &settings.broker.address;
    if address.tls {
        address.trust.look().map_err(|fault| fault.to_string())?;
    }
    let canary = || Canary::new(&settings.rules.envelope, &settings.instance, now());
    if settings.canary.is_some() && canary().is_none() {
        return Err("canary.every is set, and the first place of envelope.event_id cannot hold an id that the daemon writes: name \
                    another place first, such as \"property:message_id\", or set canary.every = \"off\""
            .to_owned());
    }
    Ok(())
}
