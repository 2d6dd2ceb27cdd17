//! Checkpoints and keys, as they are given on the command line.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::{
    commands::reading::Misuse,
    ledger::{VerifierKey, proof_file::ProofFile},
    verify::Given,
};

/// What a signature line begins with.
const SIGNATURE: &str = "— ";

/// All checkpoints in these files.
pub fn checkpoints(files: &[String]) -> Result<Vec<Given>, Misuse> {
    let mut given = Vec::new();
    for file in files {
        let text = read(file)
            .map_err(|error| Misuse(format!("the checkpoint {file} cannot be read: {error}")))?;
        let notes = notes(&text);
        for (number, note) in (1..).zip(&notes) {
            let name = match notes.len() {
                1 => file.clone(),
                _ => format!("{file} ({number})"),
            };
            let read = Given::read(&name, note.as_bytes());
            given.push(read.map_err(|error| Misuse(format!("{name} is no checkpoint: {error}")))?);
        }
        if notes.is_empty() {
            return Err(Misuse(format!("there is no checkpoint in {file}: it is empty")));
        }
    }
    Ok(given)
}

fn read(file: &str) -> io::Result<String> {
    if file != "-" {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Notes that stand one behind the other: a line after a signature that is none begins the next one.
fn notes(text: &str) -> Vec<&str> {
    let mut notes = Vec::new();
    let (mut start, mut at, mut signed) = (0, 0, false);
    for line in text.split_inclusive('\n') {
        let is_signature = line.starts_with(SIGNATURE);
        if signed && !is_signature {
            notes.push(&text[start..at]);
            start = at;
        }
        // Empty lines may stand between.
        if start == at && line.trim().is_empty() {
            start += line.len();
        }
        at += line.len();
        signed = is_signature;
    }
    if start < text.len() {
        notes.push(&text[start..]);
    }
    notes
}

/// A proof in a file.
pub fn proof(file: &str) -> Result<ProofFile, Misuse> {
    let text =
        read(file).map_err(|error| Misuse(format!("the proof {file} cannot be read: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Misuse(format!("{file} is no proof, as `prove` writes it: {error}")))
}

/// The public keys, each as a text, or in a file with a line for each.
pub fn keys(given: &[String]) -> Result<Vec<VerifierKey>, Misuse> {
    let mut keys = Vec::new();
    for given in given {
        let given = given.trim();
        if !Path::new(given).is_file() {
            let wrong = |error| Misuse(format!("--key is no file, and no public key: {error}"));
            keys.push(given.parse().map_err(wrong)?);
            continue;
        }
        let text = fs::read_to_string(given)
            .map_err(|error| Misuse(format!("the key {given} cannot be read: {error}")))?;
        let before = keys.len();
        let lines = (1..).zip(text.lines().map(str::trim));
        for (number, line) in lines {
            // What another key says of this one stands in the ledger, too.
            if line.is_empty() || line.starts_with('#') || line.starts_with("endorsed-by ") {
                continue;
            }
            let wrong =
                |error| Misuse(format!("line {number} of {given} is no public key: {error}"));
            keys.push(line.parse().map_err(wrong)?);
        }
        if keys.len() == before {
            return Err(Misuse(format!("there is no public key in {given}")));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stand_one_behind_the_other() {
        let one = "origin\n1\nroot\n\n— a AAAA\n";
        let two = "origin\n2\nroot\n\n— a AAAA\n— b BBBB\n";
        assert_eq!(notes(one), [one]);
        assert_eq!(notes(&format!("{one}{two}{one}")), [one, two, one]);
        assert_eq!(notes(&format!("\n{one}\n\n{two}\n")), [one, two]);
        assert!(notes("\n").is_empty() && notes("").is_empty());
        assert_eq!(notes("no note"), ["no note"]);
    }
}
