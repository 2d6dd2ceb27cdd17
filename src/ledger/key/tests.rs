//! Keys: the pair that the documentation of Go's notes shows, and every way to spoil one.

use super::*;

const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PRIVATE: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

fn made(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::new(name).unwrap(), &[seed; 32])
}

#[test]
fn texts_are_those_of_the_field() {
    let signer: SignerKey = PRIVATE.parse().unwrap();
    let verifier: VerifierKey = PUBLIC.parse().unwrap();
    assert_eq!((signer.verifier(), verifier.id()), (&verifier, 0xc74f_20a3));
    assert_eq!((&**signer.text(), &*verifier.to_string()), (PRIVATE, PUBLIC));
    for seed in 0..50 {
        let signer = made("example.org/a", seed);
        let again: SignerKey = signer.text().parse().unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        assert_eq!(signer.verifier().to_string().parse().as_ref(), Ok(signer.verifier()));
    }
}

/// RFC 8032, 7.1, tests 1 and 2.
#[test]
fn signatures_are_those_of_the_standard() {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    for (seed, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ] {
        let seed: [u8; 32] = bytes(seed).try_into().unwrap();
        let signer = SignerKey::from_seed(KeyName::new("rfc8032").unwrap(), &seed);
        let (message, signature) = (bytes(message), bytes(signature));
        assert_eq!(signer.sign(&message)[..], signature);
        assert!(signer.verifier().verifies(&message, &signature));
    }
}

#[test]
fn a_signature_holds_for_its_message_and_its_key_alone() {
    let (one, other) = (made("one", 1), made("one", 2));
    let signature = one.sign(b"message");
    assert!(one.verifier().verifies(b"message", &signature));
    assert!(!one.verifier().verifies(b"massage", &signature));
    assert!(!other.verifier().verifies(b"message", &signature));
    assert!(!one.verifier().verifies(b"message", &signature[..63]));
    assert!(!one.verifier().verifies(b"message", b""));
    for at in 0..signature.len() {
        let mut wrong = signature;
        wrong[at] ^= 1 << (at % 8);
        assert!(!one.verifier().verifies(b"message", &wrong), "{at}");
    }
}

#[test]
fn a_private_key_is_never_shown() {
    let signer: SignerKey = PRIVATE.parse().unwrap();
    let shown = format!("{signer:?} {signer:#?}");
    assert_eq!(shown, format!("SignerKey(private, of {PUBLIC}) SignerKey(private, of {PUBLIC})"));
}

#[test]
fn what_is_no_key_is_told_why() {
    let public = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    let private = |text: &str| text.parse::<SignerKey>().unwrap_err();
    assert_eq!(public(PRIVATE), KeyError::Private);
    assert_eq!(private(PUBLIC), KeyError::Public);
    assert_eq!(private("what"), KeyError::Unmarked);
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    // A point of small order, whose signatures hold for almost anything; and bytes of no point at all.
    let (weak, none) = (
        encode(&[[1, 1].as_slice(), &[0; 31]].concat()),
        encode(&[[1, 2].as_slice(), &[0; 31]].concat()),
    );
    let cases = [
        ("", KeyError::Parts),
        ("a+c74f20a3", KeyError::Parts),
        ("+c74f20a3+AQ==", KeyError::Name),
        ("a b+c74f20a3+AQ==", KeyError::Name),
        ("a\u{3000}b+c74f20a3+AQ==", KeyError::Name),
        ("a\u{1}b+c74f20a3+AQ==", KeyError::Name),
        ("a+c74f20a+AQ==", KeyError::IdForm),
        ("a+c74f20a33+AQ==", KeyError::IdForm),
        ("a+c74f20ag+AQ==", KeyError::IdForm),
        ("a+-74f20a3+AQ==", KeyError::IdForm),
        ("a+c74f20a3+AQ", KeyError::Base64),
        ("a+c74f20a3+AR==", KeyError::Base64),
        ("a+c74f20a3+AQ==\n", KeyError::Base64),
        ("a+c74f20a3+", KeyError::Length(0)),
        ("a+c74f20a3+AQ==", KeyError::Length(1)),
        ("a+c74f20a3+Ag==", KeyError::Type(2)),
    ];
    for (text, expected) in cases {
        assert_eq!(public(text), expected, "{text}");
        let marked = format!("PRIVATE+KEY+{text}");
        assert_eq!(private(&marked), expected, "{marked}");
    }
    assert_eq!(public(&format!("a+c74f20a3+{weak}")), KeyError::Point);
    assert_eq!(public(&format!("a+c74f20a3+{none}")), KeyError::Point);
    let long = encode(&[1; 34]);
    assert_eq!(public(&format!("a+c74f20a3+{long}")), KeyError::Length(34));
    let right = 0xc74f_20a3;
    for (text, marked) in [(PUBLIC, false), (PRIVATE, true)] {
        let text = text.replace("c74f20a3", "c74f20a4");
        let found = KeyError::Id { found: right + 1, right };
        assert_eq!(if marked { private(&text) } else { public(&text) }, found);
    }
    // Another name, and a mistyped character, make another id.
    let renamed = PRIVATE.replace("Peter", "Pater");
    assert!(matches!(private(&renamed), KeyError::Id { found, .. } if found == right));
    let said = private(&PRIVATE.replace("AYEK", "AYEL")).to_string();
    assert!(said.contains("changed or mistyped") && !said.contains("FALV"), "{said}");
}
