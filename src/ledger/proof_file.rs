//! The file of a proof: an event or its commitments, the way from its leaf to the root, and the checkpoint that states the root.
//!
//! JSON, complete in itself: who checks it needs the public key, and no database.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::hash::Hash;

/// What the first field says, so that it is known what this is.
pub const FORMAT: &str = "bloodbank-audit proof 1";

/// A proof that an event is in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofFile {
    /// [`FORMAT`].
    pub format: String,
    /// The event.
    pub event: ProvenEvent,
    /// Its leaf in the tree, counted from 0.
    pub leaf: u64,
    /// RFC 6962 inclusion proof, from the leaf up.
    pub path: Vec<Bytes>,
    /// A signed note that holds a checkpoint.
    pub checkpoint: String,
}

/// An event, as far as it is disclosed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenEvent {
    /// Its number.
    pub seq: i64,
    /// When it was received, in RFC 3339, to the microsecond.
    pub received_at: String,
    /// The broker said that it may have been handed out before.
    pub redelivered: bool,
    /// Another one of the same id has other content.
    pub conflict: bool,
    /// The body is not what the envelope expects.
    pub malformed: bool,
    /// All beside the body.
    pub metadata: Part<Metadata>,
    /// The body.
    pub content: Part<Content>,
}

/// A part of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Part<T> {
    /// It is disclosed.
    Disclosed(T),
    /// It is not, or it was erased.
    Withheld {
        /// What the leaf holds of it.
        commitment: Bytes,
    },
}

/// All beside the body, as the columns of `audit.events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Metadata {
    pub salt: Bytes,
    pub event_time: Option<String>,
    pub event_id: Option<String>,
    pub event_key: Option<String>,
    pub event_type: Option<String>,
    pub source: Option<String>,
    pub exchange: String,
    pub routing_key: String,
    pub correlation_ids: Vec<String>,
    pub defects: Option<Vec<String>>,
    /// The text of the JSON, as it is stored.
    pub properties: String,
}

/// The body: of `payload` and `body` one is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Content {
    pub salt: Bytes,
    /// The text of the JSON, as it is stored.
    pub payload: Option<String>,
    pub body: Option<Bytes>,
    pub conflict_digest: Option<Bytes>,
}

/// Bytes, in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl From<Hash> for Bytes {
    fn from(hash: Hash) -> Bytes {
        Bytes(hash.to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(|_| de::Error::custom("it is not base64"))?;
        Ok(Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in the file and is not checked would be taken for proven.
    #[test]
    fn what_is_withheld_has_a_commitment_and_nothing_else() {
        let withheld = r#"{"commitment": "AAAA"}"#;
        let part: Part<Content> = serde_json::from_str(withheld).unwrap();
        assert_eq!(part, Part::Withheld { commitment: Bytes(vec![0; 3]) });
        for more in [r#""payload": "{}""#, r#""body": null"#, r#""note": 1"#] {
            let text = withheld.replace('}', &format!(", {more}}}"));
            assert!(serde_json::from_str::<Part<Content>>(&text).is_err(), "{text}");
        }
        let disclosed =
            r#"{"salt": "AAAA", "payload": "1", "body": null, "conflict_digest": null}"#;
        assert!(serde_json::from_str::<Part<Content>>(disclosed).is_ok());
    }
}
