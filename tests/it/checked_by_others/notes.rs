//! Keys, notes and checkpoints: read by the one as they are written by the other.

use bloodbank_audit::ledger::{Checkpoint, KeyName, Note, SignerKey};
use signed_note::{Signer as _, StandardSigner, StandardVerifier, Verifier as _, VerifierList};

fn signer(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), &[seed; 32])
}

fn theirs(keys: &[&SignerKey]) -> VerifierList {
    let verifier = |key: &&SignerKey| -> Box<dyn signed_note::Verifier> {
        Box::new(StandardVerifier::new(&key.verifier().to_string()).unwrap())
    };
    VerifierList::new(keys.iter().map(verifier).collect())
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::new("example.org/ledger", size, [size as u8; 32]).unwrap()
}

#[test]
fn keys_are_read_by_others() {
    for seed in 0..20 {
        let ours = signer("example.org/ledger", seed);
        let theirs = StandardSigner::new(&ours.text()).unwrap();
        assert_eq!((theirs.name(), theirs.key_id()), ("example.org/ledger", ours.verifier().id()));
        assert_eq!(theirs.sign(b"data").unwrap(), ours.sign(b"data"));
        let public = StandardVerifier::new(&ours.verifier().to_string()).unwrap();
        assert_eq!(public.key_id(), ours.verifier().id());
        assert!(public.verify(b"data", &ours.sign(b"data")));
    }
}

#[test]
fn checkpoints_of_ours_are_read_by_others() {
    let (key, witness) = (signer("example.org/ledger", 1), signer("witness.example", 2));
    for checkpoint in [checkpoint(0), checkpoint(7), checkpoint(u64::MAX).with_epoch(2).unwrap()] {
        let signed = checkpoint.signed(&key).unwrap().signed(&witness).to_string();
        let note = signed_note::Note::from_bytes(signed.as_bytes()).unwrap();
        let (known, unknown) = note.verify(&theirs(&[&key])).unwrap();
        assert_eq!((known.len(), unknown.len()), (1, 1));
        assert_eq!(unknown[0].name(), "witness.example");
        let read = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!((read.origin(), read.size()), (checkpoint.origin(), checkpoint.size()));
        assert_eq!(read.hash().0, *checkpoint.root());
        let extensions: String =
            checkpoint.extensions().iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(read.extension(), extensions);
    }
}

#[test]
fn checkpoints_of_others_are_read_here() {
    let (key, witness) = (signer("example.org/ledger", 1), signer("witness.example", 2));
    for (size, extension) in [(0, ""), (8, ""), (u64::MAX, "one\nepoch 4\n")] {
        let root = tlog_tiles::Hash([size as u8; 32]);
        let made = tlog_tiles::Checkpoint::new("some origin", size, root, extension).unwrap();
        let mut note = signed_note::Note::new(&made.to_bytes(), &[]).unwrap();
        let [one, two] = [&witness, &key].map(|key| StandardSigner::new(&key.text()).unwrap());
        note.add_sigs(&[&one, &two]).unwrap();
        let keys = [key.verifier().clone()];
        let (read, signers) = Checkpoint::open(&note.to_bytes(), &keys).unwrap();
        assert_eq!((read.origin(), read.size(), *read.root()), ("some origin", size, root.0));
        assert_eq!(read.text().into_bytes(), made.to_bytes());
        assert_eq!(signers, [key.verifier()]);
        assert_eq!(read.epoch(), Ok(if extension.is_empty() { 1 } else { 4 }));
    }
}

/// With one byte replaced, left out or added, anywhere: whatever is a note or a checkpoint here is the same to others.
#[test]
fn nothing_is_accepted_that_others_refuse() {
    let key = signer("example.org/ledger", 1);
    let checkpoint = Checkpoint::parse(&format!("{}extension\n", checkpoint(907).text())).unwrap();
    let whole = checkpoint.signed(&key).unwrap().to_string().into_bytes();
    let (mut notes, mut checkpoints, mut refused) = (0, 0, 0);
    for at in 0..whole.len() {
        for byte in *b"\n \t+0a=\x80" {
            let (before, after) = whole.split_at(at);
            for changed in [
                [before, &[byte], &after[1..]].concat(),
                [before, &[byte], after].concat(),
                [before, &after[1..]].concat(),
            ] {
                let ours = Note::parse(&changed);
                let theirs = signed_note::Note::from_bytes(&changed);
                assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", changed.escape_ascii());
                let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
                    refused += 1;
                    continue;
                };
                notes += 1;
                assert_eq!(ours.text().as_bytes(), theirs.text());
                assert_eq!(ours.to_string().as_bytes(), theirs.to_bytes());
                let Ok(ours) = Checkpoint::parse(ours.text()) else { continue };
                checkpoints += 1;
                let theirs = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
                assert_eq!(ours.text().into_bytes(), theirs.to_bytes());
                assert_eq!((ours.size(), *ours.root()), (theirs.size(), theirs.hash().0));
            }
        }
    }
    assert!(
        notes > 1000 && checkpoints > 1000 && refused > 1000,
        "{notes} {checkpoints} {refused}"
    );
}
