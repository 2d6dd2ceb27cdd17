//! The URL of a webhook.

use std::fmt;

use serde::Deserialize;
use url::Url;

use super::secret::MASK;

/// Where something is sent by HTTP. All of it but the server may be a secret: `Debug` and `Display` mask the rest.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebhookUrl(Url);

/// Why such a URL cannot be used. It never quotes what could be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookUrlError {
    /// Not a URL at all.
    #[error("not a URL ({0})")]
    Syntax(#[from] url::ParseError),
    /// Another protocol.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// What no server gets to see.
    #[error("what follows the # is not sent to a server: write it percent-encoded, %23")]
    Fragment,
}

impl WebhookUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// It is none, or not one of an HTTP server.
    pub fn parse(text: &str) -> Result<WebhookUrl, WebhookUrlError> {
        let url = Url::parse(text.trim())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebhookUrlError::Scheme);
        }
        if url.fragment().is_some() {
            return Err(WebhookUrlError::Fragment);
        }
        Ok(WebhookUrl(url))
    }

    /// The whole URL: for the wire, never for a log.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = WebhookUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{MASK}", self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::WebhookUrl;

    #[test]
    fn the_server_is_shown_and_nothing_else() {
        let url = WebhookUrl::parse("https://u:hunter2@host:8443/hunter2?token=hunter2").unwrap();
        assert_eq!(url.to_string(), "https://host:8443/***");
        assert_eq!(format!("{url:?}"), url.to_string());
        assert_eq!(url.expose().path(), "/hunter2");
    }

    #[test]
    fn what_is_none_is_refused_without_quoting_it() {
        for text in ["hunter2", "ftp://h/hunter2", "http://h/#hunter2", "http://h:hunter2/"] {
            let error = WebhookUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
