//! Key files: what is written is read, and what was tampered with is not.

use super::*;
use crate::ledger::key::KeyName;

fn signer(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), &[seed; 32])
}

#[test]
fn what_is_written_is_read() {
    let (old, new) = (signer("a/b", 1), signer("a/b", 2));
    let alone = KeyFile::new(old.clone());
    let read = KeyFile::parse(&alone.text()).unwrap();
    assert_eq!(read.signer().verifier(), old.verifier());
    assert_eq!(read.endorsement(), None);
    assert_eq!(read.public_text(), format!("{}\n", old.verifier()));
    let follows = KeyFile::endorsed(new.clone(), &old);
    let read = KeyFile::parse(&follows.text()).unwrap();
    assert_eq!(read.signer().verifier(), new.verifier());
    assert_eq!(read.endorsement().map(Endorsement::by), Some(old.verifier()));
    let public = read.public_text();
    let lines: Vec<_> = public.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], new.verifier().to_string());
    let endorsement: Endorsement = lines[1].strip_prefix("endorsed-by ").unwrap().parse().unwrap();
    assert_eq!(endorsement.check(new.verifier()), Ok(()));
    assert!(matches!(endorsement.check(old.verifier()), Err(EndorsementError::Forged { .. })));
    let private = new.text();
    assert!(!public.contains(private.rsplit_once('+').unwrap().1));
    assert!(!format!("{read:?}").contains(private.rsplit_once('+').unwrap().1));
}

/// The bytes that are signed, for those who check it with other tools.
#[test]
fn an_endorsement_is_a_signature_over_both_keys() {
    let (old, new) = (signer("old", 1), signer("new", 2));
    let made = Endorsement::new(&old, new.verifier());
    let data = [b"rbal1\0\x05", &old.verifier().bytes()[..], new.verifier().bytes()].concat();
    let by_hand = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, old.sign(&data));
    assert_eq!(made.to_string(), format!("{} {by_hand}", old.verifier()));
}

#[test]
fn lines_may_stand_in_any_order_between_comments() {
    let (old, new) = (signer("a", 1), signer("a", 2));
    let endorsement = Endorsement::new(&old, new.verifier());
    let text = format!("\n# one\n  endorsed-by {endorsement}\r\n#\n\t{} \n\n", *new.text());
    assert_eq!(KeyFile::parse(&text).unwrap().endorsement(), Some(&endorsement));
}

#[test]
fn what_is_no_key_file_is_told_where_and_why() {
    let (old, new, other) = (signer("a", 1), signer("a", 2), signer("a", 3));
    let [key, more] = [&new, &other].map(|signer| signer.text());
    let (key, more) = (&**key, &**more);
    let endorsed = format!("endorsed-by {}", Endorsement::new(&old, new.verifier()));
    let elsewhere = format!("endorsed-by {}", Endorsement::new(&old, other.verifier()));
    let of = |text: &str| KeyFile::parse(text).unwrap_err();
    assert_eq!(of(""), KeyFileError::NoKey);
    assert_eq!(of("# nothing\n"), KeyFileError::NoKey);
    assert_eq!(of(&endorsed), KeyFileError::NoKey);
    let second = |line, what| KeyFileError::Second { line, what };
    assert_eq!(of(&format!("{key}\n#\n{more}")), second(3, "private key"));
    assert_eq!(of(&format!("{key}\n{endorsed}\n{endorsed}")), second(3, "endorsement"));
    let public = of(&format!("{}\n", new.verifier()));
    assert_eq!(public, KeyFileError::Key { line: 1, why: KeyError::Public });
    let said = of(&key.replace('a', "b"));
    assert!(matches!(said, KeyFileError::Key { line: 1, .. }), "{said}");
    let why = |text: &str| match of(&format!("{key}\n{text}\n")) {
        KeyFileError::Endorsement { line: 2, why } => why,
        other => panic!("{other}"),
    };
    assert!(matches!(why(&elsewhere), EndorsementError::Forged { .. }));
    assert_eq!(why("endorsed-by x"), EndorsementError::Parts);
    assert_eq!(why("endorsed-by x AA=="), EndorsementError::Key(KeyError::Parts));
    let short = format!("endorsed-by {} AA==", old.verifier());
    assert_eq!(why(&short), EndorsementError::Signature);
    // By the key that follows itself, or by one of another's name: the name is in no signature, the key is.
    let own = format!("endorsed-by {}", Endorsement::new(&new, other.verifier()));
    assert!(matches!(why(&own), EndorsementError::Forged { .. }));
}
