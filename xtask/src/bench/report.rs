//! What a run has found: tables for people, and everything as JSON.

use anyhow::Result;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::bus::Kind;
use super::drain::{Drains, Sample, Who};
use super::envelope::BODY_BYTES;
use super::figure::{Figure, plain};
use super::growth::Growth;
use super::latency::{Latencies, What};
use super::machine::Machine;
use super::proof::{Measure, PROVEN, Proofs, Verified};
use super::queries::Answer;
use super::replay::Replays;
use super::scale::Scale;
use super::scene::Scene;
use super::table::Table;
use super::targets;
use crate::figures::count;
use crate::screen::Screen;

const MIB: f64 = 1024.0 * 1024.0;

/// What was measured, and where.
pub struct Report {
    pub machine: Machine,
    pub scale: Scale,
    /// What the daemon and PostgreSQL were told.
    pub settings: Vec<(String, String)>,
    pub drain: Option<Drains>,
    pub latency: Option<Latencies>,
    pub growth: Option<Growth>,
    pub queries: Vec<Answer>,
    pub replay: Option<Replays>,
    pub proofs: Option<Proofs>,
}

impl Report {
    /// Nothing measured yet.
    ///
    /// # Errors
    /// When the machine does not say what it is.
    pub async fn new(scene: &Scene, scale: &Scale) -> Result<Self> {
        let machine = Machine::look(scene).await?;
        let mut settings = [&scene.settings[..], &scene.server_settings[..]].concat();
        settings.extend(scene.sql.iter().map(|sql| ("sql".to_owned(), sql.clone())));
        Ok(Self {
            machine,
            scale: scale.clone(),
            settings,
            drain: None,
            latency: None,
            growth: None,
            queries: Vec::new(),
            replay: None,
            proofs: None,
        })
    }

    /// Prints on what it is measured.
    pub fn print_head(&self, screen: &Screen) {
        let Machine {
            date,
            processor,
            cores,
            memory_gib,
            kernel,
            postgres,
            rabbitmq,
            load_before,
            commit,
        } = &self.machine;
        screen.line(format!("  {date} UTC, commit {commit}; {cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}"));
        screen.line(format!(
            "  PostgreSQL {postgres}, RabbitMQ {rabbitmq}; load before: {load_before}"
        ));
        if !self.settings.is_empty() {
            let settings: Vec<_> =
                self.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
            screen.line(format!("  with {}", settings.join(", ")));
        }
        if self.scale.quick {
            screen.line(screen.alarm("  --quick: the figures mean nothing"));
        }
    }

    /// Prints everything.
    pub fn print(&self, screen: &Screen) {
        screen.line("");
        screen.line(format!(
            "  Medians of {} run(s), in parentheses the least and the most.",
            self.scale.runs
        ));
        if let Some(drains) = &self.drain {
            self.print_drains(screen, drains);
            print_size(screen, drains);
        }
        if let Some(latencies) = &self.latency {
            print_latencies(screen, latencies);
        }
        if let Some(growth) = &self.growth {
            print_growth(screen, growth);
        }
        self.print_queries(screen);
        if let Some(replay) = &self.replay {
            print_replay(screen, replay);
        }
        if let Some(proofs) = &self.proofs {
            print_proofs(screen, proofs);
        }
        self.print_memory(screen);
        let mut table = Table::new(&["must reach", "target", "measured", ""]);
        for target in targets::all(self) {
            let verdict = if target.reached { "reached" } else { "not reached" };
            table.row([target.what, target.target, target.measured, verdict.to_owned()]);
        }
        table.print(screen, "Targets");
    }

    fn print_drains(&self, screen: &Screen, drains: &Drains) {
        let mut table = Table::new(&DRAIN_HEADINGS);
        for who in drains.samples.keys() {
            table.row(drain_row(who.name(), |value| drains.figure(*who, value)));
        }
        let events = count(self.scale.events.into());
        table.print(screen, &format!("Drain: a backlog of {events} events, CPU in µs an event"));
        if let Some(why) = &drains.no_python {
            screen.line(format!("  no Python reference: {why}"));
        }
    }

