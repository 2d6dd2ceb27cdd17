//! Checkpoints: the one that C2SP's document shows, and every way to spoil one.

use super::*;
use crate::ledger::key::KeyName;

const SHOWN: &str =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fn signer(seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new("example.org/ledger").unwrap(), &[seed; 32])
}

#[test]
fn a_checkpoint_is_that_of_the_field() {
    let read = Checkpoint::parse(SHOWN).unwrap();
    assert_eq!((read.origin(), read.size()), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(read.root()[..3], [0x0a, 0xc5, 0x18]);
    assert_eq!((read.text(), read.extensions()), (SHOWN.to_owned(), &[][..]));
    let made = Checkpoint::new(read.origin(), read.size(), *read.root()).unwrap();
    assert_eq!(made, read);
    let extended = format!("{SHOWN}one\ntwo +\n");
    let read = Checkpoint::parse(&extended).unwrap();
    assert_eq!((read.text(), read.extensions().len()), (extended, 2));
    let empty = Checkpoint::new("o", 0, [0; 32]).unwrap();
    assert_eq!(Checkpoint::parse(&empty.text()), Ok(empty));
    let largest = Checkpoint::new("o", u64::MAX, [255; 32]).unwrap();
    assert_eq!(Checkpoint::parse(&largest.text()), Ok(largest));
}

#[test]
fn what_is_no_checkpoint_is_told_where_and_why() {
    let [origin, size, root] = ["o", "7", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="];
    let cases = [
        (String::new(), CheckpointError::CutOff),
        ("\n".to_owned(), CheckpointError::EmptyLine(1)),
        (format!("{origin}\n{size}\n"), CheckpointError::Lines(2)),
        (format!("{origin}\n{size}\n{root}"), CheckpointError::CutOff),
        (format!("\n{size}\n{root}\n"), CheckpointError::EmptyLine(1)),
        (format!("{origin}\n\n{root}\n"), CheckpointError::EmptyLine(2)),
        (format!("{origin}\n{size}\n{root}\n\n"), CheckpointError::EmptyLine(4)),
        (format!("{origin}\n{size}\n{root}\na\n\nb\n"), CheckpointError::EmptyLine(5)),
        (format!("{origin}\r\n{size}\n{root}\n"), CheckpointError::Control),
    ];
    let sizes = ["07", "00", "+7", "-1", " 7", "7 ", "7.0", "0x7", "18446744073709551616", "٧"];
    let sizes = sizes
        .map(|size| (format!("{origin}\n{size}\n{root}\n"), CheckpointError::Size))
        .into_iter();
    let roots = [
        "x",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=",
        "CsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=",
        " CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==",
    ];
    let roots = roots
        .map(|root| (format!("{origin}\n{size}\n{root}\n"), CheckpointError::Root))
        .into_iter();
    for (text, expected) in cases.into_iter().chain(sizes).chain(roots) {
        assert_eq!(Checkpoint::parse(&text), Err(expected), "{text:?}");
    }
    assert_eq!(Checkpoint::new("", 0, [0; 32]), Err(CheckpointError::EmptyLine(1)));
    let two_lines = Checkpoint::new("evil\n999", 0, [0; 32]);
    assert_eq!(two_lines, Err(CheckpointError::Control));
}

#[test]
fn the_first_epoch_is_not_written_and_the_others_are() {
    let first = Checkpoint::new("o", 3, [9; 32]).unwrap();
    assert_eq!(first.epoch(), Ok(1));
    assert_eq!(first.clone().with_epoch(1), Ok(first.clone()));
    let third = first.clone().with_epoch(3).unwrap();
    assert!(third.text().ends_with("\nepoch 3\n"));
    assert_eq!(Checkpoint::parse(&third.text()).unwrap().epoch(), Ok(3));
    assert_eq!(first.clone().with_epoch(0), Err(CheckpointError::Epoch));
    assert_eq!(third.with_epoch(4), Err(CheckpointError::Epoch));
    for wrong in ["epoch 1", "epoch 02", "epoch two", "epoch +2", "epoch  2", "epoch 2\nepoch 2"] {
        let read = Checkpoint::parse(&format!("{}{wrong}\n", first.text())).unwrap();
        assert_eq!(read.epoch(), Err(CheckpointError::Epoch), "{wrong}");
    }
    let other = Checkpoint::parse(&format!("{}epochal\n", first.text())).unwrap();
    assert_eq!(other.epoch(), Ok(1));
}

#[test]
fn who_vouches_for_it_is_told_when_it_is_opened() {
    let (key, other) = (signer(1), signer(2));
    let checkpoint = Checkpoint::new("example.org/ledger", 3, [9; 32]).unwrap();
    let note = checkpoint.signed(&key).unwrap().to_string();
    let keys = [other.verifier().clone(), key.verifier().clone()];
    let opened = Checkpoint::open(note.as_bytes(), &keys);
    assert_eq!(opened, Ok((checkpoint, vec![key.verifier()])));
    let said = Checkpoint::open(note.as_bytes(), &keys[..1]).unwrap_err();
    assert!(matches!(said, CheckpointError::Note(NoteError::Unsigned(_))), "{said}");
    let larger = note.replace("\n3\n", "\n4\n");
    let said = Checkpoint::open(larger.as_bytes(), &keys).unwrap_err();
    assert!(matches!(said, CheckpointError::Note(NoteError::Forged { .. })), "{said}");
    let other = Note::new("just a note\n").unwrap().signed(&key).to_string();
    assert_eq!(Checkpoint::open(other.as_bytes(), &keys), Err(CheckpointError::Lines(1)));
}
