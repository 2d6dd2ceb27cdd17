//! `bloodbank-audit replay`: events of the history, published again.

mod ask;
mod dry_run;
mod list;
mod list_file;
mod look_on;
mod numbers;
mod reach;
mod status;
mod summary;
mod which;
mod whom;
mod work;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::LazyLock,
    time::Duration,
};

use anyhow::Context as _;
use uuid::Uuid;

pub use self::{numbers::rate, status::Status};

use self::{
    which::Which,
    work::{Begun, listens, noted},
};
use super::{
    access,
    reading::{self, Misuse, NothingFound},
    settings,
    terminal::visible,
};
use crate::{
    broker::{Address, Auth, Lookout},
    config::{AmqpUrl, Config},
    replay::{self, Job, Pace, Places, Report, Target, To},
    store::{
        NewReplay, NotResumed, Progress, Reader, RecordedReplay, ReplayLog, ReplayState,
        recorded_replays,
    },
};

static HELP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "\
Examples:
  bloodbank-audit replay --type 'order.#' --since yesterday --to-queue billing --dry-run
  bloodbank-audit replay --type 'order.#' --since yesterday --to-queue billing --rate 500/s
  bloodbank-audit replay --since 2026-11-23 --until 2026-11-24 --to-exchange test.events --speed 10x
  bloodbank-audit replay --trace 8057a88f-1d84-5270-8500-1fe179622bcf --to-queue billing
  bloodbank-audit replay --ids-from lost.txt --to-original --yes --report undelivered.ndjson
  bloodbank-audit replay --list
  bloodbank-audit replay --resume 0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11

Events go in the order in which they were received, each with its body, its properties and its headers as they were; headers
are added: x-replay-id, x-replayed-at, x-original-received-at, x-original-exchange, x-original-routing-key where that is
another one now, and x-original-message-id with --fresh-ids. --to-queue reaches that queue alone. Times such as 2h are fixed
when the replay begins, and so is --until, which is that moment where it is not given.

Each replay is on record in audit.replays before its first event is published. Ctrl-C waits for what the broker has not
confirmed yet; a second one does not. Either way --resume goes on after the last event that is known to be settled: none is
left out, and no more than {} are published twice.

Exit status:
   0  each event is in a queue
   1  nothing matched
   2  wrong use: a flag, a time, a pattern, a condition
   4  some events are in no queue: --report FILE lists them, and why; or were stored no more when their turn came
  69  the database or the broker is away or refuses; --resume goes on
  74  the output or the report cannot be written
  75  stopped before the end; --resume goes on
  78  the configuration is wrong",
        replay::WINDOW
    )
});

/// Options of `bloodbank-audit replay`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP.as_str())]
#[command(group(clap::ArgGroup::new("to").args(["to_queue", "to_exchange", "to_original"])))]
#[command(group(clap::ArgGroup::new("one_by_one").args(["trace", "ids_from", "replay_of"])))]
pub struct Options {
    #[command(flatten)]
    which: which::Chosen,
    /// At most so many, from the first one on
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    limit: Option<i64>,
    /// To this queue alone, through the default exchange
    #[arg(long, value_name = "NAME", help_heading = "Where to")]
    to_queue: Option<String>,
    /// To this exchange, under the same routing keys
    #[arg(long, value_name = "NAME", help_heading = "Where to")]
    to_exchange: Option<String>,
    /// To the exchange that each event was published to
    #[arg(long, help_heading = "Where to")]
    to_original: bool,
    /// On another broker or virtual host; other users of the machine see it
    #[arg(long, value_name = "URL", help_heading = "Where to")]
    url: Option<String>,
    /// Ask this management interface whom it would reach, http://user:password@host:15672; other users of the machine see it
    #[arg(long, value_name = "URL", help_heading = "Where to")]
    management_url: Option<String>,
    /// Put this before each routing key
    #[arg(long, value_name = "TEXT", conflicts_with = "to_queue", help_heading = "Where to")]
    key_prefix: Option<String>,
    /// Give each message a new message_id, so that consumers that know the old one take it for another event; its body stays
    #[arg(long, help_heading = "Where to")]
    fresh_ids: bool,
    /// Leave user_id out, which the broker takes from that user alone
    #[arg(long, help_heading = "Where to")]
    without_user_id: bool,
    /// At most so fast: 500/s, 30/min, 1000/h
    #[arg(long, value_name = "RATE", value_parser = numbers::rate, help_heading = "How fast")]
    rate: Option<f64>,
    /// With the gaps they came with, so many times as fast: 10x, 0.5x
    #[arg(long, value_name = "FACTOR", value_parser = numbers::speed, conflicts_with = "rate", help_heading = "How fast")]
    speed: Option<f64>,
    /// Only while fewer messages than this wait in the queue of --to-queue; and one at a time while confirms take long
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How fast")]
    until_depth: Option<u32>,
    /// Only say what would be published, and to whom
    #[arg(long)]
    dry_run: bool,
    /// List the events that are in no queue in this file, a JSON object a line; it goes on at its end
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// End with one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// List the replays on record, the last one first; 1000 of them, or --limit
    #[arg(long, conflicts_with_all = ["resume", "to", "dry_run", "one_by_one", "url", "management_url", "key_prefix", "fresh_ids", "without_user_id",
        "rate", "speed", "until_depth", "report"])]
    list: bool,
    /// Go on with this replay
    #[arg(long, value_name = "ID", conflicts_with_all = ["to", "one_by_one", "dry_run", "limit", "key_prefix", "fresh_ids", "without_user_id", "management_url"])]
    resume: Option<Uuid>,
    /// How long PostgreSQL may take to find the next event, and to count them
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = reading::timeout)]
    timeout: Duration,
    /// How long the broker or PostgreSQL may be away before it is given up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = reading::timeout)]
    patience: Duration,
}

