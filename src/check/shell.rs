//! Names as they are typed: into a shell, and into SQL.

use std::borrow::Cow;

/// A word as a shell takes it.
pub fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''")).into()
    }
}

/// A name as SQL takes it.
pub fn identifier(name: &str) -> Cow<'_, str> {
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if begins && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        name.into()
    } else {
        format!("\"{}\"", name.replace('"', "\"\"")).into()
    }
}

/// A name as a regular expression that is this name and no other.
pub fn pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for character in name.chars() {
        if r".\+*?()|[]{}^$#".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_typed_as_they_are() {
        assert_eq!(word("bloodbank.audit"), "bloodbank.audit");
        assert_eq!(word("#"), "'#'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word(""), "''");
        assert_eq!(identifier("audit_1"), "audit_1");
        assert_eq!(identifier("Audit\"s"), "\"Audit\"\"s\"");
        assert_eq!(identifier("1st"), "\"1st\"");
        assert_eq!(pattern("a.b-c"), r"a\.b-c");
    }
}
