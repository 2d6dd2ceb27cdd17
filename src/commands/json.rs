//! JSON written by hand, so that what others wrote in it stays to the byte.

use std::io::{self, Write};

/// Writes a text as JSON.
///
/// # Errors
/// Those of `out`.
pub fn string(out: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

/// Levels that are indented further than the one before.
const DEEPEST: usize = 20;

/// Valid JSON with each member and element on a line of its own, indented by two spaces more a level, from that level on.
/// Order, numbers and strings stay as they are. From 20 levels on the indentation stays: of a body of many short
/// elements on a level of hundreds it would make hundreds of times as much.
#[must_use]
pub fn indented(json: &str, level: usize) -> String {
    let mut pretty = String::with_capacity(json.len() * 2);
    let mut level = level;
    let mut rest = json.chars().peekable();
    let line = |pretty: &mut String, level: usize| {
        pretty.push('\n');
        pretty.extend(std::iter::repeat_n("  ", level.min(DEEPEST)));
    };
    while let Some(character) = rest.next() {
        match character {
            '"' => {
                pretty.push('"');
                let mut escaped = false;
                for character in rest.by_ref() {
                    pretty.push(character);
                    match character {
                        '"' if !escaped => break,
                        '\\' => escaped = !escaped,
                        _ => escaped = false,
                    }
                }
            }
            '{' | '[' => {
                pretty.push(character);
                while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match rest.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => pretty.push(end),
                    None => {
                        level += 1;
                        line(&mut pretty, level);
                    }
                }
            }
            '}' | ']' => {
                level = level.saturating_sub(1);
                line(&mut pretty, level);
                pretty.push(character);
            }
            ',' => {
                pretty.push(',');
                line(&mut pretty, level);
            }
            ':' => pretty.push_str(": "),
            _ if character.is_ascii_whitespace() => {}
            _ => pretty.push(character),
        }
    }
    pretty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indenting_changes_white_space_only() {
        let json = r#"{"b" : [1.10, 12345678901234567890123, {}, [ ]],"a":"x: {\",\\"}"#;
        let pretty = indented(json, 0);
        assert_eq!(
            pretty,
            "{\n  \"b\": [\n    1.10,\n    12345678901234567890123,\n    {},\n    []\n  ],\n  \"a\": \"x: {\\\",\\\\\"\n}"
        );
        assert_eq!(indented(&pretty, 0), pretty);
        assert_eq!(indented("[1]", 2), "[\n      1\n    ]");
        assert_eq!(indented(" \"a b\" ", 0), "\"a b\"");
    }

    #[test]
    fn what_is_nested_deep_does_not_become_huge() {
        let elements = vec!["0"; 10_000].join(",");
        let json = format!("{}{elements}{}", "[".repeat(500), "]".repeat(500));
        let pretty = indented(&json, 0);
        assert!(pretty.len() < json.len() * 25, "{} of {}", pretty.len(), json.len());
        assert_eq!(pretty.split_whitespace().collect::<String>(), json);
    }
}
