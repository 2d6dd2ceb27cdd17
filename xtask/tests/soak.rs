//! The soak in its short form, over a schedule that kills, cuts and restarts everything once.

use std::process::Command;

/// Its schedule: `cargo xtask soak --schedule --seed 703 --for 40s`.
const SEED: &str = "703";

#[test]
fn nothing_is_lost_twice_or_stuck_whatever_breaks() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["soak", "--for", "40s", "--rate", "150", "--seed", SEED])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{told}\n{errors}", output.status);
    // How many more come depends on the machine: a fault that takes longer puts off those after it.
    assert!(told.contains("both servers killed"), "{told}");
    assert!(told.contains("All of it is as it was recorded."), "{told}");
}
