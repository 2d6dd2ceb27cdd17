//! The URL of a broker's management interface.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::Url;

use super::secret::{MASK, Secret};

/// Where a broker's management interface is, and the credentials for it, percent-decoded. `Debug` and `Display` mask the
/// password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ManagementUrl {
    /// Without credentials; what stands before `/api` is part of it.
    pub base: Url,
    /// `guest` where the URL has no credentials.
    pub user: String,
    /// `guest` where the URL has no credentials, empty where it has a user only.
    pub password: Secret,
}

/// Why such a URL cannot be used. It never quotes what could be part of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagementUrlError {
    /// Not a URL at all.
    #[error(
        "not a URL ({0}); in a password the characters @ / ? # % are written percent-encoded, %40 %2F %3F %23 %25"
    )]
    Syntax(#[from] url::ParseError),
    /// Another protocol.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// More than a place.
    #[error(
        "there is a bare @, ? or # after the host; in a password @ / ? # % are written percent-encoded, %40 %2F %3F %23 %25"
    )]
    Delimiter,
    /// Credentials that are not UTF-8 after decoding.
    #[error("the credentials are not UTF-8 after percent-decoding")]
    NotUtf8,
}

impl ManagementUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// It is none, or not one of an HTTP server.
    pub fn parse(text: &str) -> Result<ManagementUrl, ManagementUrlError> {
        let mut base = Url::parse(text.trim())?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(ManagementUrlError::Scheme);
        }
        if base.fragment().is_some() || base.query().is_some() || base.path().contains('@') {
            return Err(ManagementUrlError::Delimiter);
        }
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(ManagementUrlError::NotUtf8),
        };
        let (user, password) = match (base.username(), base.password()) {
            ("", None) => ("guest".to_owned(), "guest".to_owned()),
            (user, password) => (decoded(user)?, decoded(password.unwrap_or_default())?),
        };
        // A URL with a host takes both.
        let _ = (base.set_username(""), base.set_password(None));
        Ok(ManagementUrl { base, user, password: Secret::new(password) })
    }
}

impl TryFrom<String> for ManagementUrl {
    type Error = ManagementUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.base.clone();
        let _ = url.set_username(&self.user);
        let shown = url.as_str();
        match shown.split_once('@') {
            Some((before, after)) => write!(f, "{before}:{MASK}@{after}"),
            None => f.write_str(shown),
        }
    }
}

impl fmt::Debug for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_credentials_are_told_apart_and_the_password_is_not_shown() {
        let url = ManagementUrl::parse("https://u%40x:p%2F%C3%A9@host:15671/under").unwrap();
        assert_eq!(url.base.as_str(), "https://host:15671/under");
        assert_eq!((&*url.user, url.password.expose()), ("u@x", "p/\u{e9}"));
        assert_eq!(url.to_string(), "https://u%40x:***@host:15671/under");
        assert_eq!(format!("{url:?}"), url.to_string());
        let url = ManagementUrl::parse("http://host").unwrap();
        assert_eq!((&*url.user, url.password.expose()), ("guest", "guest"));
    }

    #[test]
    fn what_is_none_is_refused_without_quoting_it() {
        for text in [
            "amqp://u:hunter2@h",
            "u:hunter2@h",
            "http://",
            "http://u:1/hunter2@h/",
            "http://u:1?hunter2@h/",
            "http://u:1#hunter2@h/",
            "http://u:hunter2%ff@h/",
        ] {
            let error = ManagementUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
