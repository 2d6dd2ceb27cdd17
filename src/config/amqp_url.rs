//! `amqp://` URLs: taken apart here, because the client's own parser does not percent-decode and panics on `?`.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use url::{Host, Url};

use super::rabbitmq::SHORT_STRING_MAX;
use super::secret::{MASK, Secret};
use crate::hosts::Hosts;

/// A broker, the credentials for it and the vhost, percent-decoded. `Debug` and `Display` mask the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AmqpUrl {
    /// `amqps`: TLS from the first byte.
    pub tls: bool,
    /// A host name or an address; IPv6 without brackets.
    pub host: String,
    /// 5672, with TLS 5671, where the URL names none.
    pub port: u16,
    /// Further hosts, and their ports, in the order in which they are tried.
    pub others: Vec<(String, u16)>,
    /// `guest` where the URL has no credentials.
    pub user: String,
    /// `guest` where the URL has no credentials, empty where it has a user only.
    pub password: Secret,
    /// `/` where the URL has no path.
    pub vhost: String,
}

/// Why an AMQP URL cannot be used. It never quotes what could be part of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmqpUrlError {
    /// Not a URL at all.
    #[error(
        "not a URL ({0}); in a password the characters @ / ? # % are written percent-encoded, %40 %2F %3F %23 %25"
    )]
    Syntax(#[from] url::ParseError),
    /// Another protocol.
    #[error("the scheme is neither amqp nor amqps")]
    Scheme,
    /// Nothing between `//` and `/`.
    #[error("it names no host")]
    NoHost,
    /// Nothing between two commas, or at either end.
    #[error("one of its hosts is empty: there is a comma too many")]
    EmptyHost,
    /// User and password before each host.
    #[error(
        "user and password stand once, before the first host; in a password the characters @ and , are written percent-encoded, \
         %40 %2C"
    )]
    Logins,
    /// The same host and port again.
    #[error("it names one of its hosts twice: each is tried once")]
    SameHost,
    /// A delimiter where none can be: mostly a password that was not percent-encoded.
    #[error(
        "there is a bare @ or # after the host; in a password @ / ? # % are written percent-encoded, %40 %2F %3F %23 %25"
    )]
    Delimiter,
    /// Port zero.
    #[error("port 0 cannot be connected to")]
    Port,
    /// A slash within the vhost's name.
    #[error("the vhost has more than one part; a slash in its name is written %2F")]
    Vhost,
    /// A part that is not UTF-8 after decoding.
    #[error("the {0} is not UTF-8 after percent-decoding")]
    NotUtf8(&'static str),
    /// A part that AMQP cannot carry.
    #[error("the {0} is longer than {SHORT_STRING_MAX} bytes")]
    TooLong(&'static str),
    /// A query parameter, with what to do about it.
    #[error("the query parameter {name} is not supported{advice}")]
    Parameter {
        /// Its name, quoted, or `?…` where the name could be part of a password.
        name: String,
        /// What to use instead.
        advice: &'static str,
    },
}

impl AmqpUrl {
    /// Whether only user and password differ, if anything does.
    pub(super) fn leads_where(&self, other: &AmqpUrl) -> bool {
        let AmqpUrl { user, password, .. } = self.clone();
        *self == AmqpUrl { user, password, ..other.clone() }
    }

    /// Takes a URL apart. It may name several hosts, `amqp://user:password@one,two:5673/vhost`.
    pub fn parse(text: &str) -> Result<Self, AmqpUrlError> {
        let hosts = Hosts::of(text.trim());
        if hosts.repeats_login() {
            return Err(AmqpUrlError::Logins);
        }
        let of_several = |error| match error {
            AmqpUrlError::NoHost | AmqpUrlError::Syntax(url::ParseError::EmptyHost)
                if hosts.count() > 1 =>
            {
                AmqpUrlError::EmptyHost
            }
            error => error,
        };
        let mut found: Option<Self> = None;
        for url in hosts.each() {
            let one = Self::of_one_host(&url).map_err(of_several)?;
            let Some(first) = &mut found else {
                found = Some(one);
                continue;
            };
            let place = (one.host, one.port);
            if place == (first.host.clone(), first.port) || first.others.contains(&place) {
                return Err(AmqpUrlError::SameHost);
            }
            first.others.push(place);
        }
        found.ok_or(AmqpUrlError::NoHost)
    }

    fn of_one_host(text: &str) -> Result<Self, AmqpUrlError> {
        let url = Url::parse(text)?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(AmqpUrlError::Scheme),
        };
        let bare_at = |part: &str| part.contains('@');
        if url.fragment().is_some() || bare_at(url.path()) || url.query().is_some_and(bare_at) {
            return Err(AmqpUrlError::Delimiter);
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => decoded("host", name)?,
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(AmqpUrlError::NoHost),
        };
        if let Some((name, _)) = url.query_pairs().next() {
            return Err(refused(&name));
        }
        let port = url.port().unwrap_or(if tls { 5671 } else { 5672 });
        if port == 0 {
            return Err(AmqpUrlError::Port);
        }
        let (user, password) = credentials(&url)?;
        Ok(Self { tls, host, port, others: Vec::new(), user, password, vhost: vhost(url.path())? })
    }
}