impl Options {
    /// Replays, or says what it would.
    ///
    /// # Errors
    /// It cannot begin. What ends it later is said, and is in its status.
    pub async fn run(self, config: Config) -> anyhow::Result<Status> {
        if self.list {
            if !access::filter_json(&self.which.filter()?).is_empty() {
                let words = "--list shows replays, not events: give no filter, or leave --list out";
                return Err(Misuse(words.to_owned()).into());
            }
            return list::list(&config, self.limit, self.json).await;
        }
        let broker = settings::broker_at(&config, self.address(&config)?);
        let places = Places {
            store: settings::store(&config)?,
            read_timeout: self.timeout,
            broker,
            patience: self.patience,
        };
        match self.resume {
            Some(id) => self.resumes(&config, places, id).await,
            None => self.begins(&config, places).await,
        }
    }

    /// Which broker.
    fn address(&self, config: &Config) -> Result<Address, Misuse> {
        let Some(url) = &self.url else { return Ok(settings::address(config)) };
        let url = AmqpUrl::parse(url).map_err(|error| Misuse(format!("--url: {error}")))?;
        // What the configuration says of its own broker's name and login is not of this one.
        let address = settings::address_of(&url, config);
        Ok(Address { server_name: None, auth: Auth::Plain, ..address })
    }

    fn pace(&self) -> Pace {
        Pace { rate: self.rate, speed: self.speed, until_depth: self.until_depth }
    }

    fn target(&self, address: &Address) -> Result<Target, Misuse> {
        let to = match (&self.to_queue, &self.to_exchange) {
            (Some(queue), _) => To::Queue(queue.clone()),
            (_, Some(exchange)) => To::Exchange(exchange.clone()),
            _ if self.to_original => To::Original,
            _ => {
                return Err(Misuse(
                    "where to? --to-queue NAME reaches that queue alone; --to-exchange NAME and --to-original reach whatever \
                     is bound there"
                        .to_owned(),
                ));
            }
        };
        if self.until_depth.is_some() && self.to_queue.is_none() {
            return Err(Misuse(
                "--until-depth looks at the queue of --to-queue; an exchange has no depth"
                    .to_owned(),
            ));
        }
        Ok(Target {
            to,
            broker: address.to_string(),
            key_prefix: self.key_prefix.clone(),
            fresh_ids: self.fresh_ids,
            without_user_id: self.without_user_id,
        })
    }

    async fn begins(&self, config: &Config, places: Places) -> anyhow::Result<Status> {
        let target = self.target(&places.broker.address)?;
        let mut reader = Reader::open_on_primary(&places.store, self.timeout).await?;
        let Which { arrivals, missing } = self.which.resolve(&mut reader, &places).await?;
        for words in missing {
            say(&words);
        }
        // An earlier replay's limit is part of which events those were.
        let most = self.limit.into_iter().chain(arrivals.limit).min();
        let limited = crate::store::Arrivals { limit: most, ..arrivals.clone() };
        if self.dry_run {
            let reach = self.whom(config, &places, &target, &mut reader, &limited).await?;
            let pace = self.pace();
            let dry = dry_run::DryRun { target: &target, pace, json: self.json, reach };
            return dry.run(config, &places, &mut reader, &limited).await;
        }
        let matched = reader.number(&limited).await?;
        if matched == 0 {
            return Err(NothingFound("nothing matches, so nothing is replayed".to_owned()).into());
        }
        find(&places, &target).await?;
        if !self.yes && ask::bears_its_name(config, &target) {
            let reach = self.whom(config, &places, &target, &mut reader, &limited).await?;
            let audience = ask::audience(config, &target, reach.as_ref());
            ask::ask(&target, &places, matched, &audience)?;
        }
        drop(reader);
        let report = self.report()?;
        let id = Uuid::new_v4();
        let filter = access::filter_json(&arrivals.filter);
        let noted = noted(config, "replay", id, filter.clone()).await?;
        let signals = listens()?;
        let new = NewReplay {
            id,
            os_user: access::os_user(),
            host: settings::host_name(),
            filter: serde_json::Value::Object(filter).to_string(),
            chosen: arrivals.chosen.clone(),
            target: serde_json::to_string(&target)?,
            pace: serde_json::to_string(&self.pace())?,
            most,
            matched,
        };
        let log = ReplayLog::begin(&places.store, &new).await.context(
            "a replay is on record before its first event is published, and this one cannot be, so nothing is published (the \
             schema's owner gives the right by `select audit.grant_replayer('role')`; a standby takes no rows)",
        )?;
        let job =
            Job { id, arrivals, most, target, pace: self.pace(), progress: Progress::NOTHING };
        self.work(&places, Begun { job, matched, log, report, noted, signals }).await
    }

