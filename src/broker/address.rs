//! Where a broker is, and as whom to log in.

use std::fmt;

use super::Trust;
use crate::shared::Shared;

/// A broker's address and the credentials for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Further hosts, and their ports, of the same cluster: tried in this order, where the first fails.
    pub others: Vec<(String, u16)>,
    /// Virtual host.
    pub vhost: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// What has taken the place of user and password since, for connections from then on.
    pub renewed: Shared<Option<Login>>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Whom to trust under TLS, and by which certificate to be known.
    pub trust: Trust,
    /// The name that the broker's certificate is to have, where it is not the host's.
    pub server_name: Option<String>,
    /// How to log in.
    pub auth: Auth,
}

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.user)
    }
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
    /// The same address once for each host, in the order in which they are tried.
    #[must_use]
    pub fn each(&self) -> Vec<Address> {
        let first = (self.host.clone(), self.port);
        let hosts = std::iter::once(first).chain(self.others.iter().cloned());
        hosts
            .map(|(host, port)| Address { host, port, others: Vec::new(), ..self.clone() })
            .collect()
    }

    /// As whom to log in now.
    pub(super) fn login(&self) -> Login {
        self.renewed
            .get()
            .unwrap_or_else(|| Login { user: self.user.clone(), password: self.password.clone() })
    }

    /// The same hosts, that of `first` before all others: who came there once tries it first.
    pub(super) fn led_by(&self, first: &Address) -> Address {
        let others = self.each().into_iter().map(|one| (one.host, one.port));
        let others = others.filter(|(host, port)| (host, *port) != (&first.host, first.port));
        Address { others: others.collect(), ..first.clone() }
    }

    /// The host as it stands before a port: an IPv6 address in brackets.
    pub(super) fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, one) in self.each().iter().enumerate() {
            let gap = if number == 0 { "" } else { "," };
            write!(f, "{gap}{}:{}", one.bracketed_host(), one.port)?;
        }
        write!(f, " vhost {:?}", self.vhost)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self}, user {:?}, tls {})", self.user, self.tls)
    }
}
