//! `bloodbank-audit prove`: a proof that an event is in the history, in a file of its own.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use time::OffsetDateTime;

use super::{
    access::{NOT_ENDED, NOT_NOTED, access, filter_json},
    new_file,
    overview::exact,
    reading::{self, Found, Misuse, NothingFound},
    settings,
    terminal::visible,
};
use crate::{
    config::Config,
    event::rfc3339,
    ledger::{
        Checkpoint, Note, metadata_salt,
        proof::{Plan, check_inclusion},
        proof_file::{Bytes, Content, FORMAT, Metadata, Part, ProofFile, ProvenEvent},
    },
    store::{Evidence, Exhibit, Filter, Prover},
};

const HELP: &str = "\
Examples:
  bloodbank-audit prove 8057a88f-1d84-5270-8500-1fe179622bcf --out proof.json
  bloodbank-audit prove order-7 --disclose metadata | jq .checkpoint -r
  bloodbank-audit prove order-7 --checkpoint checkpoint.txt --out proof.json
  bloodbank-audit verify --proof proof.json --key \"$(cat ledger.pub)\"

Writes a proof that an event is in the history: the event, or as much of it as --disclose says, the way from its leaf to the root
of the tree, and the checkpoint that states the root. Whoever has it and the public key can check it, with no database. What is not
disclosed is there as a commitment, and tells nothing of what it was. Several events of one id: --seq says which.

Exit status:
   0  written; also where the reader of the output had seen enough
   1  no event has the id, or it cannot be proven: it was recorded while the ledger was off, is not sealed yet, no checkpoint is
      signed, or it is not what was recorded
   2  wrong use
  69  the database is away, refuses, did not answer in time, or its schema is missing or of another version
  70  the command died (a panic): a bug
  74  the output cannot be written
  78  the configuration is wrong";

/// How much of the event is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Disclose {
    /// Everything
    All,
    /// All but the body
    Metadata,
    /// Its number, when it was received, and commitments
    Nothing,
}

/// Options of `bloodbank-audit prove`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// The event's id: a uuid in any spelling, or what it has instead
    #[arg(value_name = "ID")]
    id: String,
    /// Which of several events of that id: its number
    #[arg(long, value_name = "SEQ")]
    seq: Option<i64>,
    /// How much of the event is handed out
    #[arg(long, value_enum, default_value_t = Disclose::All)]
    disclose: Disclose,
    /// Prove it against this checkpoint, a signed note, instead of the newest one of the database
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Write to this file, which must not exist, instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long PostgreSQL may take for each of its answers
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = reading::timeout)]
    timeout: Duration,
}

