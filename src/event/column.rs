//! Text as Postgres takes it.

use std::borrow::Cow;

/// `text` fit for a Postgres text column, which refuses U+0000: each one is replaced by U+FFFD.
///
/// The exact value is not lost: strings holding U+0000 are also kept, reversibly, in the properties' JSON.
#[must_use]
pub fn column_text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::column_text;

    #[test]
    fn only_u0000_is_replaced() {
        assert_eq!(column_text("a\0b\0"), "a\u{FFFD}b\u{FFFD}");
        assert_eq!(column_text("a\u{1}ü"), "a\u{1}ü");
    }
}
