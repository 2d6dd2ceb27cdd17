mod oracle;

use super::*;

/// Scans for pointers written as in RFC 6901 and without escapes.
fn scan_for<'a>(text: &'a [u8], pointers: &[&str]) -> Result<(Document<'a>, Vec<usize>), NotJson> {
    let pointers: Vec<Vec<String>> = pointers
        .iter()
        .map(|pointer| pointer.split('/').skip(1).map(str::to_owned).collect())
        .collect();
    let (paths, slots) = Paths::new(pointers.iter().map(Vec::as_slice));
    Ok((scan(text, &paths)?, slots))
}

fn document(text: &str) -> Document<'_> {
    scan_for(text.as_bytes(), &[]).unwrap().0
}

/// What stands at a pointer, as JSON.
fn at(text: &str, pointer: &str) -> Option<String> {
    let (document, slots) = scan_for(text.as_bytes(), &[pointer]).unwrap();
    document.at(slots[0]).map(json)
}

fn json(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool => "bool".into(),
        Value::Number(raw) | Value::Array(raw) | Value::Object(raw) => (*raw).into(),
        Value::String(text) => serde_json::to_string(&text.value().unwrap()).unwrap(),
    }
}

fn fault(text: &[u8]) -> NotJson {
    scan_for(text, &[]).unwrap_err()
}