impl Options {
    /// Writes the proof.
    ///
    /// # Errors
    /// There is none, the database cannot be asked, or the proof cannot be written.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let asked_for = filter_json(&Filter { id: Some(self.id.clone()), ..Filter::default() });
        // One connection for all of it: to connect takes as long as to prove.
        let mut prover = Prover::open(&settings::store(&config)?, self.timeout).await?;
        let noted = prover.note(&access("prove", asked_for)).await.context(NOT_NOTED)?;
        let proof = self.prove_with(&mut prover).await?;
        let mut text = serde_json::to_string_pretty(&proof)?;
        text.push('\n');
        match &self.out {
            None => io::stdout().write_all(text.as_bytes())?,
            Some(path) => {
                let failed = || format!("cannot write {}", path.display());
                let mut file = new_file::create(path, new_file::AS_USUAL).with_context(failed)?;
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                written.with_context(failed)?;
            }
        }
        prover.handed_out(noted, 1).await.context(NOT_ENDED)?;
        Ok(Found::Something)
    }

    /// The proof, made over a connection that is open.
    ///
    /// # Errors
    /// There is none, or the database cannot be asked.
    pub async fn prove_with(&self, prover: &mut Prover) -> anyhow::Result<ProofFile> {
        let (seq, received_at) = self.chosen(prover).await?;
        let exhibit = prover.exhibit(seq, received_at).await?.ok_or_else(|| {
            unprovable(
                "it was recorded while the ledger was off, or the header of its batch is gone",
            )
        })?;
        let Some(Evidence { epoch, index }) = prover.locate(&exhibit).await? else {
            return Err(unprovable(
                "its batch is not sealed yet: the daemon does that every ledger.seal_every",
            ));
        };
        let note = match &self.checkpoint {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the checkpoint {}", path.display()))?,
            None => prover.newest_checkpoint(epoch).await?.ok_or_else(|| {
                unprovable(
                    "no checkpoint is signed: the daemon does that where ledger.key_file is set",
                )
            })?,
        };
        let place = match &self.checkpoint {
            Some(path) => path.display().to_string(),
            None => format!("the newest of epoch {epoch} in the database"),
        };
        let wrong = |error: &dyn std::fmt::Display| {
            Misuse(format!("{place} is no checkpoint, which is one signed note: {error}"))
        };
        let checkpoint = Note::parse(note.as_bytes()).map_err(|error| wrong(&error))?;
        let checkpoint = Checkpoint::parse(checkpoint.text()).map_err(|error| wrong(&error))?;
        if checkpoint.epoch().ok() != u64::try_from(epoch).ok() {
            return Err(unprovable(&format!(
                "it is in the tree of epoch {epoch}, and the checkpoint is of another"
            )));
        }
        if index >= checkpoint.size() {
            return Err(unprovable(&format!(
                "the checkpoint is of {} leaves, and the event's is number {index}: it came later",
                checkpoint.size()
            )));
        }
        let plan = Plan::inclusion(index, checkpoint.size())?;
        let hashes = prover.hashes(epoch, plan.subtrees()).await?;
        let path = plan.proof(|subtree| {
            hashes.get(&subtree).copied().ok_or_else(|| {
                unprovable("nodes of the tree are missing: run `bloodbank-audit verify`")
            })
        })?;
        check_inclusion(index, checkpoint.size(), &exhibit.leaf(), &path, checkpoint.root())
            .map_err(|error| {
                unprovable(&format!(
                    "the tree in the database is not the checkpoint's: {error}; run `bloodbank-audit verify`"
                ))
            })?;
        Ok(ProofFile {
            format: FORMAT.to_owned(),
            event: self.event(seq, &exhibit)?,
            leaf: index,
            path: path.into_iter().map(Bytes::from).collect(),
            checkpoint: note,
        })
    }

    /// Which event is meant.
    async fn chosen(&self, prover: &mut Prover) -> anyhow::Result<(i64, OffsetDateTime)> {
        let mut found = prover.named(&self.id).await?;
        found.retain(|(seq, _)| self.seq.is_none_or(|wanted| wanted == *seq));
        match found[..] {
            [one] => Ok(one),
            [] => {
                let id = visible(&self.id);
                Err(NothingFound(format!("no such event with the id {id} is stored")).into())
            }
            _ => {
                let each: Vec<_> =
                    found.iter().map(|(seq, at)| format!("--seq {seq} ({})", exact(*at))).collect();
                let which = each.join(", ");
                Err(Misuse(format!("{} events have that id: say which by {which}", found.len()))
                    .into())
            }
        }
    }

    /// The event, as far as it is to be disclosed and is there.
    fn event(&self, seq: i64, exhibit: &Exhibit) -> anyhow::Result<ProvenEvent> {
        let row = exhibit.columns()?;
        let commitments = exhibit.commitments()?;
        let (content_erased, metadata_erased) = exhibit.erased();
        let leaf = crate::ledger::Leaves::default().hash_of(seq, &row, &commitments);
        if leaf != exhibit.leaf() {
            return Err(unprovable("it is not what was recorded: run `bloodbank-audit verify`"));
        }
        let salt = exhibit.salt();
        let of_metadata = if content_erased { salt } else { metadata_salt(&salt) };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let metadata = if metadata_erased || self.disclose == Disclose::Nothing {
            Part::Withheld { commitment: commitments.metadata.into() }
        } else {
            Part::Disclosed(Metadata {
                salt: Bytes(of_metadata.to_vec()),
                event_time: row.event_time.map(rfc3339),
                event_id: row.event_id.map(|id| id.to_string()),
                event_key: owned(row.event_key),
                event_type: owned(row.event_type),
                source: owned(row.source),
                exchange: row.exchange.to_string(),
                routing_key: row.routing_key.to_string(),
                correlation_ids: row.correlation_ids.to_vec(),
                defects: row.defects.map(|names| names.into_iter().map(str::to_owned).collect()),
                properties: row.properties.to_owned(),
            })
        };
        let content = if content_erased || self.disclose != Disclose::All {
            Part::Withheld { commitment: commitments.content.into() }
        } else {
            Part::Disclosed(Content {
                salt: Bytes(salt.to_vec()),
                payload: owned(row.payload),
                body: row.body.map(|body| Bytes(body.to_vec())),
                conflict_digest: row.conflict_digest.map(Bytes::from),
            })
        };
        Ok(ProvenEvent {
            seq,
            received_at: rfc3339(row.received_at),
            redelivered: row.redelivered,
            conflict: row.conflict,
            malformed: row.malformed,
            metadata,
            content,
        })
    }
}

fn unprovable(why: &str) -> anyhow::Error {
    NothingFound(format!("the event cannot be proven: {why}")).into()
}
