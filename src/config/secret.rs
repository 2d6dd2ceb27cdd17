//! What must never be shown.

use std::fmt;

/// What stands in place of a password.
pub(super) const MASK: &str = "***";

/// A value that `Debug` and `Display` never show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the wire, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The text with the password of every URL in it masked, and of every `password=` parameter.
///
/// The last line of defence for what is quoted: a URL that is broken, or was written where something else
/// belongs. A broken URL does not say where its password ends, so everything from the scheme to the last `@`
/// of the text goes, but for a plain user in front; it rather masks too much than too little.
pub fn redact(text: &str) -> String {
    mask_parameters(&mask_credentials(text))
}

fn mask_credentials(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    if let Some((credentials, after)) = rest.rsplit_once('@') {
        return format!("{before}://{}{MASK}@{after}", plain_user(credentials));
    }
    // Without an @, what follows a colon may be a port, or a password whose host was forgotten.
    let end = rest.find(['/', '?', '#', '"', '\'', ' ', '\n']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    match authority.split_once(':') {
        Some((_, port))
            if !authority.starts_with('[') && !port.chars().all(|c| c.is_ascii_digit()) =>
        {
            format!("{before}://{}{MASK}", plain_user(authority))
        }
        _ => format!("{before}://{authority}{}", mask_credentials(after)),
    }
}

/// `user:` if that is how the credentials begin, otherwise nothing.
fn plain_user(credentials: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-%".contains(c);
    match credentials.find(|c| !plain(c)) {
        Some(end) if credentials[end..].starts_with(':') => &credentials[..=end],
        _ => "",
    }
}

fn mask_parameters(text: &str) -> String {
    const PARAMETER: &str = "password=";
    // ASCII lowercasing keeps every byte's place.
    let lower = text.to_ascii_lowercase();
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower[from..].find(PARAMETER) {
        let start = from + found + PARAMETER.len();
        let length = text[start..].find(['&', '"', '\'', ' ', '\n']).unwrap_or(text.len() - start);
        masked.push_str(&text[from..start]);
        masked.push_str(MASK);
        from = start + length;
    }
    masked + &text[from..]
}
