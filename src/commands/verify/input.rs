//! Checkpoints and keys, as they are given on the command line.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::{
    commands::reading::Misuse,
    ledger::{Note, Scrap, VerifierKey, proof_file::ProofFile},
    verify::Given,
};

/// All checkpoints in these files, and what is to be said of them.
pub fn checkpoints(files: &[String]) -> Result<(Vec<Given>, Vec<String>), Misuse> {
    let (mut given, mut words) = (Vec::new(), Vec::new());
    for file in files {
        let text = read(file)
            .map_err(|error| Misuse(format!("the checkpoint {file} cannot be read: {error}")))?;
        let found = Note::series(&String::from_utf8_lossy(&text));
        let several = found.len() > 1;
        let any = found.iter().any(Result::is_ok);
        for (number, note) in (1..).zip(found) {
            let name = if several { format!("{file} ({number})") } else { file.clone() };
            match note {
                Ok(note) => given.push(Given::of(&name, note).map_err(|error| none(&name, &error))?),
                Err(Scrap { line, cut_off: true, .. }) if any => words.push(format!(
                    "{file}: line {line} begins a checkpoint that was cut off, as by a crash, and is passed over"
                )),
                Err(Scrap { why, .. }) => return Err(none(&name, &why)),
            }
        }
        if !several && !any {
            return Err(Misuse(format!("there is no checkpoint in {file}: it is empty")));
        }
    }
    Ok((given, words))
}

fn none(name: &str, why: &dyn std::fmt::Display) -> Misuse {
    Misuse(format!("{name} is no checkpoint: {why}"))
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    if file != "-" {
        return fs::read(file);
    }
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    Ok(text)
}

/// A proof in a file.
pub fn proof(file: &str) -> Result<ProofFile, Misuse> {
    let text =
        read(file).map_err(|error| Misuse(format!("the proof {file} cannot be read: {error}")))?;
    serde_json::from_slice(&text)
        .map_err(|error| Misuse(format!("{file} is no proof, as `prove` writes it: {error}")))
}

/// The public keys, each as a text, or in a file with a line for each.
pub fn keys(given: &[String]) -> Result<Vec<VerifierKey>, Misuse> {
    let mut keys = Vec::new();
    for given in given {
        let given = given.trim();
        if !Path::new(given).is_file() {
            // A private key that was pasted is not to be shown again; it has plus signs, as every key has.
            let what = if given.contains('+') { "--key" } else { given };
            let wrong = |error| Misuse(format!("{what} is no file, and no public key: {error}"));
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
