//! What is known from one session with the broker to the next.

use super::{
    known::{Acknowledged, Known},
    outcome::Tally,
};
use crate::broker::Fault;

/// How a session ended.
pub enum End {
    /// Each is settled.
    Complete,
    /// It was told to.
    Stopped,
    /// The queue had fewer than it should: somebody holds the others, the session before perhaps, or another command.
    Short,
    /// The broker did not take some.
    Nacked,
    /// It was lost.
    Lost(Fault),
}

/// What is known from one session to the next.
#[derive(Default)]
pub struct State {
    /// Messages that waited when it began.
    pub total: Option<u32>,
    /// Whether it was said that some are not to be seen.
    pub short: bool,
    /// Whether the broker ever handed out what was asked for.
    pub has_read: bool,
    /// Acknowledgements so far.
    pub removed: u32,
    /// The number of the next on record.
    pub number: i64,
    /// Confirmed and on record, and the acknowledgement was never sent: those wait still.
    pub settled: Known,
    /// Acknowledged in sessions that the broker did not see to their end: some may wait still.
    pub acknowledged: Acknowledged,
    /// Acknowledged in this session: one that waits and is like them is another one.
    pub fresh: Acknowledged,
    /// Those that are left.
    pub left: Known,
    /// So many are each sent alone, as one of them ended the last session.
    pub wary: usize,
    /// How many sessions in a row the broker took nothing in.
    pub in_vain: u32,
    pub tally: Tally,
}
