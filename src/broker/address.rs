//! Where a broker is, and as whom to log in.

use std::fmt;

use super::Trust;

/// A broker's address and the credentials for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Virtual host.
    pub vhost: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Whom to trust under TLS, and by which certificate to be known.
    pub trust: Trust,
    /// The name that the broker's certificate is to have, where it is not the host's.
    pub server_name: Option<String>,
    /// How to log in.
    pub auth: Auth,
}

/// How to prove who one is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Auth {
    /// By user name and password.
    #[default]
    Plain,
    /// By the client certificate, which also names the user. User name and password are not sent.
    External,
}

impl Address {
    /// The host as it stands before a port: an IPv6 address in brackets.
    pub(super) fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} vhost {:?}", self.bracketed_host(), self.port, self.vhost)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self}, user {:?}, tls {})", self.user, self.tls)
    }
}