    fn print_queries(&self, screen: &Screen) {
        if self.queries.is_empty() {
            return;
        }
        let mut table = Table::new(&["question", "p50 ms", "p99 ms", "most ms", "asked"]);
        for answer in &self.queries {
            let [p50, p99, most] = [answer.p50, answer.p99, answer.most].map(plain);
            table.row([answer.name.to_owned(), p50, p99, most, answer.asked.to_string()]);
        }
        let (events, days) = (count(self.scale.past), self.scale.past_days);
        table.print(
            screen,
            &format!("Queries: a past of {events} events in {days} partitions, warm"),
        );
    }

    fn print_memory(&self, screen: &Screen) {
        let peaks = self.peak_memory();
        if !peaks.is_empty() {
            let mut table = Table::new(&["daemon", "peak MiB"]);
            for (during, figure) in peaks {
                table.row([during, figure.to_string()]);
            }
            table.print(screen, "Memory: most that the daemon has had");
        }
    }

    /// Most memory of the daemon in each measurement, in MiB.
    pub fn peak_memory(&self) -> Vec<(String, Figure)> {
        let mut peaks = Vec::new();
        for kind in [Kind::Quorum, Kind::Classic] {
            let samples =
                self.drain.as_ref().and_then(|drains| drains.samples.get(&Who::Daemon(kind)));
            let bytes = samples.into_iter().flatten().filter_map(|sample| sample.peak_memory);
            peaks.push((format!("drain, {}", kind.name()), bytes.collect::<Vec<f64>>()));
        }
        for (what, samples) in self.latency.iter().flat_map(|latency| &latency.samples) {
            if let What::Visible(rate) = what {
                let bytes = samples.iter().filter_map(|sample| sample.peak_memory);
                peaks.push((format!("{} events/s", count((*rate).into())), bytes.collect()));
            }
        }
        for (rows, samples) in self.growth.iter().flat_map(|growth| &growth.samples) {
            let bytes = samples.iter().filter_map(|sample| sample.peak_memory);
            peaks.push((format!("drain beside {} rows", count(*rows)), bytes.collect()));
        }
        let figure = |bytes: Vec<f64>| Figure::of(bytes.into_iter().map(|bytes| bytes / MIB));
        peaks.into_iter().filter_map(|(during, bytes)| Some((during, figure(bytes)?))).collect()
    }
}

const DRAIN_HEADINGS: [&str; 8] =
    ["who", "events/s", "consumer", "broker", "PostgreSQL", "together", "cores", "others' cores"];

fn drain_row(name: String, figure: impl Fn(fn(&Sample) -> f64) -> Option<Figure>) -> Vec<String> {
    let values: [fn(&Sample) -> f64; 7] = [
        |sample| sample.rate,
        |sample| sample.consumer,
        |sample| sample.broker,
        |sample| sample.postgres,
        Sample::together,
        Sample::cores,
        |sample| sample.others,
    ];
    let cells =
        values.into_iter().map(|value| figure(value).map(|it| it.to_string()).unwrap_or_default());
    [name].into_iter().chain(cells).collect()
}

fn print_size(screen: &Screen, drains: &Drains) {
    let mut table = Table::new(&[
        "who",
        "table",
        "toast",
        "index",
        "batches",
        "on disk / body",
        "WAL",
        "WAL / body",
    ]);
    for (who, samples) in &drains.samples {
        let body = BODY_BYTES as f64;
        let figure =
            |value: fn(&Sample) -> Option<f64>| Figure::of(samples.iter().filter_map(value));
        let cell = |value| figure(value).map(|it| plain(it.median)).unwrap_or_default();
        let share = |value| figure(value).map(|it| plain(it.median / body)).unwrap_or_default();
        let all: fn(&Sample) -> Option<f64> =
            |sample| sample.size.map(|size| size.table + size.toast + size.index + size.batches);
        if figure(|sample| sample.wal).is_some() {
            table.row([
                who.name(),
                cell(|sample| sample.size.map(|size| size.table)),
                cell(|sample| sample.size.map(|size| size.toast)),
                cell(|sample| sample.size.map(|size| size.index)),
                cell(|sample| sample.size.map(|size| size.batches)),
                share(all),
                cell(|sample| sample.wal),
                share(|sample| sample.wal),
            ]);
        }
    }
    table.print(screen, &format!("Size: bytes an event, of bodies of {BODY_BYTES}"));
}

