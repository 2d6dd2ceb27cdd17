//! Text from the bus, made safe for a terminal: a control character there may move the cursor, change the title, or answer
//! in the user's name.

use std::{borrow::Cow, fmt::Write as _};

/// Control characters, those that change the direction of text, and those that end lines.
fn is_acted_on(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text on one line, with `\n`, `\r`, `\t` or `\u{1b}` for what a terminal would act on.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |character, safe| match character {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        _ => {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        }
    })
}

/// JSON with `\u001b` for what a terminal would act on, line feeds aside. It means the same: valid JSON has such
/// characters only within strings, and others than line feeds, tabs and carriage returns nowhere else.
#[must_use]
pub fn json_safe(json: &str) -> Cow<'_, str> {
    replaced(json, |character, safe| match character {
        '\n' => safe.push('\n'),
        '\r' | '\t' => safe.push(' '),
        // All of them are in the first plane.
        _ => {
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        }
    })
}

fn replaced(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_acted_on) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_acted_on(character) {
            replace(character, &mut safe);
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_shown_instead() {
        assert_eq!(visible("plain ü 漢"), "plain ü 漢");
        assert_eq!(visible("a\x1b[2Jb\n\t\u{9b}\u{202e}"), "a\\u{1b}[2Jb\\n\\t\\u{9b}\\u{202e}");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let json = "{\n\t\"a\u{7f}\": \"\u{9b}x\u{202e}\"\r}";
        let safe = json_safe(json);
        assert!(!safe.contains(|c: char| c != '\n' && is_acted_on(c)), "{safe:?}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(json), read(&safe));
    }
}
