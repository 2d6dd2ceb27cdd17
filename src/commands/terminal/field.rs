//! A name and its value on a line, as in a form.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::{Look, style, visible};

/// Writes a name and its value, in columns; below it, where the terminal has no room beside it. Whatever a terminal would act
/// on is escaped.
///
/// # Errors
/// Those of `out`.
pub fn field(
    out: &mut impl Write,
    look: Look,
    name: &str,
    column: usize,
    value: &str,
) -> io::Result<()> {
    let faint = if look.colours { style::FAINT } else { style::PLAIN };
    let value = visible(value);
    if column.saturating_add(value.width()) <= look.width {
        writeln!(out, "{faint}{name:<column$}{faint:#}{value}")
    } else {
        writeln!(out, "{faint}{name}{faint:#}\n  {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_beside_its_name_or_below() {
        let written = |width, value: &str| {
            let mut out = Vec::new();
            let look = Look { terminal: true, width, colours: false };
            field(&mut out, look, "seq", 8, value).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(12, "1234"), "seq     1234\n");
        assert_eq!(written(11, "1234"), "seq\n  1234\n");
        assert_eq!(written(usize::MAX, "\u{1b}"), "seq     \\u{1b}\n");
    }
}
