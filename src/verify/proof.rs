//! A proof in a file, checked with no database.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::row::{Leaves, Rows, Salt};
use crate::ledger::{
    Checkpoint, Hash, VerifierKey,
    proof::{ProofError, check_inclusion},
    proof_file::{Bytes, Content, FORMAT, Metadata, Part, ProofFile, ProvenEvent},
};

/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH: i64 = 946_684_800_000_000;

/// Why a file proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// It is of another format.
    #[error("its format is {0:?}, and this program reads {FORMAT:?}")]
    Format(String),
    /// A value in it cannot be one.
    #[error("{0} is not what it should be")]
    Value(&'static str),
    /// Whoever discloses a body has its metadata.
    #[error("the body is disclosed and the metadata are not: a proof with one has the other")]
    Parts,
    /// The checkpoint is none, or none of the keys has signed it.
    #[error("its checkpoint cannot be relied on: {0}")]
    Checkpoint(String),
    /// The event is not in the tree.
    #[error("it does not prove this event: {0}")]
    Tree(#[from] ProofError),
}

/// Checks that the event is in the tree whose root one of the keys has signed, and tells the checkpoint.
///
/// # Errors
/// [`NoProof`]: what is wrong, and where.
pub fn check_proof(proof: &ProofFile, keys: &[VerifierKey]) -> Result<Checkpoint, NoProof> {
    if proof.format != FORMAT {
        return Err(NoProof::Format(proof.format.clone()));
    }
    let relied = Checkpoint::open(proof.checkpoint.as_bytes(), keys)
        .map_err(|error| NoProof::Checkpoint(error.to_string()))?;
    let checkpoint = relied.0;
    let leaf = leaf(&proof.event)?;
    let path =
        proof.path.iter().map(|hash| exactly(hash, "path")).collect::<Result<Vec<_>, _>>()?;
    check_inclusion(proof.leaf, checkpoint.size(), &leaf, &path, checkpoint.root())?;
    Ok(checkpoint)
}

/// The leaf of an event, as far as it is disclosed.
fn leaf(event: &ProvenEvent) -> Result<Hash, NoProof> {
    let copied = copied(event)?;
    let row = Rows::of(&copied).next();
    let Some(Ok(row)) = row else { return Err(NoProof::Value("event")) };
    let mut leaves = Leaves::default();
    let (seq, received_at) = (row.seq(), row.received_at());
    Ok(match (&event.metadata, &event.content) {
        (Part::Disclosed(_), Part::Disclosed(content)) => leaves.leaf(&row, &salt(&content.salt)?),
        (Part::Disclosed(metadata), Part::Withheld { commitment }) => {
            let content = exactly(commitment, "content.commitment")?;
            leaves.without_content(&row, &salt(&metadata.salt)?, &content)
        }
        (Part::Withheld { commitment: metadata }, Part::Withheld { commitment: content }) => {
            let metadata = exactly(metadata, "metadata.commitment")?;
            let content = exactly(content, "content.commitment")?;
            leaves.of_commitments(&row, seq, received_at, &metadata, &content)
        }
        (Part::Withheld { .. }, Part::Disclosed(_)) => return Err(NoProof::Parts),
    })
}

fn exactly<const N: usize>(bytes: &Bytes, what: &'static str) -> Result<[u8; N], NoProof> {
    bytes.0.as_slice().try_into().map_err(|_| NoProof::Value(what))
}

fn salt(bytes: &Bytes) -> Result<Salt, NoProof> {
    exactly(bytes, "salt")
}

/// The event as PostgreSQL would copy its row; what is withheld is null.
fn copied(event: &ProvenEvent) -> Result<Vec<u8>, NoProof> {
    let metadata = match &event.metadata {
        Part::Disclosed(metadata) => Some(metadata),
        Part::Withheld { .. } => None,
    };
    let content = match &event.content {
        Part::Disclosed(content) => Some(content),
        Part::Withheld { .. } => None,
    };
    let mut row = Copy(18_i16.to_be_bytes().to_vec());
    let of = |text: fn(&Metadata) -> Option<&str>| metadata.and_then(text);
    row.field(Some(&event.seq.to_be_bytes()));
    row.time(Some(&event.received_at), "received_at")?;
    row.time(of(|of| of.event_time.as_deref()), "event_time")?;
    let id = of(|of| of.event_id.as_deref()).map(Uuid::parse_str).transpose();
    let id = id.map_err(|_| NoProof::Value("event_id"))?;
    row.field(id.as_ref().map(|id| id.as_bytes().as_slice()));
    for flag in [event.redelivered, event.conflict, event.malformed] {
        row.field(Some(&[u8::from(flag)]));
    }
    row.text(of(|of| of.event_key.as_deref()));
    row.text(of(|of| of.event_type.as_deref()));
    row.text(of(|of| of.source.as_deref()));
    row.text(of(|of| Some(&of.exchange)));
    row.text(of(|of| Some(&of.routing_key)));
    row.texts(metadata.map(|of| of.correlation_ids.as_slice()));
    row.texts(metadata.and_then(|of| of.defects.as_deref()));
    row.text(of(|of| Some(&of.properties)));
    let of = |bytes: fn(&Content) -> Option<&[u8]>| content.and_then(bytes);
    row.field(of(|of| of.payload.as_deref().map(str::as_bytes)));
    row.field(of(|of| of.body.as_ref().map(|body| body.0.as_slice())));
    row.field(of(|of| of.conflict_digest.as_ref().map(|digest| digest.0.as_slice())));
    Ok(row.0)
}

struct Copy(Vec<u8>);

impl Copy {
    fn number(&mut self, number: usize) {
        self.0.extend_from_slice(&i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes());
    }

    fn field(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            None => self.0.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(bytes) => {
                self.number(bytes.len());
                self.0.extend_from_slice(bytes);
            }
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.field(text.map(str::as_bytes));
    }

    fn time(&mut self, text: Option<&str>, what: &'static str) -> Result<(), NoProof> {
        let micros = |text| {
            let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NoProof::Value(what))?;
            let micros = i64::try_from(at.unix_timestamp_nanos().div_euclid(1000));
            Ok::<i64, NoProof>(micros.map_err(|_| NoProof::Value(what))? - EPOCH)
        };
        let micros = text.map(micros).transpose()?;
        self.field(micros.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        Ok(())
    }

    fn texts(&mut self, texts: Option<&[String]>) {
        const TEXT: usize = 25;
        let array = texts.map(|texts| {
            let mut array = Copy(Vec::new());
            array.number(usize::from(!texts.is_empty()));
            array.number(0);
            array.number(TEXT);
            if !texts.is_empty() {
                array.number(texts.len());
                array.number(1);
            }
            texts.iter().for_each(|text| array.text(Some(text)));
            array.0
        });
        self.field(array.as_deref());
    }
}