#[test]
fn values_are_found_where_pointers_say() {
    let text = r#" { "a" : { "b" : [ 1 , { "c" : "x\n" } , [2] ] , "" : 3 } , "a/b~c" : null, "0" : -1.5e+3 } "#;
    for (pointer, expected) in [
        ("", Some(text.trim())),
        ("/a/b", Some(r#"[ 1 , { "c" : "x\n" } , [2] ]"#)),
        ("/a/b/0", Some("1")),
        ("/a/b/1/c", Some(r#""x\n""#)),
        ("/a/b/2", Some("[2]")),
        ("/a/b/2/0", Some("2")),
        ("/a/", Some("3")),
        ("/0", Some("-1.5e+3")),
        ("/a/b/00", None),
        ("/a/b/+1", None),
        ("/a/b/-", None),
        ("/a/b/3", None),
        ("/b", None),
        ("/a/b/c", None),
    ] {
        assert_eq!(at(text, pointer).as_deref(), expected, "{pointer}");
    }
    let (paths, slots) = Paths::new([["a/b~c".to_owned()].as_slice()]);
    assert_eq!(scan(text.as_bytes(), &paths).unwrap().at(slots[0]), Some(&Value::Null));
}

#[test]
fn many_pointers_are_found_at_once_and_may_overlap() {
    let text = r#"{"x":[{"y":1},{"y":2}],"z":{"y":3}}"#;
    let pointers = ["/z/y", "/x/1/y", "/x", "/x/0/y", "/z/y", "/none", "/x/0"];
    let (document, slots) = scan_for(text.as_bytes(), &pointers).unwrap();
    let found: Vec<_> = slots.iter().map(|slot| document.at(*slot).map(json)).collect();
    let expected = ["3", "2", r#"[{"y":1},{"y":2}]"#, "1", "3", "", r#"{"y":1}"#];
    assert_eq!(found, expected.map(|text| (!text.is_empty()).then(|| text.to_owned())));
}

#[test]
fn of_equal_keys_the_last_counts_at_every_level() {
    assert_eq!(at(r#"{"a":1,"a":2}"#, "/a").as_deref(), Some("2"));
    assert_eq!(at(r#"{"a":1,"\u0061":2}"#, "/a").as_deref(), Some("2"));
    // As `json -> 'a' ->> 'b'` does.
    assert_eq!(at(r#"{"a":{"b":1},"a":{}}"#, "/a/b"), None);
    assert_eq!(at(r#"{"a":{"b":1},"a":2}"#, "/a/b"), None);
    assert_eq!(at(r#"{"a":[1,2],"a":[3]}"#, "/a/0").as_deref(), Some("3"));
}

#[test]
fn keys_are_compared_without_their_escapes() {
    for key in [r"a\u002fb", r"\u0061/b", r"a\/b", "a/b"] {
        let text = format!(r#"{{"{key}":1}}"#);
        let (paths, slots) = Paths::new([["a/b".to_owned()].as_slice()]);
        assert_eq!(
            scan(text.as_bytes(), &paths).unwrap().at(slots[0]),
            Some(&Value::Number("1")),
            "{key}"
        );
    }
    assert_eq!(at(r#"{"\ud83d\ude00":1}"#, "/😀").as_deref(), Some("1"));
    assert_eq!(at(r#"{"\ud83d":1,"a\u0000":2}"#, "/a"), None);
}

#[test]
fn what_sql_would_trip_over_is_reported_and_the_rest_still_found() {
    let document = document(r#"{"k":"\u0000"}"#);
    assert!(document.nul_escape && !document.lone_surrogate);
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ud800\udc00""#,
        r#"{"\udfff":1}"#,
    ] {
        assert!(super::tests::document(text).lone_surrogate, "{text}");
    }
    for text in [r#""\ud83d\ude00""#, r#""\\u0000""#, r#""\\ud800""#, r#""\ue000\uFFFF\u0001""#] {
        let document = super::tests::document(text);
        assert!(!document.nul_escape && !document.lone_surrogate, "{text}");
    }
    let text = r#"{"a":"\ud800","b":"\u0000","c":"fine"}"#;
    let (document, slots) = scan_for(text.as_bytes(), &["/a", "/b", "/c"]).unwrap();
    let values: Vec<_> = slots
        .iter()
        .map(|slot| match document.at(*slot) {
            Some(Value::String(text)) => text.value(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values, [None, None, Some("fine".into())]);
}

#[test]
fn a_fault_says_where_and_what() {
    for (text, offset) in [
        ("", 0),
        (" ", 1),
        ("hello", 0),
        ("nul", 0),
        ("\u{FEFF}{}", 0),
        ("{} x", 3),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("{\"a\"}", 4),
        ("{\"a\":}", 5),
        ("{\"a\":1,}", 7),
        ("{1:2}", 1),
        ("[}", 1),
        ("{]", 1),
        ("[1}", 2),
        ("[", 1),
        ("01", 1),
        ("-", 1),
        ("1.", 2),
        (".5", 0),
        ("1e", 2),
        ("+1", 0),
        ("1e+", 3),
        ("NaN", 0),
        ("\"a", 2),
        ("\"\n\"", 1),
        ("\"\\x\"", 2),
        ("\"\\u12g4\"", 5),
        ("\"\0\"", 1),
        ("\"\\ud800\\u12\"", 11),
        ("'a'", 0),
    ] {
        match fault(text.as_bytes()) {
            NotJson::Syntax { offset: found, .. } => assert_eq!(found, offset, "{text:?}"),
            NotJson::Utf8 { .. } => panic!("{text:?}"),
        }
    }
    assert_eq!(fault(b"{\"a\": \"\xff\"}"), NotJson::Utf8 { offset: 7 });
    assert_eq!(fault(b"\"\xed\xa0\x80\""), NotJson::Utf8 { offset: 1 });
}

#[test]
fn any_number_and_any_space_is_fine() {
    for text in [
        "0",
        "-0",
        "1e400000",
        "-1.5E-30",
        "123456789012345678901234567890",
        "\t\r\n 1 \n",
        "true",
        "\"\u{7f}\"",
    ] {
        document(text);
    }
}

#[test]
fn depth_costs_a_bit_a_level() {
    let levels = 16 << 20;
    let paths = Paths::new([]).0;
    match scan(&vec![b'['; levels], &paths) {
        Err(NotJson::Syntax { offset, .. }) => assert_eq!(offset, levels),
        other => panic!("{other:?}"),
    }
    for levels in [1, 63, 64, 65, 127, 128, 129, 100_000] {
        let text = "[{\"a\":".repeat(levels / 2) + &"[".repeat(levels % 2);
        let text = text + "1" + &"]".repeat(levels % 2) + &"}]".repeat(levels / 2);
        let document = document(&text);
        assert_eq!(document.max_depth, levels);
        assert_eq!(document.root, Value::Array(&text));
        let crossed = text.replacen("}]", "]}", 1);
        assert!(levels == 1 || scan(crossed.as_bytes(), &paths).is_err());
    }
    assert_eq!(document("1").max_depth, 0);
}

#[test]
fn an_arrays_elements_come_in_order() {
    let text = r#" ["a", 1, [["x]"]], {"b":[2]}, null, true, "c\n" ] "#;
    let Value::Array(array) = document(text).root else { panic!() };
    let found: Vec<_> = elements(array).map(|value| json(&value)).collect();
    assert_eq!(found, ["\"a\"", "1", "", "", "null", "bool", r#""c\n""#]);
    assert_eq!(elements("[]").count(), 0);
}
