//! serde_json as the judge of what JSON is and what stands in it.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// JSON with spaces, escapes, repeated keys and odd numbers.
fn any_json() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        proptest::sample::select(vec![
            r#""a""#,
            r#""b""#,
            r#""\u0061""#,
            r#""0""#,
            r#""""#,
            r#""\ud83d\ude00 \"\\\/\b\f\n\r\t""#,
            r#""\u0000""#,
            r#""\ud800""#,
            r#""\udc00x""#,
            r#""0123456789abcdef\u00e9""#,
            r#""grün, 文字, 😀, and then some""#,
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop_oneof![
        5 => proptest::sample::select(vec![r#""a""#, r#""b""#, r#""\u0061""#, r#""0""#]).prop_map(str::to_owned),
        1 => string.clone(),
    ];
    let leaf = prop_oneof![
        proptest::sample::select(vec![
            "0",
            "-0.0",
            "1e5",
            "12.50E-3",
            "98765432109876543210",
            "true",
            "false",
            "null",
            "1e999"
        ])
        .prop_map(str::to_owned),
        string.clone(),
    ];
    let space = proptest::sample::select(vec!["", "", "", " ", "\n\t", "\r"]);
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let element = (space.clone(), inner.clone(), space.clone())
            .prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = (space.clone(), key.clone(), space.clone(), element.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            proptest::collection::vec(element, 1..5)
                .prop_map(|elements| format!("[{}]", elements.join(","))),
            proptest::collection::vec(member, 1..5)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
            proptest::sample::select(vec!["[]", "{}", "[ ]", "{\n}"]).prop_map(str::to_owned),
        ]
    })
}

const POINTERS: [&str; 12] =
    ["", "/a", "/a/a", "/a/b", "/a/0", "/0", "/0/a", "/1", "/1/0", "/b", "/0/0", "/a/1/a"];

/// Takes and refuses what serde_json does, and finds what it finds.
fn agrees_with_serde_json(text: &[u8]) -> Result<(), TestCaseError> {
    let oracle = serde_json::from_slice::<&RawValue>(text);
    let scanned = scan_for(text, &POINTERS);
    prop_assert_eq!(oracle.is_ok(), scanned.is_ok(), "{:?} {:?}", oracle, scanned);
    let (Ok((document, slots)), Ok(tree)) =
        (scanned, serde_json::from_slice::<serde_json::Value>(text))
    else {
        return Ok(());
    };
    prop_assert!(!document.lone_surrogate);
    for (pointer, slot) in POINTERS.iter().zip(slots) {
        let found = document.at(slot);
        match (tree.pointer(pointer), found) {
            (None, None) | (Some(serde_json::Value::Bool(_)), Some(Value::Bool)) => {}
            (Some(serde_json::Value::String(expected)), Some(Value::String(found))) => {
                let expected = (!expected.contains('\0')).then_some(expected.as_str());
                let found = found.value();
                prop_assert_eq!(found.as_deref(), expected);
            }
            (Some(expected), Some(found)) => {
                prop_assert_eq!(
                    &serde_json::from_str::<serde_json::Value>(&json(found)).unwrap(),
                    expected
                );
                if let (Some(items), Value::Array(array)) = (expected.as_array(), found) {
                    prop_assert_eq!(elements(array).count(), items.len());
                }
            }
            (expected, found) => prop_assert!(false, "{}: {:?} {:?}", pointer, expected, found),
        }
    }
    Ok(())
}

#[test]
fn a_byte_matters_wherever_it_stands_in_a_string() {
    for byte in 0..=0xff {
        for place in 0..20 {
            let mut text = b"\"xxxxxxxxxxxxxxxxxxxx\"".to_vec();
            text[1 + place] = byte;
            agrees_with_serde_json(&text).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn json_is_read_as_serde_json_reads_it(text in any_json()) {
        agrees_with_serde_json(text.as_bytes())?;
    }

    #[test]
    fn broken_json_is_refused_as_serde_json_refuses_it(
        text in any_json(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0..3, any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut text = text.into_bytes();
        for (place, how, byte, syntax) in changes {
            let byte = if syntax { b"{}[]\",:\\u0-.eE \x00\xff"[usize::from(byte) % 17] } else { byte };
            match (how, text.is_empty()) {
                (0, false) => { let at = place.index(text.len()); text[at] = byte; }
                (1, false) => { text.remove(place.index(text.len())); }
                _ => text.insert(place.index(text.len() + 1), byte),
            }
        }
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn any_bytes_are_read_or_not_as_serde_json_does(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        syntax in r#"[\[\]{}",:0-9eE.+\\u tfn-]{0,24}"#,
    ) {
        agrees_with_serde_json(&bytes)?;
        agrees_with_serde_json(syntax.as_bytes())?;
    }
}
