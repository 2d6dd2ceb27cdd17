//! What the ledger computes and writes is what implementations by others compute and read: `ct-merkle`, and `tlog_tiles` and
//! `signed_note`, which follow Go's.

mod notes;
mod trees;
