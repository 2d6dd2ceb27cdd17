//! What the daemon is measured beside: parts of its work, and another way to do it.

pub mod consume;
pub mod copy;
pub mod python;