    async fn resumes(&self, config: &Config, places: Places, id: Uuid) -> anyhow::Result<Status> {
        if !access::filter_json(&self.which.filter()?).is_empty() {
            return Err(Misuse(
                "--resume goes on with the events of that replay: give no filter".to_owned(),
            )
            .into());
        }
        let Some(recorded) = recorded_replays(&places.store, Some(id), 1).await?.pop() else {
            return Err(unknown(id).into());
        };
        let target: Target = serde_json::from_str(&recorded.target)?;
        if target.broker != places.broker.address.to_string() {
            return Err(Misuse(format!(
                "that replay goes to the broker at {}, and this is {}: give its --url",
                target.broker, places.broker.address
            ))
            .into());
        }
        let pace = match self.pace() {
            given if given == Pace::default() => None,
            given => Some(given),
        };
        if self.until_depth.is_some() && !matches!(target.to, To::Queue(_)) {
            return Err(Misuse(
                "--until-depth looks at the queue of --to-queue; an exchange has no depth"
                    .to_owned(),
            )
            .into());
        }
        find(&places, &target).await?;
        let report = self.report()?;
        let given = pace.as_ref().map(serde_json::to_string).transpose()?;
        let pace = pace.map_or_else(|| serde_json::from_str(&recorded.pace), Ok)?;
        // What it is about stays. How far it has come may change until nobody else has it.
        let arrivals = which::recorded(&recorded)?;
        let signals = listens()?;
        let (mut log, progress) = match ReplayLog::resume(&places.store, id, given.as_deref())
            .await?
        {
            Ok(resumed) => resumed,
            Err(NotResumed::Unknown) => return Err(unknown(id).into()),
            Err(NotResumed::Finished) => {
                return Err(NothingFound(format!(
                    "replay {id} is finished: nothing is left of it"
                ))
                .into());
            }
            Err(NotResumed::Busy) => {
                let words = "and two would publish everything twice: stop that one first";
                return Err(Misuse(format!("another process works on replay {id}, {words}")).into());
            }
        };
        let filter = access::filter_json(&arrivals.filter);
        let noted = match noted(config, "replay --resume", id, filter).await {
            Ok(noted) => noted,
            Err(error) => {
                let cause = format!("{error:#}");
                // Where that cannot be noted either, it is on record as after a kill.
                let _ = log.note(&progress, ReplayState::Failed, Some(&cause)).await;
                log.close().await;
                return Err(error);
            }
        };
        let RecordedReplay { matched, most, .. } = recorded;
        let job = Job { id, arrivals, most, target, pace, progress };
        self.work(&places, Begun { job, matched, log, report, noted, signals }).await
    }

    fn report(&self) -> anyhow::Result<Report> {
        match &self.report {
            Some(path) => {
                Report::append_to(path).with_context(|| format!("--report {}", path.display()))
            }
            None => Ok(Report::none()),
        }
    }
}

/// Makes sure that the target is there.
async fn find(places: &Places, target: &Target) -> anyhow::Result<Option<u32>> {
    let broker = &places.broker;
    let mut lookout =
        Lookout::open(&broker.address, &broker.connection_name, broker.connect_timeout).await?;
    let found = match &target.to {
        To::Queue(queue) => lookout.depth(queue).await.map(Some),
        To::Exchange(exchange) => lookout.find_exchange(exchange).await.map(|()| None),
        To::Original => Ok(None),
    };
    lookout.close().await;
    Ok(found?)
}

fn unknown(id: Uuid) -> NothingFound {
    NothingFound(format!(
        "no replay {id} is on record; `bloodbank-audit replay --list` shows those that are"
    ))
}

/// Says something beside the progress. A closed stderr leaves nobody to tell.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "bloodbank-audit: {}", visible(words));
}
