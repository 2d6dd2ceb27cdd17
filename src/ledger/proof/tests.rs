//! Trees and proofs, against the definitions of RFC 6962 word for word, and against the roots that its users publish.

use std::{convert::Infallible, ops::Range};

use super::*;
use crate::ledger::{Frontier, Subtree, leaf_hash, root_of_complete};

/// `MTH(D[n])`, as the RFC defines it.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            node_hash(&mth(&leaves[..middle]), &mth(&leaves[middle..]))
        }
    }
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_le_bytes())).collect()
}

fn inclusion(leaves: &[Hash], index: u64) -> Vec<Hash> {
    made(Plan::inclusion(index, leaves.len() as u64).unwrap(), leaves)
}

fn consistency(leaves: &[Hash], from: u64) -> Vec<Hash> {
    made(Plan::consistency(from, leaves.len() as u64).unwrap(), leaves)
}

fn made(plan: Plan, leaves: &[Hash]) -> Vec<Hash> {
    let of = |Range { start, end }| &leaves[start as usize..end as usize];
    let hash_of = |tree: Subtree| Ok::<_, Infallible>(root_of_complete(of(tree.leaves())).unwrap());
    let Ok(proof) = plan.proof(hash_of);
    proof
}

/// The test tree of Certificate Transparency: eight leaves, and the root after each.
#[test]
fn the_published_test_tree_has_its_published_roots() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let hex = |hash: Hash| hash.map(|byte| format!("{byte:02x}")).concat();
    let mut tree = Frontier::default();
    assert_eq!(
        hex(tree.root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    for (data, root) in leaves.into_iter().zip(roots) {
        tree.append(leaf_hash(data), &mut Vec::new());
        assert_eq!(hex(tree.root()), root);
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proved() {
    let all = leaves(70);
    let mut tree = Frontier::default();
    for (count, leaf) in all.iter().enumerate() {
        tree.append(*leaf, &mut Vec::new());
        let (of_this, size) = (&all[..=count], tree.size());
        let root = tree.root();
        assert_eq!(root, mth(of_this));
        for (index, leaf) in (0..).zip(of_this) {
            let proof = inclusion(of_this, index);
            assert_eq!(check_inclusion(index, size, leaf, &proof, &root), Ok(()));
        }
        for from in 0..=size {
            let proof = consistency(of_this, from);
            let earlier = mth(&of_this[..from as usize]);
            assert_eq!(check_consistency(from, &earlier, size, &root, &proof), Ok(()), "{from}");
        }
    }
}

/// The proofs that RFC 6962 draws, in 2.1.3, of a tree of seven leaves.
#[test]
fn the_drawn_proofs_are_these_subtrees() {
    let d = leaves(7);
    let of = |range: Range<usize>| mth(&d[range]);
    assert_eq!(inclusion(&d, 0), [of(1..2), of(2..4), of(4..7)]);
    assert_eq!(inclusion(&d, 3), [of(2..3), of(0..2), of(4..7)]);
    assert_eq!(inclusion(&d, 4), [of(5..6), of(6..7), of(0..4)]);
    assert_eq!(inclusion(&d, 6), [of(4..6), of(0..4)]);
    assert_eq!(consistency(&d, 3), [of(2..3), of(3..4), of(0..2), of(4..7)]);
    assert_eq!(consistency(&d, 4), [of(4..7)]);
    assert_eq!(consistency(&d, 6), [of(4..6), of(6..7), of(0..4)]);
}

#[test]
fn a_proof_of_anything_else_is_refused() {
    let all = leaves(37);
    let root = mth(&all);
    for index in 0..37 {
        let leaf = all[index as usize];
        let proof = inclusion(&all, index);
        let check = |index, size, leaf, proof: &[Hash], root| {
            check_inclusion(index, size, leaf, proof, root)
        };
        for other in (0..40).filter(|other| *other != index) {
            assert!(check(other, 37, &leaf, &proof, &root).is_err(), "{index} at {other}");
        }
        let no_leaf = ProofError::NoLeaf { index, size: index };
        assert_eq!(check(index, index, &leaf, &proof, &root), Err(no_leaf));
        let elsewhere = Err(ProofError::NotIncluded { index });
        assert_eq!(check(index, 37, &[0; 32], &proof, &root), elsewhere);
        assert_eq!(check(index, 37, &leaf, &proof, &leaf), elsewhere);
        for at in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[at][31] ^= 1;
            assert_eq!(check(index, 37, &leaf, &wrong, &root), elsewhere);
        }
        let mut long = proof.clone();
        long.push(root);
        let (needed, given) = (proof.len(), proof.len() + 1);
        let length = Err(ProofError::Length { given, needed });
        assert_eq!(check(index, 37, &leaf, &long, &root), length);
        let length = Err(ProofError::Length { given: needed - 1, needed });
        assert_eq!(check(index, 37, &leaf, &proof[1..], &root), length);
    }
}

#[test]
fn a_tree_with_another_beginning_is_refused() {
    let all = leaves(37);
    let root = mth(&all);
    for from in 1..37 {
        let earlier = mth(&all[..from as usize]);
        let proof = consistency(&all, from);
        let check = |from, earlier, to, root, proof: &[Hash]| {
            check_consistency(from, earlier, to, root, proof)
        };
        assert!(check(from, &[0; 32], 37, &root, &proof).is_err());
        let later = Err(ProofError::LaterRoot { from, to: 37 });
        assert_eq!(check(from, &earlier, 37, &[0; 32], &proof), later);
        let shrinks = Err(ProofError::Shrinks { from: 37, to: from });
        assert_eq!(check(37, &root, from, &earlier, &proof), shrinks);
        for at in 0..proof.len() {
            let mut wrong = proof.clone();
            wrong[at][0] ^= 1;
            assert!(check(from, &earlier, 37, &root, &wrong).is_err(), "{from}: {at}");
        }
        let needed = proof.len();
        for given in [0, needed - 1, needed + 1].into_iter().filter(|given| *given != needed) {
            let wrong: Vec<_> = proof.iter().cycle().take(given).copied().collect();
            let length = Err(ProofError::Length { given, needed });
            assert_eq!(check(from, &earlier, 37, &root, &wrong), length);
        }
    }
    // History rewritten: the tree that came later has another leaf where the earlier one ended already.
    let mut rewritten = all.clone();
    rewritten[3] = [7; 32];
    let proof = consistency(&rewritten, 20);
    let said = check_consistency(20, &mth(&all[..20]), 37, &mth(&rewritten), &proof);
    assert_eq!(said, Err(ProofError::EarlierRoot { size: 20 }));
}

#[test]
fn without_growth_the_roots_speak_for_themselves() {
    let (empty, some) = (empty_root(), leaves(1)[0]);
    assert_eq!(check_consistency(0, &empty, 9, &some, &[]), Ok(()));
    assert_eq!(check_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(check_consistency(9, &some, 9, &some, &[]), Ok(()));
    let earlier = Err(ProofError::EarlierRoot { size: 0 });
    assert_eq!(check_consistency(0, &some, 9, &some, &[]), earlier);
    assert_eq!(check_consistency(0, &some, 0, &some, &[]), earlier);
    let later = |from, to| Err(ProofError::LaterRoot { from, to });
    assert_eq!(check_consistency(0, &empty, 0, &some, &[]), later(0, 0));
    assert_eq!(check_consistency(9, &some, 9, &empty, &[]), later(9, 9));
    let length = Err(ProofError::Length { given: 1, needed: 0 });
    assert_eq!(check_consistency(9, &some, 9, &some, &[some]), length);
    assert_eq!(check_consistency(0, &empty, 9, &some, &[some]), length);
    assert_eq!(Plan::consistency(9, 8), Err(ProofError::Shrinks { from: 9, to: 8 }));
    assert_eq!(Plan::inclusion(8, 8), Err(ProofError::NoLeaf { index: 8, size: 8 }));
}

/// Sizes that no tree reaches end in a verdict, too.
#[test]
fn the_largest_sizes_do_no_harm() {
    let size = u64::MAX;
    for index in [0, 1, size / 2, size - 2, size - 1] {
        let plan = Plan::inclusion(index, size).unwrap();
        let proof: Vec<_> = plan.proof(|_| Ok::<_, Infallible>([1; 32])).unwrap();
        assert_eq!(
            check_inclusion(index, size, &[2; 32], &proof, &[0; 32]),
            Err(ProofError::NotIncluded { index })
        );
        let plan = Plan::consistency(index + 1, size).unwrap();
        let proof: Vec<_> = plan.proof(|_| Ok::<_, Infallible>([1; 32])).unwrap();
        assert!(check_consistency(index + 1, &[2; 32], size, &[0; 32], &proof).is_err());
    }
}
