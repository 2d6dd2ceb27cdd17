//! Several signed notes in one file, one after the other, an empty line behind each.

use super::{Note, NoteError, signature::MARK};
use crate::ledger::key::SIGNATURE_BYTES;

/// What stands in such a file and is no note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrap {
    /// The line in which it begins, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: NoteError,
    /// Whether it may be what a write that was cut off has left: the beginning of a note.
    pub cut_off: bool,
}

impl Note {
    /// The note as it stands among others in a file: whatever a write that was cut off has left before it stays by itself.
    #[must_use]
    pub fn in_series(&self) -> String {
        format!("{self}\n")
    }

    /// What stands in a file of notes whose texts have no empty lines, as those of checkpoints, in its order. Empty lines between
    /// them may be any number, or none.
    #[must_use]
    pub fn series(file: &str) -> Vec<Result<Note, Scrap>> {
        let mut found = Vec::new();
        let (mut block, mut from, mut place) = (String::new(), 1, Place::Between);
        for (number, line) in (1..).zip(file.split_inclusive('\n')) {
            let kind = Kind::of(line);
            let next = place.next(kind);
            if next.is_none() {
                found.push(read(from, &block));
                block.clear();
            }
            place = next.or_else(|| Place::Between.next(kind)).unwrap_or(Place::Between);
            if block.is_empty() {
                from = number;
            }
            if place != Place::Between {
                block.push_str(line);
            }
        }
        if !block.is_empty() {
            found.push(read(from, &block));
        }
        found
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Empty,
    Signature,
    Text,
}

impl Kind {
    fn of(line: &str) -> Kind {
        match line {
            "\n" => Kind::Empty,
            _ if is_marked(line) => Kind::Signature,
            _ => Kind::Text,
        }
    }
}

/// Whether it is a signature's line, or the beginning of one.
fn is_marked(line: &str) -> bool {
    line.starts_with(MARK) || MARK.starts_with(line.trim_end_matches('\n'))
}

/// Where in a note a line stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Text,
    Divided,
    Signatures,
}

impl Place {
    /// Where the next line stands; none where what was before it has ended.
    fn next(self, kind: Kind) -> Option<Place> {
        match (self, kind) {
            (Place::Between, Kind::Empty) => Some(Place::Between),
            (Place::Between | Place::Text, Kind::Text) => Some(Place::Text),
            (Place::Text, Kind::Empty) => Some(Place::Divided),
            (Place::Between | Place::Divided | Place::Signatures, Kind::Signature) => {
                Some(Place::Signatures)
            }
            // No signature, as there is no empty line before it.
            (Place::Text, Kind::Signature) => Some(Place::Text),
            (Place::Divided | Place::Signatures, Kind::Empty | Kind::Text) => None,
        }
    }
}

fn read(line: usize, block: &str) -> Result<Note, Scrap> {
    let scrap = |why, cut_off| Scrap { line, why, cut_off };
    let last = block.lines().last().unwrap_or_default();
    match Note::parse(block.as_bytes()) {
        Ok(note) => {
            // A part of a signature may be one to the letter.
            let short = |of: &super::NoteSignature| of.bytes().len() < SIGNATURE_BYTES;
            if note.signatures().last().is_some_and(short) {
                let lines = block.lines().count();
                return Err(scrap(NoteError::CutOff { line: lines }, true));
            }
            Ok(note)
        }
        Err(why) => {
            let lines = block.lines().count();
            let cut_off = match &why {
                NoteError::NoBlankLine | NoteError::NoSignatures | NoteError::CutOff { .. } => true,
                NoteError::Signature { line, .. } => *line == lines && is_marked(last),
                _ => false,
            };
            Err(scrap(why, cut_off))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Note, Scrap};
    use crate::ledger::key::{KeyName, SignerKey};

    fn note() -> Note {
        let key = SignerKey::from_seed(KeyName::new("name").unwrap(), &[7; 32]);
        Note::new("origin\n1\nxx\n").unwrap().signed(&key)
    }

    #[test]
    fn each_is_found_again_however_many_lines_are_between() {
        let signed = note().to_string();
        assert_eq!(Note::series(&signed), [Ok(note())]);
        for between in ["", "\n", "\n\n"] {
            let both = format!("{between}{signed}{between}{signed}{between}");
            assert_eq!(Note::series(&both), [Ok(note()), Ok(note())], "{between:?}");
        }
        assert!(Note::series("\n\n").is_empty() && Note::series("").is_empty());
    }

    #[test]
    fn what_was_cut_off_is_told_and_harms_none() {
        let signed = note().to_string();
        for cut in (1..signed.len()).filter(|at| signed.is_char_boundary(*at)) {
            let cut = &signed[..cut];
            let told = |said: &Result<Note, Scrap>| {
                said.as_ref().is_err_and(|scrap| scrap.cut_off && scrap.line == 7)
            };
            let behind = Note::series(&[&note().in_series(), cut].concat());
            assert!(matches!(&behind[..], [Ok(_), scrap] if told(scrap)), "{cut:?}: {behind:?}");
            let file = [&note().in_series(), cut, "\n\n", &note().in_series()].concat();
            let found = Note::series(&file);
            let [first, between @ .., last] = &found[..] else { panic!("{cut:?}: {found:?}") };
            assert!(first.is_ok() && last.is_ok(), "{cut:?}: {found:?}");
            // Without the line feed behind it, it is whole.
            let whole = signed.len() - cut.len() == 1;
            assert!(between.len() == 1 && (told(&between[0]) || whole), "{cut:?}: {found:?}");
        }
    }

    #[test]
    fn what_was_changed_was_not_cut_off() {
        let signed = note().to_string();
        for changed in [signed.replace("name ", "name"), signed.replace("origin", "ori\tgin")] {
            let found = Note::series(&format!("{changed}— other AAAAAAAAAAAA\n"));
            assert!(
                matches!(&found[..], [Err(Scrap { cut_off: false, line: 1, .. })]),
                "{found:?}"
            );
        }
        assert!(matches!(&Note::series("hello\n")[..], [Err(Scrap { cut_off: true, .. })]));
    }
}
