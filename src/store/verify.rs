//! What the ledger's checker reads: all of it at one instant, and as raw as it is stored.

mod entries;
mod events;
mod micros;
mod resuming;
mod snapshot;
mod statements;

pub use entries::{ActRow, BatchRow, Entry};
pub use events::{EventBatch, PartitionTable, RowOrder};
pub use micros::unix_micros;
pub use resuming::BatchTimes;
pub use snapshot::{Snapshot, View};
pub use statements::{EpochRow, NodeRow, SealRow, StatedCheckpoint};
