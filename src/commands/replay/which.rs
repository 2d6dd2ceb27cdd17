//! Which events a replay is about.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::list_file;
use crate::{
    commands::{
        events::filters::Filters,
        reading::{Misuse, NothingFound},
    },
    event,
    replay::Places,
    store::{Arrival, Arrivals, Filter, Reader, RecordedReplay, recorded_replays},
};

/// Most links and events of a trace, each way.
const WHOLE: i32 = 1_000_000;

/// Options that choose events.
#[derive(Debug, clap::Args)]
pub struct Chosen {
    #[command(flatten)]
    filters: Filters,
    /// What led to this event, the event, and what followed, wherever it is
    #[arg(long, value_name = "ID", help_heading = "Which events")]
    trace: Option<String>,
    /// Those that this file names, or stdin (-): an id a line, or JSON objects as --report and events --format ndjson write them
    #[arg(long, value_name = "FILE|-", help_heading = "Which events")]
    ids_from: Option<PathBuf>,
    /// The events of that replay
    #[arg(long, value_name = "REPLAY_ID", help_heading = "Which events")]
    replay_of: Option<Uuid>,
}

/// Which events, and what is to be said about those that are not there.
pub struct Which {
    pub arrivals: Arrivals,
    pub missing: Vec<String>,
}

impl Chosen {
    /// What they have to be.
    pub fn filter(&self) -> Result<Filter, Misuse> {
        self.filters.clone().filter()
    }

    /// Which they are. Whatever is relative, now or in time, is fixed here.
    pub async fn resolve(&self, reader: &mut Reader, places: &Places) -> anyhow::Result<Which> {
        let now = event::now();
        let given = self.filter()?;
        let mut missing = Vec::new();
        let mut limit = None;
        let (mut filter, chosen) = if let Some(id) = &self.trace {
            let steps = reader.trace(id, WHOLE, None, WHOLE).await?;
            let lost = steps.iter().filter(|step| step.missing).count();
            if lost > 0 {
                missing.push(format!(
                    "{lost} event(s) of the trace are named by others and not stored"
                ));
            }
            let stored = steps.iter().filter_map(|step| {
                Some(Arrival { received_at: step.received_at?, seq: step.seq? })
            });
            (given, Some(sorted(stored.collect())))
        } else if let Some(file) = &self.ids_from {
            let list = list_file::read(file)?;
            let (mut chosen, lost) = reader.arrivals_of(&list.ids).await?;
            if let Some(first) = lost.first() {
                missing.push(format!(
                    "{} id(s) of the list are not stored, the first of them {first}",
                    lost.len()
                ));
            }
            let stored = reader.stored(&list.arrivals).await?;
            if let Some(first) = list.arrivals.iter().find(|one| stored.binary_search(one).is_err())
            {
                missing.push(format!(
                    "{} event(s) of the list are stored no more, the first of them seq {} received at {}",
                    list.arrivals.len() - stored.len(),
                    first.seq,
                    event::rfc3339(first.received_at)
                ));
            }
            chosen.extend(stored);
            (given, Some(sorted(chosen)))
        } else if let Some(replay) = self.replay_of {
            let found = recorded_replays(&places.store, Some(replay), 1).await?.pop();
            let replay = found.ok_or_else(|| super::unknown(replay))?;
            let before = recorded(&replay)?;
            if !is_empty(&given) {
                return Err(Misuse(
                    "--replay-of takes the events of that replay as they are: give no filter"
                        .to_owned(),
                )
                .into());
            }
            if before.chosen.as_ref().is_some_and(Vec::is_empty) && replay.matched > 0 {
                let words = "the events of that replay were chosen one by one, and it is older than retention.keep: which those \
                             were is kept no more, and nor are they";
                return Err(NothingFound(words.to_owned()).into());
            }
            limit = replay.most;
            (before.filter, before.chosen)
        } else {
            (given, None)
        };
        // What comes from now on is not meant, the replay's own events among it.
        filter.until = Some(filter.until.map_or(now, |until| until.min(now)));
        let arrivals = Arrivals { filter, chosen, after: Arrival::BEFORE_ALL, limit };
        Ok(Which { arrivals, missing })
    }
}

fn is_empty(filter: &Filter) -> bool {
    crate::commands::access::filter_json(filter).is_empty()
}

fn sorted(mut chosen: Vec<Arrival>) -> Vec<Arrival> {
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The events of a replay on record.
pub fn recorded(replay: &RecordedReplay) -> anyhow::Result<Arrivals> {
    let json: Map<String, Value> = serde_json::from_str(&replay.filter)?;
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    let flag = |name: &str| json.get(name).and_then(Value::as_bool).unwrap_or_default();
    let time = |name: &str| -> anyhow::Result<Option<OffsetDateTime>> {
        text(name)
            .map(|text| OffsetDateTime::parse(&text, &Rfc3339))
            .transpose()
            .context("its filter")
    };
    let filter = Filter {
        event_type: text("type"),
        routing_key: text("key"),
        source: text("source"),
        id: text("id"),
        correlation: text("correlation"),
        since: time("since")?,
        until: time("until")?,
        malformed: flag("malformed"),
        conflict: flag("conflict"),
        replays: false,
        canaries: false,
        condition: text("where"),
    };
    let limit = None;
    Ok(Arrivals { filter, chosen: replay.chosen(), after: Arrival::BEFORE_ALL, limit })
}
