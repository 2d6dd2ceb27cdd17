//! What a check came to: for people, and as JSON.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    commands::{
        lasted,
        overview::{exact, grouped, write_json},
        terminal::{Output, visible},
    },
    ledger::{
        Checkpoint,
        proof_file::{Part, ProofFile, ProvenEvent},
    },
    verify::{Finding, NoProof, Report, Request, Subject, Taken, Verdict},
};

/// What is written.
pub struct Page<'a> {
    request: &'a Request,
    report: &'a Report,
    took: Duration,
    limit: usize,
}

impl<'a> Page<'a> {
    /// With so many findings at most.
    pub fn new(request: &'a Request, report: &'a Report, took: Duration, limit: usize) -> Page<'a> {
        Page { request, report, took, limit }
    }

    fn shown(&self) -> &[Finding] {
        let kept = self.report.findings.kept();
        &kept[..kept.len().min(self.limit)]
    }

    fn counts(&self) -> impl Iterator<Item = (Verdict, u64)> {
        let counts = Verdict::ALL.map(|verdict| (verdict, self.report.findings.count(verdict)));
        counts.into_iter().filter(|(_, count)| *count > 0)
    }

    fn rate(&self) -> u64 {
        let taken = self.report.taken.map_or(0, |taken| taken.events);
        let read = self.report.events.checked.saturating_sub(taken);
        // As a whole number of events, for people.
        (read as f64 / self.took.as_secs_f64().max(0.001)) as u64
    }

    /// Writes it for people.
    pub fn write(&self, out: &mut Output) -> io::Result<()> {
        for finding in self.shown() {
            let Finding { verdict, subject, why } = finding;
            writeln!(
                out,
                "{:<10}{}: {}",
                verdict.name(),
                visible(&subject.to_string()),
                visible(why)
            )?;
        }
        let all = self.report.findings.all();
        let shown = u64::try_from(self.shown().len()).unwrap_or_default();
        if all > shown && !self.shown().is_empty() {
            writeln!(out, "… those are the first {}; --limit shows more", number(shown))?;
        }
        if all > 0 {
            writeln!(out)?;
        }
        self.write_counts(out)?;
        self.write_uncovered(out)?;
        if self.request.given.is_empty() {
            writeln!(
                out,
                "Without --checkpoint only the database's own statements were compared with each other: whoever made all of them\n\
                 anew, or restored an older state, is not noticed."
            )?;
        } else if self.request.keys.is_empty() {
            writeln!(
                out,
                "Without --key no signature was looked at: the checkpoints were taken for what they say."
            )?;
        }
        if all == 0 {
            return writeln!(out, "All of it is as it was recorded.");
        }
        let counts: Vec<_> = self
            .counts()
            .map(|(verdict, count)| format!("{} {}", number(count), verdict.name()))
            .collect();
        writeln!(out, "NOT as it was recorded: {}", counts.join(", "))
    }

    fn write_counts(&self, out: &mut Output) -> io::Result<()> {
        let Report { counts, events, partitions, trees, .. } = self.report;
        for tree in trees {
            let epoch =
                if trees.len() > 1 { format!("epoch {}, ", tree.epoch) } else { String::new() };
            writeln!(
                out,
                "tree     {epoch}{} leaves in {} seal(s), root {}",
                number(tree.size),
                number(tree.seals),
                STANDARD.encode(tree.root)
            )?;
            let given = self.request.given.iter();
            let given =
                given.filter(|given| i64::try_from(given.epoch) == Ok(i64::from(tree.epoch)));
            if let Some(last) = given.clone().map(|given| given.size).max() {
                writeln!(
                    out,
                    "         as in {} of {} given checkpoint(s), the largest of {} leaves",
                    tree.agreed,
                    given.count(),
                    number(last)
                )?;
            }
        }
        let signed = if self.request.keys.is_empty() {
            "signatures not looked at".to_owned()
        } else {
            format!("{} signed by the given keys", number(counts.signed))
        };
        writeln!(
            out,
            "headers  {} batch(es), {signed}; {} act(s), {} node(s), {} checkpoint(s) of the database's own",
            number(counts.batches),
            number(counts.acts),
            number(counts.nodes),
            number(counts.checkpoints)
        )?;
        let took = lasted(time::Duration::try_from(self.took).unwrap_or_default());
        writeln!(
            out,
            "events   {} in {} partition(s), {} of them erased; in {took}, {}/s",
            number(events.checked),
            number(*partitions),
            number(events.erased),
            number(self.rate())
        )
    }

    fn write_uncovered(&self, out: &mut Output) -> io::Result<()> {
        let Report { counts, events, gone, taken, .. } = self.report;
        if let Some(Taken { partitions, events, from, to }) = taken {
            writeln!(
                out,
                "         {} of them, in {} partition(s), were checked before it was interrupted, from {} to {}: what was changed\n\
                 \x20        there since is not noticed",
                number(*events),
                number(*partitions),
                instant(*from).unwrap_or_default(),
                instant(*to).unwrap_or_default()
            )?;
        }
        let keyed = !self.request.keys.is_empty();
        let lines = [
            (events.expired, "event(s) lawfully gone with partitions that have expired"),
            (
                events.uncovered,
                "event(s) not covered: recorded before the ledger, or while it was off",
            ),
            (counts.fresh, "batch(es) and act(s) not sealed yet"),
            (if keyed { counts.unsigned } else { 0 }, "header(s) that nobody has signed"),
            (counts.signed_by_others, "header(s) signed by a key that is not given"),
            (counts.lost, "batch(es) lost before a new epoch was begun"),
            (counts.unsigned_acts, "act(s) that no given key has signed"),
        ];
        for (count, what) in lines.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(out, "         {} {what}", number(count))?;
        }
        for name in gone {
            writeln!(out, "         {} was dropped meanwhile, and not read", visible(name))?;
        }
        if self.request.since.is_some() || self.request.until.is_some() {
            writeln!(out, "         events of other times than those asked for were not read")?;
        }
        Ok(())
    }
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Report { findings, counts, trees, events, partitions, gone, taken } = self.report;
        let verdicts: serde_json::Map<String, Value> = self
            .counts()
            .map(|(verdict, count)| (verdict.name().to_owned(), count.into()))
            .collect();
        let tree = |tree: &crate::verify::TreeState| {
            json!({
                "epoch": tree.epoch,
                "seals": tree.seals,
                "size": tree.size,
                "root": STANDARD.encode(tree.root),
                "checkpoints_agreed": tree.agreed,
            })
        };
        json!({
            "clean": findings.all() == 0,
            "verdicts": verdicts,
            "findings": self.shown().iter().map(listed).collect::<Vec<_>>(),
            "checkpoints_given": self.request.given.len(),
            "keys_given": self.request.keys.len(),
            "trees": trees.iter().map(tree).collect::<Vec<_>>(),
            "batches": counts.batches,
            "acts": counts.acts,
            "nodes": counts.nodes,
            "checkpoints": counts.checkpoints,
            "headers_signed": counts.signed,
            "headers_unsigned": counts.unsigned,
            "headers_signed_by_others": counts.signed_by_others,
            "acts_unsigned": counts.unsigned_acts,
            "batches_lost": counts.lost,
            "not_sealed_yet": counts.fresh,
            "events": events.checked,
            "events_erased": events.erased,
            "events_expired": events.expired,
            "events_not_covered": events.uncovered,
            "partitions": partitions,
            "partitions_gone": gone,
            "taken": taken.map(|Taken { partitions, events, from, to }| json!({
                "partitions": partitions,
                "events": events,
                "from": instant(from),
                "to": instant(to),
            })),
            "seconds": self.took.as_secs_f64(),
        })
        .serialize(serializer)
    }
}

