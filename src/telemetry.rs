//! What the daemon tells about itself.

pub mod exporter;
pub mod logs;
pub mod panics;
