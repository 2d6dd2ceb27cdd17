//! Notes: those that the documentation of Go's notes and C2SP's checkpoints show, and every way to spoil one.

use super::*;

const SIGNER: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
const SIGNATURES: [&str; 2] = [
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n",
];

fn peter() -> VerifierKey {
    SIGNER.parse::<SignerKey>().unwrap().verifier().clone()
}

fn enoch() -> VerifierKey {
    "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop".parse().unwrap()
}

fn signer(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), &[seed; 32])
}

fn parse(note: &str) -> Result<Note, NoteError> {
    Note::parse(note.as_bytes())
}

#[test]
fn a_signed_note_is_that_of_the_field() {
    let signed = Note::new(TEXT).unwrap().signed(&SIGNER.parse().unwrap());
    let expected = format!("{TEXT}\n{}", SIGNATURES[0]);
    assert_eq!(signed.to_string(), expected);
    assert_eq!(parse(&expected), Ok(signed));
    let both = format!("{TEXT}\n{}", SIGNATURES.concat());
    let note = parse(&both).unwrap();
    assert_eq!((note.text(), note.to_string()), (TEXT, both));
    assert_eq!(note.signatures().len(), 2);
    assert_eq!(note.signatures()[1].name().as_str(), "EnochRoot");
    assert_eq!(note.signatures()[1].key_id(), 0xaf0c_fe78);
}

#[test]
fn known_keys_count_and_unknown_ones_are_passed_over() {
    let note = parse(&format!("{TEXT}\n{}", SIGNATURES.concat())).unwrap();
    let (peter, enoch, other) = (peter(), enoch(), signer("other", 1).verifier().clone());
    assert_eq!(note.verified(&[enoch.clone(), peter.clone()]), Ok(vec![&peter, &enoch]));
    assert_eq!(note.verified(&[other.clone(), enoch.clone()]), Ok(vec![&enoch]));
    for keys in [&[][..], &[other]] {
        let said = note.verified(keys).unwrap_err();
        assert!(matches!(said, NoteError::Unsigned(_)), "{said}");
        assert!(said.to_string().ends_with("PeterNeumann+c74f20a3, EnochRoot+af0cfe78"), "{said}");
    }
    // The same name and another id, and the other way round, are other keys.
    let namesake = signer("PeterNeumann", 7).verifier().clone();
    assert_eq!(note.verified(&[namesake, enoch.clone()]), Ok(vec![&enoch]));
    let unsigned = Note::new(TEXT).unwrap();
    let said = unsigned.verified(&[enoch]).unwrap_err().to_string();
    assert!(said.ends_with("of nobody"), "{said}");
}

#[test]
fn a_wrong_signature_of_a_known_key_condemns_the_note() {
    let (peter, enoch) = (peter(), enoch());
    let keys = [peter.clone(), enoch];
    let forged = Err(NoteError::Forged { name: peter.name().clone(), id: peter.id() });
    let changed = TEXT.replace("answer", "Answer");
    assert_eq!(parse(&format!("{changed}\n{}", SIGNATURES[0])).unwrap().verified(&keys), forged);
    let wrong = SIGNATURES[0].replace("BwJnAM=", "BwJnAQ=");
    for signatures in [&wrong, &format!("{}{wrong}", SIGNATURES.concat())] {
        let note = parse(&format!("{TEXT}\n{signatures}")).unwrap();
        assert_eq!(note.verified(&keys), forged, "{signatures}");
    }
    // One of another length.
    let note = parse(&format!("{TEXT}\n— PeterNeumann x08gowA=\n")).unwrap();
    assert_eq!(note.verified(&keys), forged);
}

