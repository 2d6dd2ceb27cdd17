//! What the tests stand on: real servers, the real binary, and a publisher beside it.

pub mod authority;
mod balance;
mod bed;
pub mod cluster;
mod daemon;
mod history;
mod kept;
mod load;
mod message;
mod raw;
mod reader;
mod recipes;
mod scene;
mod told;

use std::time::Duration;

pub use balance::{counted_duplicates, lost_0_duplicates_0};
pub use bed::Bed;
pub use daemon::{Daemon, PROGRAM};
pub use history::{keep_workers_away, made_history};
pub use kept::{Body, Kept};
pub use load::Load;
pub use message::{Message, digests, event, fixtures};
pub use raw::{UNPARSABLE, drain, publish_to_with_headers, publish_with_headers};
pub use reader::{Answer, control_characters};
pub use recipes::recipes;
pub use scene::Scene;
pub use told::is_told;

/// How long a state may take to come about before a test gives up. Generous: the machine may be busy, and a test
/// that succeeds never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);
