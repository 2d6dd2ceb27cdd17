//! Where a field of the event may stand: a place in the body, a property or a header.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// One place where a field of the event may stand.
///
/// Written as `/a/b` (a JSON pointer into the body, RFC 6901), `property:NAME` (a basic property by its
/// AMQP name) or `header:NAME` (a header, by its exact name).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Selector {
    /// Keys and array indices from the body's root, unescaped. Empty: the whole body.
    Body(Vec<String>),
    /// A basic property.
    Property(PropertyName),
    /// A header.
    Header(String),
}

/// Why a text is not a [`Selector`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidSelector {
    /// It has none of the three forms.
    #[error(
        "{0:?} is neither a JSON pointer such as \"/event_id\", nor \"property:NAME\", nor \"header:NAME\""
    )]
    Form(String),
    /// A `~` that is neither `~0` nor `~1`.
    #[error("{0:?}: in a JSON pointer \"~\" is written \"~0\" and \"/\" within a key \"~1\"")]
    Escape(String),
    /// More steps than [`Selector::MAX_STEPS`].
    #[error("{0:?}: a JSON pointer may have at most {max} steps", max = Selector::MAX_STEPS)]
    TooLong(String),
    /// AMQP has no such property.
    #[error("{0:?}: no such property; AMQP has {names}", names = PropertyName::list())]
    UnknownProperty(String),
    /// `header:` without a name.
    #[error("\"header:\" needs the name of a header")]
    EmptyHeader,
}

impl Selector {
    /// Most steps of a JSON pointer.
    pub const MAX_STEPS: usize = 32;
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Selector, InvalidSelector> {
        if let Some(name) = text.strip_prefix("property:") {
            return match PropertyName::ALL.into_iter().find(|known| known.as_str() == name) {
                Some(name) => Ok(Selector::Property(name)),
                None => Err(InvalidSelector::UnknownProperty(text.to_owned())),
            };
        }
        if let Some(name) = text.strip_prefix("header:") {
            return match name {
                "" => Err(InvalidSelector::EmptyHeader),
                name => Ok(Selector::Header(name.to_owned())),
            };
        }
        let Some(steps) = text.strip_prefix('/') else {
            return Err(InvalidSelector::Form(text.to_owned()));
        };
        let steps: Vec<String> = steps
            .split('/')
            .map(unescape)
            .collect::<Option<_>>()
            .ok_or_else(|| InvalidSelector::Escape(text.to_owned()))?;
        if steps.len() > Selector::MAX_STEPS {
            return Err(InvalidSelector::TooLong(text.to_owned()));
        }
        Ok(Selector::Body(steps))
    }
}

/// A step of a pointer without its escapes; `None` where a `~` is followed by neither 0 nor 1.
fn unescape(step: &str) -> Option<String> {
    let mut parts = step.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.as_bytes().first() {
            Some(b'0') => plain.push('~'),
            Some(b'1') => plain.push('/'),
            _ => return None,
        }
        plain.push_str(part.get(1..).unwrap_or_default());
    }
    Some(plain)
}

impl TryFrom<String> for Selector {
    type Error = InvalidSelector;

    fn try_from(text: String) -> Result<Selector, InvalidSelector> {
        text.parse()
    }
}

/// One of the thirteen basic properties that a field may be taken from, by its AMQP name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the property of that name")]
pub enum PropertyName {
    ContentType,
    ContentEncoding,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Type,
    UserId,
    AppId,
    ClusterId,
}

impl PropertyName {
    /// All of them, in the protocol's order. The header table is not among them: see [`Selector::Header`].
    pub const ALL: [PropertyName; 13] = [
        PropertyName::ContentType,
        PropertyName::ContentEncoding,
        PropertyName::DeliveryMode,
        PropertyName::Priority,
        PropertyName::CorrelationId,
        PropertyName::ReplyTo,
        PropertyName::Expiration,
        PropertyName::MessageId,
        PropertyName::Timestamp,
        PropertyName::Type,
        PropertyName::UserId,
        PropertyName::AppId,
        PropertyName::ClusterId,
    ];

    /// Its name in AMQP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PropertyName::ContentType => "content_type",
            PropertyName::ContentEncoding => "content_encoding",
            PropertyName::DeliveryMode => "delivery_mode",
            PropertyName::Priority => "priority",
            PropertyName::CorrelationId => "correlation_id",
            PropertyName::ReplyTo => "reply_to",
            PropertyName::Expiration => "expiration",
            PropertyName::MessageId => "message_id",
            PropertyName::Timestamp => "timestamp",
            PropertyName::Type => "type",
            PropertyName::UserId => "user_id",
            PropertyName::AppId => "app_id",
            PropertyName::ClusterId => "cluster_id",
        }
    }

    fn list() -> String {
        PropertyName::ALL.map(PropertyName::as_str).join(", ")
    }
}

impl fmt::Display for PropertyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_it_is_written() {
        let body = |steps: &[&str]| {
            Ok(Selector::Body(steps.iter().map(|step| (*step).to_owned()).collect()))
        };
        let header = |name: &str| Ok(Selector::Header(name.to_owned()));
        assert_eq!("/event_id".parse(), body(&["event_id"]));
        assert_eq!("/a~1b/m~0n/0/".parse(), body(&["a/b", "m~n", "0", ""]));
        assert_eq!("/".parse(), body(&[""]));
        assert_eq!("/~01".parse(), body(&["~1"]));
        assert_eq!("header:cloudEvents:id".parse(), header("cloudEvents:id"));
        assert_eq!("header:ce-id".parse(), header("ce-id"));
        for name in PropertyName::ALL {
            assert_eq!(format!("property:{name}").parse(), Ok(Selector::Property(name)));
        }
    }

    #[test]
    fn what_is_no_selector_says_what_would_be() {
        let error = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert!(error("event_id").contains("a JSON pointer such as \"/event_id\""));
        assert!(error("").contains("neither"));
        assert!(error("/a~2").contains("~0"));
        assert!(error("/a~").contains("~0"));
        assert!(error("property:message-id").contains("message_id"));
        assert!(error("header:").contains("name"));
        assert!(error(&"/a".repeat(33)).contains("at most 32"));
    }
}