/// A finding as an object: its verdict, what it is about, and why.
fn listed(finding: &Finding) -> Value {
    let at = |micros: &i64| instant(*micros);
    let subject = match &finding.subject {
        Subject::Event { seq, received_at, event_id, partition } => json!({
            "kind": "event", "seq": seq, "received_at": received_at.as_ref().and_then(at), "event_id": event_id.map(|id| id.to_string()), "partition": partition,
        }),
        Subject::Events { first, last } => {
            json!({"kind": "events", "first_seq": first, "last_seq": last})
        }
        Subject::Batch { lane, number } => {
            json!({"kind": "batch", "lane": lane.to_string(), "number": number})
        }
        Subject::Act { id } => json!({"kind": "act", "id": id.to_string()}),
        Subject::Seal { epoch, number } => {
            json!({"kind": "seal", "epoch": epoch, "number": number})
        }
        Subject::Node { epoch, level, index } => {
            json!({"kind": "node", "epoch": epoch, "level": level, "index": index})
        }
        Subject::Checkpoint { epoch, size, which } => {
            json!({"kind": "checkpoint", "epoch": epoch, "size": size, "which": which})
        }
        Subject::Epoch { epoch } => json!({"kind": "epoch", "epoch": epoch}),
        Subject::Ledger => json!({"kind": "ledger"}),
        Subject::Partition { name } => json!({"kind": "partition", "partition": name}),
    };
    let mut listed = json!({"verdict": finding.verdict.name(), "why": finding.why});
    if let (Value::Object(listed), Value::Object(subject)) = (&mut listed, subject) {
        listed.extend(subject);
    }
    listed
}

/// A time in microseconds since 1970; none where it is not one of a calendar.
fn instant(micros: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok().map(exact)
}

fn number(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}
/// Writes what a proof comes to: for people, or as one JSON object.
///
/// # Errors
/// It cannot be written.
pub fn proof(
    out: &mut Output,
    as_json: bool,
    proof: &ProofFile,
    checked: &Result<Checkpoint, NoProof>,
) -> anyhow::Result<()> {
    let ProvenEvent { seq, received_at, .. } = &proof.event;
    let event = format!("the event {seq}, received {}", visible(received_at));
    match (as_json, checked) {
        (true, Ok(checkpoint)) => write_json(
            out,
            &json!({
                "proven": true,
                "seq": seq,
                "received_at": received_at,
                "leaf": proof.leaf,
                "origin": checkpoint.origin(),
                "size": checkpoint.size(),
                "root": STANDARD.encode(checkpoint.root()),
            }),
        )?,
        (true, Err(why)) => {
            write_json(out, &json!({ "proven": false, "seq": seq, "why": why.to_string() }))?;
        }
        (false, Ok(checkpoint)) => writeln!(
            out,
            "proven: {event}, {}, is leaf {} of the {} of {}",
            disclosed(&proof.event),
            proof.leaf,
            checkpoint.size(),
            visible(checkpoint.origin())
        )?,
        (false, Err(why)) => writeln!(out, "not proven: {event}: {}", visible(&why.to_string()))?,
    }
    Ok(())
}

/// Which parts of it the proof shows.
fn disclosed(event: &ProvenEvent) -> &'static str {
    match (&event.metadata, &event.content) {
        (Part::Withheld { .. }, _) => "all that it says withheld",
        (_, Part::Withheld { .. }) => "as it stands there, its body withheld",
        _ => "as it stands there",
    }
}
