//! The `bloodbank-audit` binary.

fn main() {}
