//! A string of a JSON text.

use std::borrow::Cow;

/// A string as it stands in the text, known to be well-formed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::event) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
    sound: bool,
}

impl<'a> Text<'a> {
    /// `raw` is what stands between the quotes; `escaped` if it holds a backslash; `sound` unless it holds
    /// `\u0000` or half a surrogate pair.
    pub(super) fn new(raw: &'a str, escaped: bool, sound: bool) -> Text<'a> {
        Text { raw, escaped, sound }
    }

    /// The string without its escapes; `None` if it holds U+0000 or half a surrogate pair.
    pub fn value(&self) -> Option<Cow<'a, str>> {
        match (self.escaped, self.sound) {
            (false, _) => Some(Cow::Borrowed(self.raw)),
            (true, true) => {
                Some(Cow::Owned(self.chars().map(|char| char.unwrap_or('\u{FFFD}')).collect()))
            }
            (true, false) => None,
        }
    }

    /// Whether the string is `plain`, escapes aside. Stops at the first difference.
    pub(super) fn is(&self, plain: &str) -> bool {
        if self.escaped { self.chars().eq(plain.chars().map(Some)) } else { self.raw == plain }
    }

    /// The characters without escapes; `None` for half a surrogate pair.
    fn chars(&self) -> impl Iterator<Item = Option<char>> + use<'a> {
        let mut rest = self.raw.chars();
        std::iter::from_fn(move || {
            let char = rest.next()?;
            if char != '\\' {
                return Some(Some(char));
            }
            Some(match rest.next()? {
                'b' => Some('\u{8}'),
                'f' => Some('\u{C}'),
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                'u' => {
                    let (unit, after) = unit(rest.as_str())?;
                    rest = after.chars();
                    let low = after.strip_prefix("\\u").and_then(unit_of_pair);
                    match (char::from_u32(unit), low) {
                        (None, Some((low, after))) if unit < 0xDC00 => {
                            rest = after.chars();
                            char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
                        }
                        (char, _) => char,
                    }
                }
                plain => Some(plain),
            })
        })
    }
}

/// Four hexadecimal digits, and what follows them.
fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, after) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, after))
}

/// The second half of a surrogate pair.
fn unit_of_pair(text: &str) -> Option<(u32, &str)> {
    unit(text).filter(|(unit, _)| (0xDC00..0xE000).contains(unit))
}
