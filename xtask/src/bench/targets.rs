//! What has to be reached, as ratios within one run.

use serde::Serialize;

use super::bus::Kind;
use super::drain::Who;
use super::figure::{Figure, plain};
use super::latency::What;
use super::proof::PROVEN;
use super::report::Report;

/// Something to be reached, and what was.
#[derive(Debug, Serialize)]
pub struct Target {
    pub what: String,
    pub target: String,
    pub measured: String,
    pub reached: bool,
}

/// A bound.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}
use Bound::{AtLeast, AtMost};

impl Target {
    fn new(what: impl Into<String>, bound: &Bound, measured: f64, unit: &str) -> Self {
        let (words, bound, reached) = match *bound {
            AtLeast(bound) => ("at least", bound, measured >= bound),
            AtMost(bound) => ("at most", bound, measured <= bound),
        };
        Self {
            what: what.into(),
            target: format!("{words} {}{unit}", plain(bound)),
            measured: format!("{}{unit}", plain(measured)),
            reached,
        }
    }
}

/// The targets that this run has measured something of.
pub fn all(report: &Report) -> Vec<Target> {
    let drains = [Kind::Quorum, Kind::Classic].into_iter().flat_map(|kind| drain(report, kind));
    let measured = drains.chain(latency(report)).chain(growth(report)).chain(memory(report));
    measured.chain(queries(report)).chain(replay(report)).chain(proofs(report)).collect()
}

fn drain(report: &Report, kind: Kind) -> Vec<Target> {
    let Some(drains) = &report.drain else { return Vec::new() };
    let median = |who, value: &dyn Fn(&super::drain::Sample) -> f64| {
        drains.figure(who, value).map(|figure| figure.median)
    };
    let daemon = Who::Daemon(kind);
    let queue = kind.name();
    let mut targets = Vec::new();
    let rates =
        (median(daemon, &|sample| sample.rate), median(Who::Python(kind), &|sample| sample.rate));
    if let (Some(ours), Some(theirs)) = rates {
        let what = format!("{queue}: rate against the Python reference");
        targets.push(Target::new(what, &AtLeast(2.0), ours / theirs, " times"));
    }
    if let Some(cores) = median(daemon, &super::drain::Sample::cores) {
        let what = format!("{queue}: share of the cores that all three keep busy");
        targets.push(Target::new(what, &AtLeast(0.8), cores / report.machine.cores as f64, ""));
    }
    if kind == Kind::Quorum {
        if let Some(consumer) = median(daemon, &|sample| sample.consumer) {
            targets.push(Target::new(
                "quorum: CPU of the daemon an event",
                &AtMost(8.0),
                consumer,
                " µs",
            ));
        }
        if let Some(together) = median(daemon, &super::drain::Sample::together) {
            targets.push(Target::new(
                "quorum: CPU of all three an event",
                &AtMost(32.0),
                together,
                " µs",
            ));
        }
    }
    targets
}

fn latency(report: &Report) -> Vec<Target> {
    let Some(latencies) = &report.latency else { return Vec::new() };
    let p50 = |what| latencies.figure(what, |sample| sample.p50).map(|figure| figure.median);
    let p99 = |what| latencies.figure(what, |sample| sample.p99).map(|figure| figure.median);
    let mut targets = Vec::new();
    let slow = What::Visible(200);
    if let (Some(ours), Some(insert), Some(delivery)) =
        (p50(slow), p50(What::Insert), p50(What::Delivery(200)))
    {
        let what = "200/s: p50 against a single INSERT and the broker's delivery";
        targets.push(Target::new(what, &AtMost(1.2), ours / (insert + delivery), " times"));
    }
    if let (Some(middle), Some(slowest)) = (p50(slow), p99(slow)) {
        targets.push(Target::new(
            "200/s: p99 against its p50",
            &AtMost(3.0),
            slowest / middle,
            " times",
        ));
    }
    if let Some(slowest) = p99(What::Visible(10_000)) {
        targets.push(Target::new("10,000/s: p99", &AtMost(25.0), slowest, " ms"));
    }
    targets
}

fn growth(report: &Report) -> Vec<Target> {
    let Some(growth) = &report.growth else { return Vec::new() };
    let largest = growth.samples.keys().max().copied().unwrap_or_default();
    let ratio = |value: &dyn Fn(&super::drain::Sample) -> f64| {
        Some(growth.figure(largest, value)?.median / growth.figure(0, value)?.median)
    };
    let rows = crate::figures::count(largest);
    let mut targets = Vec::new();
    if largest > 0 {
        if let Some(rate) = ratio(&|sample| sample.rate) {
            let what = format!("{rows} rows: rate against the empty table");
            targets.push(Target::new(what, &AtLeast(0.9), rate, " times"));
        }
        if let Some(wal) = ratio(&|sample| sample.wal.unwrap_or_default()) {
            let what = format!("{rows} rows: WAL an event against the empty table");
            targets.push(Target::new(what, &AtMost(1.3), wal, " times"));
        }
    }
    targets
}

fn memory(report: &Report) -> Vec<Target> {
    let peak = report.peak_memory().into_iter().map(|(_, figure)| figure.most).reduce(f64::max);
    let target = |peak| {
        Target::new("peak memory of the daemon, the worst of all", &AtMost(64.0), peak, " MiB")
    };
    peak.map(target).into_iter().collect()
}

fn queries(report: &Report) -> impl Iterator<Item = Target> {
    let target = |answer: &super::queries::Answer| {
        Target::new(format!("{}: p99", answer.name), &AtMost(answer.target), answer.p99, " ms")
    };
    report.queries.iter().map(target)
}

fn replay(report: &Report) -> Vec<Target> {
    let Some(replay) = &report.replay else { return Vec::new() };
    let median = |values: &[f64]| Figure::of(values.iter().copied()).map(|figure| figure.median);
    let ratio = |one: &[f64], other: &[f64]| Some(median(one)? / median(other)?);
    // From 1 on, whichever side it lies on.
    let off = |values: &[f64]| median(values).map(|times| (times - 1.0).abs() * 100.0);
    let targets = [
        (
            "replay: rate against a bare publisher",
            AtLeast(0.8),
            ratio(&replay.replay, &replay.bare),
            " times",
        ),
        (
            "replay: peak memory against that of a tenth of the events",
            AtMost(1.2),
            ratio(&replay.peak, &replay.peak_of_a_tenth),
            " times",
        ),
        ("replay: how far --rate is off", AtMost(2.0), off(&replay.rate), " %"),
        ("replay: how far --speed is off", AtMost(2.0), off(&replay.speed), " %"),
    ];
    let target = |(what, bound, measured, unit): (&str, _, Option<f64>, _)| {
        measured.map(|measured| Target::new(what, &bound, measured, unit))
    };
    targets.into_iter().filter_map(target).collect()
}

fn proofs(report: &Report) -> Vec<Target> {
    let Some(proofs) = &report.proofs else { return Vec::new() };
    let mut targets = Vec::new();
    if let Some(figure) = Figure::of(proofs.verify.iter().map(|run| run.per_core)) {
        let what = "verify: events a second and core";
        targets.push(Target::new(what, &AtLeast(300_000.0), figure.median, ""));
    }
    for (what, took) in PROVEN {
        if let Some(figure) = Figure::of(proofs.prove.iter().map(|run| took(run).p50)) {
            targets.push(Target::new(format!("{what}: p50"), &AtMost(10.0), figure.median, " ms"));
        }
    }
    targets
}
