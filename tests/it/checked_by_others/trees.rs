//! Roots, nodes and proofs of trees of up to 100,000 leaves.

use std::{collections::HashMap, convert::Infallible};

use bloodbank_audit::ledger::{
    Frontier, Hash, Subtree, leaf_hash,
    proof::{Plan, check_consistency, check_inclusion},
    root_of_complete,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::Sha256;
use tlog_tiles::{Tile, tlog};

/// The same leaves in three trees.
#[derive(Default)]
struct Trees {
    frontier: Frontier,
    /// Leaves at level 0, and nodes, by level and index, as the database keeps them.
    stored: HashMap<(u8, u64), Hash>,
    tlog: Tlog,
    /// It is slow, and grows when it is told to catch up.
    ct: MemoryBackedTree<Sha256, [u8; 8]>,
}

/// The hashes that tlog keeps, in its order.
#[derive(Default)]
struct Tlog(Vec<tlog::Hash>);

impl tlog::HashReader for Tlog {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

fn data(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

impl Trees {
    fn grow(&mut self, size: u64) {
        let mut nodes = Vec::new();
        for index in self.frontier.size()..size {
            let leaf = leaf_hash(&data(index));
            self.frontier.append(leaf, &mut nodes);
            self.stored.insert((0, index), leaf);
            self.stored.extend(nodes.drain(..).map(|node| ((node.level, node.index), node.hash)));
            let hashes = tlog::stored_hashes(index, &data(index), &self.tlog).unwrap();
            self.tlog.0.extend(hashes);
        }
    }

    fn catch_up(&mut self) {
        (self.ct.len()..self.frontier.size()).for_each(|index| self.ct.push(data(index)));
    }

    fn hash_of(&self, tree: Subtree) -> Result<Hash, Infallible> {
        let (level, indexes) = tree.stored();
        let hashes: Vec<_> = indexes.map(|index| self.stored[&(level, index)]).collect();
        Ok(root_of_complete(&hashes).unwrap())
    }

    fn made(&self, plan: &Plan) -> Vec<Hash> {
        let Ok(proof) = plan.proof(|tree| self.hash_of(tree));
        proof
    }

    /// The root of a tree of the first leaves alone.
    fn root_of(&self, size: u64) -> Hash {
        let edge = Frontier::edge_of(size).into_iter().map(|tree| self.hash_of(tree).unwrap());
        Frontier::from_parts(size, edge.collect()).unwrap().root()
    }

    fn agree_on_the_root(&self) {
        let size = self.frontier.size();
        let root = self.frontier.root();
        assert_eq!(tlog::tree_hash(size, &self.tlog).unwrap().0, root, "{size}");
        assert_eq!(self.ct.root().as_bytes()[..], root, "{size}");
        assert_eq!(self.root_of(size), root, "{size}");
    }

    fn agree_on_inclusion(&self, index: u64) {
        let (size, root, leaf) =
            (self.frontier.size(), self.frontier.root(), leaf_hash(&data(index)));
        let proof = self.made(&Plan::inclusion(index, size).unwrap());
        let theirs = tlog::prove_record(size, index, &self.tlog).unwrap();
        assert_eq!(bare(&theirs), proof, "{index} of {size}");
        let of_ct = self.ct.prove_inclusion(index as usize);
        assert_eq!(of_ct.as_bytes(), proof.concat(), "{index} of {size}");
        assert_eq!(check_inclusion(index, size, &leaf, &proof, &root), Ok(()));
        let [theirs_root, theirs_leaf] = [root, leaf].map(tlog::Hash);
        tlog::check_record(&dressed(&proof), size, theirs_root, index, theirs_leaf).unwrap();
        self.ct.root().verify_inclusion(&data(index), index, &of_ct).unwrap();
    }

    fn agree_on_consistency(&self, from: u64) {
        let (size, root, earlier) =
            (self.frontier.size(), self.frontier.root(), self.root_of(from));
        let proof = self.made(&Plan::consistency(from, size).unwrap());
        let theirs = tlog::prove_tree(size, from, &self.tlog).unwrap();
        assert_eq!(bare(&theirs), proof, "{from} of {size}");
        let of_ct = self.ct.prove_consistency((size - from) as usize);
        assert_eq!(of_ct.as_bytes(), proof.concat(), "{from} of {size}");
        assert_eq!(check_consistency(from, &earlier, size, &root, &proof), Ok(()));
        let [root, earlier] = [root, earlier].map(tlog::Hash);
        tlog::check_tree(&dressed(&proof), size, root, from, earlier).unwrap();
    }
}

fn bare(proof: &[tlog::Hash]) -> Vec<Hash> {
    proof.iter().map(|hash| hash.0).collect()
}

fn dressed(proof: &[Hash]) -> Vec<tlog::Hash> {
    proof.iter().copied().map(tlog::Hash).collect()
}

#[test]
fn roots_and_proofs_are_those_of_two_other_implementations() {
    const LARGEST: u64 = 100_000;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut sizes = vec![1, 2, 3, 255, 256, 257, 65_535, 65_536, 65_537, LARGEST];
    sizes.extend((0..20).map(|_| random.random_range(1..=LARGEST)));
    sizes.sort_unstable();
    let mut trees = Trees::default();
    assert_eq!(tlog::tree_hash(0, &trees.tlog).unwrap().0, trees.frontier.root());
    for size in sizes {
        trees.grow(size);
        trees.catch_up();
        trees.agree_on_the_root();
        let some: [u64; 6] = std::array::from_fn(|_| random.random_range(0..size));
        for index in [0, size / 2, size - 1].into_iter().chain(some) {
            trees.agree_on_inclusion(index);
            trees.agree_on_consistency(index + 1);
        }
    }
}

/// What the database keeps of a tree are the tiles of C2SP tlog-tiles.
#[test]
fn stored_nodes_are_the_hashes_of_tiles() {
    const SIZE: u64 = 2 * 65_536 + 5 * 256 + 9;
    let mut trees = Trees::default();
    trees.grow(SIZE);
    let mut seen = 0;
    for tile in Tile::new_tiles(8, 0, SIZE) {
        let (level, first) = (tile.level(), tile.level_index() << 8);
        let ours = (first..first + u64::from(tile.width())).map(|at| trees.stored[&(level, at)]);
        let ours: Vec<u8> = ours.flatten().collect();
        assert_eq!(tile.read_data(&trees.tlog).unwrap(), ours, "{}", tile.path());
        seen += ours.len() / 32;
    }
    assert_eq!(seen, trees.stored.len());
}
