//! What the daemon tells about itself.

pub mod logs;
pub mod panics;