fn print_latencies(screen: &Screen, latencies: &Latencies) {
    let mut table = Table::new(&["what", "p50 ms", "p99 ms", "most ms", "events/s"]);
    for what in latencies.samples.keys() {
        let cell = |value: fn(&super::latency::Sample) -> f64| {
            latencies.figure(*what, value).map(|figure| figure.to_string()).unwrap_or_default()
        };
        table.row([
            what.name(),
            cell(|sample| sample.p50),
            cell(|sample| sample.p99),
            cell(|sample| sample.max),
            cell(|sample| sample.rate),
        ]);
    }
    table.print(screen, "Latency, on a quorum queue");
}

fn print_replay(screen: &Screen, replay: &Replays) {
    let mut table = Table::new(&["what", "measured", ""]);
    for (what, values, unit, per) in [
        ("a bare publisher", &replay.bare, "events/s", 1.0),
        ("replay", &replay.replay, "events/s", 1.0),
        ("its peak memory", &replay.peak, "MiB", MIB),
        ("the same of a tenth of the events", &replay.peak_of_a_tenth, "MiB", MIB),
        ("time at a rate against what it should be", &replay.rate, "times", 1.0),
        ("time at a speed against what it should be", &replay.speed, "times", 1.0),
    ] {
        let figure = Figure::of(values.iter().map(|value| value / per));
        table.row([
            what.to_owned(),
            figure.map(|it| it.to_string()).unwrap_or_default(),
            unit.to_owned(),
        ]);
    }
    table.print(screen, "Replay, to a quorum queue");
}

fn print_proofs(screen: &Screen, proofs: &Proofs) {
    let mut table = Table::new(&["what", "measured", ""]);
    let verified: [(Measure<Verified, f64>, &str); 4] = [
        (("verify, a second of its CPU time", |run| run.per_core), "events"),
        (("verify, a second", |run| run.rate), "events"),
        (("PostgreSQL for it", |run| run.postgres), "µs an event"),
        (("its peak memory", |run| run.peak / MIB), "MiB"),
    ];
    for ((what, value), unit) in verified {
        if let Some(figure) = Figure::of(proofs.verify.iter().map(value)) {
            table.row([what.to_owned(), figure.to_string(), unit.to_owned()]);
        }
    }
    for (what, took) in PROVEN {
        let p50 = Figure::of(proofs.prove.iter().map(|run| took(run).p50));
        let p99 = Figure::of(proofs.prove.iter().map(|run| took(run).p99));
        if let (Some(p50), Some(p99)) = (p50, p99) {
            table.row([what.to_owned(), p50.to_string(), format!("ms; p99 {p99}")]);
        }
    }
    let events = count(proofs.events.into());
    table.print(screen, &format!("Verify and prove: a history of {events} events"));
}

fn print_growth(screen: &Screen, growth: &Growth) {
    let headings: Vec<&str> = DRAIN_HEADINGS.into_iter().chain(["WAL bytes"]).collect();
    let mut table = Table::new(&headings);
    for rows in growth.samples.keys() {
        let name = format!("beside {} rows", count(*rows));
        let mut row = drain_row(name, |value| growth.figure(*rows, value));
        let wal = growth.figure(*rows, |sample| sample.wal.unwrap_or_default());
        row.push(wal.map(|wal| wal.to_string()).unwrap_or_default());
        table.row(row);
    }
    table.print(screen, "Growth: the daemon draining a quorum queue into a table that holds rows");
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut report = to.serialize_struct("Report", 10)?;
        report.serialize_field("machine", &self.machine)?;
        report.serialize_field("scale", &self.scale)?;
        report.serialize_field("settings", &self.settings)?;
        let drain = self.drain.iter().flat_map(|drains| &drains.samples);
        report.serialize_field(
            "drain",
            &objects(drain.map(|(who, samples)| (who.name(), json!(samples)))),
        )?;
        let latency = self.latency.iter().flat_map(|latency| &latency.samples);
        report.serialize_field(
            "latency",
            &objects(latency.map(|(what, samples)| (format!("{what:?}"), json!(samples)))),
        )?;
        let growth = self.growth.iter().flat_map(|growth| &growth.samples);
        report.serialize_field(
            "growth",
            &objects(growth.map(|(rows, samples)| (rows.to_string(), json!(samples)))),
        )?;
        report.serialize_field("queries", &self.queries)?;
        report.serialize_field("replay", &self.replay)?;
        report.serialize_field("proofs", &self.proofs)?;
        report.serialize_field("targets", &targets::all(self))?;
        report.end()
    }
}

fn objects(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(entries.collect())
}
