//! What a proxy does with connections and bytes.

use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a client to the server.
    ToServer,
    /// From the server to a client.
    ToClient,
}

/// What a proxy does, with live connections and new ones alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Hands on everything at once.
    Forward,
    /// Holds each chunk, of up to 64 KiB, that long before handing it on.
    Delay(Duration),
    /// Accepts and keeps open, but moves nothing: no bytes, no end of stream, no reset.
    Stall,
    /// Moves nothing in one direction, and everything in the other.
    StallTowards(Direction),
    /// Does not listen: new connections are refused by the kernel. Live ones go on.
    Refuse,
    /// The server's side is gone and the client is not told: what it sends is swallowed by its socket
    /// buffer. New clients are accepted into the same silence. Leaving this mode resets them, as a
    /// server that comes back would.
    HalfOpen,
}

impl Mode {
    pub(super) fn stalls(self, direction: Direction) -> bool {
        matches!(self, Self::Stall | Self::HalfOpen) || self == Self::StallTowards(direction)
    }

    pub(super) fn delay(self) -> Option<Duration> {
        if let Self::Delay(delay) = self { Some(delay) } else { None }
    }
}