/// Every client defaults to guest, whom brokers accept over loopback only.
fn credentials(url: &Url) -> Result<(String, Secret), AmqpUrlError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(("guest".to_owned(), Secret::new("guest")));
    }
    let user = decoded("user", url.username())?;
    let password = decoded("password", url.password().unwrap_or_default())?;
    Ok((user, Secret::new(password)))
}

/// `amqp://h/` officially names the vhost "", which nobody has; people mean "/", and also write it `//`.
fn vhost(path: &str) -> Result<String, AmqpUrlError> {
    let name = path.strip_prefix('/').unwrap_or(path);
    if name.is_empty() || name == "/" {
        return Ok("/".to_owned());
    }
    if name.contains('/') {
        return Err(AmqpUrlError::Vhost);
    }
    let name = decoded("vhost", name)?;
    if name.len() > SHORT_STRING_MAX {
        return Err(AmqpUrlError::TooLong("vhost"));
    }
    Ok(name)
}

fn decoded(part: &'static str, text: &str) -> Result<String, AmqpUrlError> {
    let decoded =
        percent_decode_str(text).decode_utf8().map_err(|_| AmqpUrlError::NotUtf8(part))?;
    Ok(decoded.into_owned())
}

fn refused(name: &str) -> AmqpUrlError {
    let advice = match name {
        "heartbeat" => "; use rabbitmq.heartbeat",
        "connection_timeout" => "; use rabbitmq.connect_timeout",
        "cacertfile" => "; use rabbitmq.tls_ca_file",
        _ => ", nor is any other",
    };
    AmqpUrlError::Parameter { name: parameter_name(name), advice }
}

/// A parameter's name if it looks like one: the rest of a password after a bare `?` must not be shown.
pub(super) fn parameter_name(name: &str) -> String {
    let plausible =
        name.len() <= 32 && name.chars().all(|c| c.is_ascii_lowercase() || "_-[].".contains(c));
    if plausible && !name.is_empty() { format!("`{name}`") } else { "`?…`".to_owned() }
}

impl TryFrom<String> for AmqpUrl {
    type Error = AmqpUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KEPT: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        let scheme = if self.tls { "amqps" } else { "amqp" };
        let place = |host: &str, port: u16| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        let mut hosts = place(&self.host, self.port);
        for (host, port) in &self.others {
            hosts += &format!(",{}", place(host, *port));
        }
        let user = utf8_percent_encode(&self.user, KEPT);
        let vhost = utf8_percent_encode(&self.vhost, KEPT);
        write!(f, "{scheme}://{user}:{MASK}@{hosts}/{vhost}")
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
