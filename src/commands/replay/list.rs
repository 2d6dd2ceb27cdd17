//! The replays on record.

use serde::Serialize;
use serde_json::value::RawValue;

use super::Status;
use crate::{
    commands::{
        overview::{exact, grouped, seconds, write_json},
        settings,
        terminal::{Cell, Column, Output, Paging, Table, style},
    },
    config::Config,
    replay::Target,
    store::{self, RecordedReplay},
};

/// So many are listed where no number is asked for.
const USUAL: i64 = 1000;

#[derive(Serialize)]
struct Listed {
    id: String,
    created_at: String,
    role: String,
    os_user: String,
    host: String,
    filter: Box<RawValue>,
    target: Box<RawValue>,
    pace: Box<RawValue>,
    state: String,
    cause: Option<String>,
    noted_at: String,
    matched: i64,
    confirmed: i64,
    unroutable: i64,
    nacked: i64,
    refused: i64,
}

/// Writes them to stdout, the last one first; and on stderr that there are more, where nobody said how many.
pub async fn list(config: &Config, limit: Option<i64>, json: bool) -> anyhow::Result<Status> {
    let most = limit.unwrap_or(USUAL + 1);
    let mut replays = store::recorded_replays(&settings::store(config)?, None, most).await?;
    let shown = usize::try_from(USUAL)?;
    let more = limit.is_none() && replays.len() > shown;
    if more {
        replays.truncate(shown);
    }
    let mut out = Output::open(if json { Paging::Never } else { Paging::Auto });
    if json {
        let listed: Vec<_> = replays.iter().map(listed).collect::<Result<_, _>>()?;
        write_json(&mut out, &listed)?;
    } else {
        table(&mut out, &replays)?;
    }
    out.close()?;
    if more {
        super::say(&format!(
            "there are more replays than these {USUAL}: --limit NUMBER lists more"
        ));
    }
    Ok(if replays.is_empty() { Status::Nothing } else { Status::Done })
}

fn table(out: &mut Output, replays: &[RecordedReplay]) -> anyhow::Result<()> {
    let columns = vec![
        Column::whole("began"),
        Column::whole("id"),
        Column::whole("state"),
        Column::number("settled"),
        Column::number("of"),
        Column::number("in no queue"),
        Column::text("who"),
        Column::text("to"),
    ];
    let mut table = Table::new(columns, out.look());
    for replay in replays {
        let progress = replay.progress();
        let target: Target = serde_json::from_str(&replay.target)?;
        let state = match &*replay.state {
            "finished" => style::PLAIN,
            "running" => style::STRONG,
            _ => style::WARNING,
        };
        table.row(
            out,
            vec![
                Cell::new(&seconds(replay.created_at)),
                Cell::new(&replay.id.to_string()),
                Cell::new(&replay.state).styled(state),
                Cell::new(&grouped(progress.settled())),
                Cell::new(&grouped(replay.matched)),
                Cell::new(&grouped(progress.undelivered())),
                Cell::new(&format!("{}@{}", replay.os_user, replay.host)),
                Cell::new(&target.to_string()),
            ],
        )?;
    }
    Ok(table.end(out)?)
}

fn listed(replay: &RecordedReplay) -> anyhow::Result<Listed> {
    let progress = replay.progress();
    let raw = |json: &String| RawValue::from_string(json.clone());
    Ok(Listed {
        id: replay.id.to_string(),
        created_at: exact(replay.created_at),
        role: replay.role.clone(),
        os_user: replay.os_user.clone(),
        host: replay.host.clone(),
        filter: raw(&replay.filter)?,
        target: raw(&replay.target)?,
        pace: raw(&replay.pace)?,
        state: replay.state.clone(),
        cause: replay.cause.clone(),
        noted_at: exact(replay.noted_at),
        matched: replay.matched,
        confirmed: progress.confirmed,
        unroutable: progress.unroutable,
        nacked: progress.nacked,
        refused: progress.refused,
    })
}
