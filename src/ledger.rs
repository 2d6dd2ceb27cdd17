//! The ledger: what makes any later change of the history detectable from a few hundred bytes that are kept elsewhere.
//!
//! Pure: bytes in, values out. Nothing here reads a file, a clock, a database or randomness; who calls it does. The tree is
//! that of RFC 6962; its formats outside are the field's own, so that tools nobody here wrote can check them. docs/ledger.md
//! has all of them byte by byte. What checks a history has encoders of its own, so that a mistake in one is seen by the other.

mod checkpoint;
mod encode;
mod endorsement;
mod hash;
mod header;
mod key;
mod key_file;
mod leaf;
mod note;
pub mod proof;
pub mod proof_file;
mod sealed;
mod subtree;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use endorsement::{Endorsement, EndorsementError};
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use header::{BEGIN, Header, header_hash};
pub use key::{KeyError, KeyName, SIGNATURE_BYTES, SignerKey, VerifierKey};
pub use key_file::{KeyFile, KeyFileError};
pub use leaf::{Commitments, EventRow, Leaves, Salt, metadata_salt};
pub use note::{Note, NoteError, NoteSignature, Scrap, SignatureError};
pub use sealed::{Act, batch_hash};
pub use subtree::{Subtree, root_of_complete};
pub use tree::{Frontier, Node, WrongEdge};