#[test]
fn a_key_signs_once() {
    let (one, two) = (signer("one", 1), signer("two", 2));
    let note = Note::new(TEXT).unwrap().signed(&one).signed(&two).signed(&one);
    let names: Vec<_> = note.signatures().iter().map(|of| of.name().as_str()).collect();
    assert_eq!(names, ["two", "one"]);
    // Somebody else's note may repeat it.
    let line = note.signatures()[1].to_string();
    let twice = parse(&format!("{TEXT}\n{line}\n{line}\n")).unwrap();
    assert_eq!(twice.verified(&[one.verifier().clone()]), Ok(vec![one.verifier()]));
}

#[test]
fn text_ends_at_the_last_blank_line() {
    let key = signer("one", 1);
    let text = "a\n\n— no signature\n\nb\n";
    let note = Note::new(text).unwrap().signed(&key);
    let again = parse(&note.to_string()).unwrap();
    assert_eq!((again.text(), again.verified(&[key.verifier().clone()]).is_ok()), (text, true));
}

#[test]
fn what_is_no_note_is_told_where_and_why() {
    let line = SIGNATURES[0];
    for (note, expected) in [
        (String::new(), NoteError::NoBlankLine),
        (TEXT.to_owned(), NoteError::NoBlankLine),
        (format!("{TEXT}{line}"), NoteError::NoBlankLine),
        (format!("{TEXT}\n"), NoteError::NoSignatures),
        (format!("{TEXT}\n{line}\n"), NoteError::NoSignatures),
        (format!("{TEXT}\n{}", line.trim_end()), NoteError::CutOff { line: 4 }),
        (format!("a\tb\n\n{line}"), NoteError::Control { line: 1, character: '\t' }),
        (format!("a\n\n{}\r\n", line.trim_end()), NoteError::Control { line: 3, character: '\r' }),
        (format!("a\n\n{}", line.repeat(101)), NoteError::TooMany(101)),
    ] {
        assert_eq!(parse(&note), Err(expected), "{note:?}");
    }
    for (signature, why) in [
        ("-- PeterNeumann x08goAA=", SignatureError::Mark),
        ("—PeterNeumann x08goAA=", SignatureError::Mark),
        ("— PeterNeumann", SignatureError::Parts),
        ("— Peter+Neumann x08goAA=", SignatureError::Name),
        ("—  x08goAA=", SignatureError::Name),
        ("— Peter Neumann x08goAA=", SignatureError::Base64),
        ("— PeterNeumann x08goAA= ", SignatureError::Base64),
        ("— PeterNeumann x08goAA", SignatureError::Base64),
        ("— PeterNeumann x08goAB=", SignatureError::Base64),
        ("— PeterNeumann x08gow==", SignatureError::Length(4)),
        ("— PeterNeumann ", SignatureError::Length(0)),
    ] {
        let note = format!("{TEXT}\n{line}{signature}\n");
        assert_eq!(parse(&note), Err(NoteError::Signature { line: 5, why }), "{signature:?}");
    }
    let invalid = [b"a\nb\xff\n\n".as_slice(), line.as_bytes()].concat();
    assert_eq!(Note::parse(&invalid), Err(NoteError::NotUtf8 { line: 2 }));
    assert_eq!(Note::parse(&vec![b'a'; 1_000_001]), Err(NoteError::TooLarge(1_000_001)));
    assert_eq!(Note::new("a"), Err(NoteError::NoLineEnd));
    assert_eq!(Note::new("a\0\n"), Err(NoteError::Control { line: 1, character: '\0' }));
    assert!(parse(&format!("a\n\n{}", line.repeat(100))).is_ok());
}

#[test]
fn keys_that_cannot_be_told_apart_are_named() {
    let (key, other) = (signer("one", 1), signer("one", 2));
    let note = Note::new(TEXT).unwrap().signed(&key);
    let key = key.verifier().clone();
    assert_eq!(note.verified(&[key.clone(), key.clone()]), Ok(vec![&key]));
    let alike = other.verifier().clone().with_id(key.id());
    let ambiguous = NoteError::Ambiguous { name: key.name().clone(), id: key.id() };
    assert_eq!(note.verified(&[key, alike]), Err(ambiguous));
}
