//! The ledger's checker: recomputes what was recorded from the bytes that are stored, and says what does not fit.
//!
//! It shares the hashes of RFC 6962, notes and keys with the writer, and no encoder: a mistake of one is seen by the other. What
//! judges is pure; [`check`] joins it with what [`crate::store::Snapshot`] reads. Two passes, each of which reads everything once and
//! keeps little: the tree in its order, then the events, partition by partition, beside the batches that recorded them.

mod acts;
mod base64;
mod carried;
mod checkpoints;
mod damage;
mod encode;
mod finding;
mod given;
mod header;
mod keys;
mod lanes;
mod partition;
mod progress;
mod proof;
mod row;
mod seals;
mod tree;
mod window;
mod work;

pub use finding::{Finding, Findings, Subject, Verdict};
pub use given::Given;
pub use partition::EventCounts;
pub use progress::{Differs, Progress, Scope};
pub use proof::{NoProof, check_proof};
pub use seals::Counts;
pub use work::{CheckError, Keeping, Meter, Report, Request, Taken, TreeState, check};
