//! The store: the only place that knows SQL and SQLSTATEs.
//!
//! Its contract in three sentences. [`Writer::append`] returns a [`Commit`] only for what PostgreSQL has
//! durably committed. A [`Fault`] says whether to try again, to look for the row at fault, or to stop; a batch
//! whose commit was answered by nothing may be appended again as it is, and is stored once. Nothing here sleeps
//! or retries: pacing belongs to the caller.

mod access;
mod acts;
mod append;
mod batch;
mod canaries;
mod columns;
mod connect;
mod contract;
mod copy;
mod coverage;
mod dead_letters;
mod dedupe;
mod epochs;
mod erasure;
mod exports;
mod extension;
mod fault;
mod hashes;
mod header;
mod inventory;
mod lane;
mod link;
mod migrations;
mod numbers;
mod partitions;
mod proofs;
mod read;
mod recorded;
mod rejections;
mod replayed;
mod replays;
mod retention;
mod rows;
mod seals;
mod signing;
mod survey;
mod tls;
mod verify;
mod writer;

pub use access::{Access, NotedAccess};
pub use batch::{Batch, BatchName, Entry};
pub use canaries::CanaryLog;
pub use connect::{Ledger, Options, Settings, options};
pub use contract::{Append, Commit, Span};
pub use coverage::{Change, CoverageLog, Run, State};
pub use dead_letters::{
    DeadLetterAction, DeadLetterLog, DeadLetterRecord, DeadLetterRun, RejectionKey,
    RejectionRecord, RejectionRecords,
};
pub use epochs::{EpochLog, Lost, NewEpoch};
pub use erasure::{Erased, Eraser, Erasure, Level};
pub use exports::{ExportLog, LaneState, LedgerState, Published, Reach, SignedCheckpoint};
pub use extension::Seen;
pub use fault::{Fault, Kind};
pub use inventory::{
    CoverageSpan, ExpiredPartition, Partition, Presence, coverage_spans, expired_partitions,
    partitions,
};
pub use migrations::{MigrationError, Step, migrate, pending};
pub use partitions::{Found, Mended};
pub use proofs::{Evidence, Exhibit, Prover};
pub use read::{
    Arrival, Arrivals, Batches, Column, Filter, Follower, Group, Order, Place, ReadError, Reader,
    Rejected, Relative, Route, Row, Selection, Stats, Stored, Texts, Top, TraceStep, Value,
};
pub use replays::{
    NewReplay, NotResumed, Progress, RecordedReplay, ReplayLog, ReplayState, recorded_replays,
};
pub use retention::{Expired, Upkeep};
pub use seals::{Seal, SealLog, Sealing};
pub use survey::{
    DatabaseAddress, ForeignRight, LooseIndex, Right, Role, SchemaState, Server, Setting, Stage,
    Survey, Unopened,
};
pub use verify::{
    ActRow, BatchRow, BatchTimes, Entry as LedgerEntry, EpochRow, EventBatch, NodeRow,
    PartitionTable, RowOrder, SealRow, Snapshot, StatedCheckpoint, View, unix_micros,
};
pub use writer::Writer;
