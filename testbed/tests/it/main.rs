//! The testbed's own guarantees, on real servers.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml lets tests unwrap, but not the functions they share"
)]

mod clean_up;
mod proxy;
mod servers;
mod traces;
