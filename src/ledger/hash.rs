//! The hashes of RFC 6962: SHA-256, with leaves and nodes told apart by their first byte.

use sha2::{Digest as _, Sha256};

/// A SHA-256: of a leaf, of a subtree, or of a whole tree, its root.
pub type Hash = [u8; 32];

const LEAF: u8 = 0x00;
const NODE: u8 = 0x01;

/// The root of a tree without leaves: the hash of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The hash of a leaf that holds these bytes.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new_with_prefix([LEAF]).chain_update(data).finalize().into()
}

/// The hash of the node above two subtrees.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut both = [NODE; 65];
    both[1..33].copy_from_slice(left);
    both[33..].copy_from_slice(right);
    Sha256::digest(both).into()
}
