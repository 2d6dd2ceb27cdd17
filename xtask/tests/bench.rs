//! The bench with tiny numbers, so that it cannot rot. What it measures here means nothing.

use std::process::Command;

#[test]
fn everything_is_measured() {
    let file = std::env::temp_dir().join(format!("bench-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--quick", "--json"])
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}\n{errors}", output.status);
    for title in [
        "Drain",
        "Size",
        "Latency",
        "Growth",
        "Queries",
        "Replay",
        "Verify and prove",
        "Memory",
        "Targets",
    ] {
        assert!(told.contains(title), "no {title} in\n{told}");
    }
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let drained = &report["drain"]["daemon, quorum queue"][0];
    for part in ["rate", "consumer", "broker", "postgres", "peak_memory", "wal"] {
        assert!(drained[part].as_f64().unwrap() > 0.0, "{part} in\n{json}");
    }
    assert!(report["latency"]["Visible(200)"][0]["p50"].as_f64().unwrap() > 0.0, "{json}");
    assert_eq!(report["targets"].as_array().unwrap().len(), 26, "{json}");
}
