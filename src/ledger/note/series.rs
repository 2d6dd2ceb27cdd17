//! Several signed notes in one file, one after the other, an empty line behind each.

use super::{Note, signature::MARK};

impl Note {
    /// The note as it stands among others in a file: whatever a write that was cut off has left before it stays by itself.
    #[must_use]
    pub fn in_series(&self) -> String {
        format!("{self}\n")
    }

    /// The notes of a file, in its order. What is none, such as the rest of a write that was cut off, is passed over.
    #[must_use]
    pub fn series(file: &str) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut text = None;
        for block in file.split("\n\n") {
            let block = block.trim_matches('\n');
            if !block.starts_with(MARK) {
                text = Some(block);
            } else if let Some(text) = text.take() {
                notes.extend(Note::parse(format!("{text}\n\n{block}\n").as_bytes()).ok());
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::Note;

    const SIGNED: &str = "origin\n1\nxx\n\n— name AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

    #[test]
    fn each_is_found_again_and_what_was_cut_off_harms_none() {
        let note = Note::parse(SIGNED.as_bytes()).unwrap();
        assert_eq!(Note::series(SIGNED), std::slice::from_ref(&note));
        let both = note.in_series() + &note.in_series();
        assert_eq!(Note::series(&both), [note.clone(), note.clone()]);
        for cut in (0..=SIGNED.len()).filter(|at| SIGNED.is_char_boundary(*at)) {
            let file = [&note.in_series(), &SIGNED[..cut], "\n\n", &note.in_series()].concat();
            let notes = Note::series(&file);
            assert!(matches!(notes.len(), 2 | 3), "{cut}: {notes:?}");
            assert!(notes.iter().all(|found| found.text() == note.text()), "{cut}: {notes:?}");
        }
    }
}
