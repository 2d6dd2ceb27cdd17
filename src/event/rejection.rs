//! A rejection: a delivery that cannot be stored as an event, with its reason.

use super::Event;

/// Why a delivery is not stored as an event. It goes to the dead-letter queue instead, and its reason to
/// `audit.rejections`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The body is not what the envelope expects, and the operator asked for such bodies to be dead-lettered.
    Malformed,
    /// The body is larger than the operator allows.
    TooLarge {
        /// The most bytes that a body may have.
        limit: usize,
    },
    /// The database refused the row, alone in its transaction, whatever its neighbours.
    Refused {
        /// The database's error code.
        sqlstate: String,
        /// The database's own words.
        message: String,
    },
}

impl Reason {
    /// The reason's name in `audit.rejections`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::TooLarge { .. } => "too-large",
            Reason::Refused { .. } => "refused",
        }
    }
}

/// A delivery that cannot be stored, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// What was delivered, as far as it was understood.
    pub event: Event,
    /// Why it cannot be stored.
    pub reason: Reason,
}
