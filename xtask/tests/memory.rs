//! The memory check with tiny numbers, so that it cannot rot, and that it finds what it is there for.

use std::process::{Command, Output};

fn memory(arguments: &[&str]) -> std::io::Result<(Output, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.args(["memory", "--quick"]).args(arguments).output()?;
    let told = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).join("\n");
    Ok((output, told))
}

#[test]
fn each_case_stays_in_its_bound_with_everything_stored() {
    let file = std::env::temp_dir().join(format!("memory-{}.json", std::process::id()));
    let (output, told) = memory(&["--body", "2000000", "--json", file.to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{}\n{told}", output.status);
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let cases = report["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 9, "{json}");
    for case in cases {
        assert!(case["peak"].as_u64().unwrap() > 1 << 20, "{json}");
    }
}

#[test]
fn what_is_not_stored_is_a_failure() {
    let rejected = ["large", "--large", "3", "--body", "2000", "--set", "ingest.max_body=1KiB"];
    let (output, told) = memory(&[&rejected[..], &["--database", "up"]].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("3 missing") && told.contains("3 still on the broker"), "{told}");
}
