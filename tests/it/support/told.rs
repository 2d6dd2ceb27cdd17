//! What `check` and the daemon say of the same fault.

use anyhow::Result;

use super::{Daemon, Scene};

/// Expects these words about the TLS of that side, of `check` and of a daemon, which is left running.
pub async fn is_told(area: &str, scene: &Scene, words: &[&str]) -> Result<Daemon> {
    let answer = scene.asks(&["check", "--json"])?;
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    let findings = said["findings"].as_array().expect("findings");
    let tls = findings.iter().find(|one| one["area"] == area && one["check"] == "tls");
    let tls = tls.unwrap_or_else(|| panic!("nothing is said of TLS: {findings:#?}"));
    assert_eq!((answer.status, &tls["verdict"]), (1, &"fault".into()), "{tls:#}");
    let daemon = scene.starts()?;
    for word in words {
        assert!(tls["found"].as_str().unwrap().contains(word), "{word:?} is not in {tls:#}");
        daemon.says(word, 1).await?;
    }
    Ok(daemon)
}
