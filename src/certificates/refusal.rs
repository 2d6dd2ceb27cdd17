//! What is said where one side does not accept the other's certificate: which thing is wrong, and what to set.

use time::OffsetDateTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, pki_types::UnixTime};

use super::{Certificate, moment};

/// Who is spoken to, and how its settings are called.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Who it is: `the broker`.
    pub peer: &'static str,
    /// The setting that holds the authorities that are trusted here.
    pub authority: &'static str,
    /// What to do where the certificate is of another name.
    pub name: &'static str,
    /// The settings that hold a certificate of our own.
    pub own: &'static str,
    /// Where the peer keeps the authorities that it trusts.
    pub its_authority: &'static str,
}

impl Side {
    /// What is wrong with the certificate that the peer has shown.
    #[must_use]
    pub fn refusal(&self, error: &CertificateError, shown: Option<&Certificate>) -> String {
        let Side { peer, authority, name: rename, .. } = self;
        match error {
            // Another key under the same name is another authority.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                let signer = shown.map_or("another authority".to_owned(), |shown| {
                    format!("the authority '{}'", shown.issuer)
                });
                format!(
                    "{peer}'s certificate is not trusted: it is signed by {signer}, which is none of those trusted here; \
                     set {authority} to the certificate of the authority that has signed it"
                )
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names = shown.map_or_else(|| plain(presented), |shown| shown.names.clone());
                let has = match &names[..] {
                    [] => "it has no names".to_owned(),
                    names => format!("it is for {}", names.join(", ")),
                };
                format!(
                    "{peer}'s certificate is not for the name {}: {has}; {rename}",
                    expected.to_str()
                )
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                let at = at(*not_after);
                let whose = match shown {
                    Some(shown) if Some(shown.not_after) != at => {
                        format!("a certificate of the authorities behind {peer}'s")
                    }
                    _ => format!("{peer}'s certificate"),
                };
                let since = at.map_or(String::new(), |at| format!(" on {}", moment(at)));
                format!("{whose} has expired{since}; it has to be renewed there")
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let [now, from] = [*time, *not_before].map(|time| at(time).map(moment));
                format!(
                    "{peer}'s certificate is not valid yet, but from {} on: it is {} by the clock of this machine; see \
                     which of the two is wrong",
                    from.unwrap_or_default(),
                    now.unwrap_or_default()
                )
            }
            error => format!("{peer}'s certificate is not accepted: {error}"),
        }
    }

    /// What the peer has against us, by the alert that ended the handshake. `asked` says whether it has asked for our
    /// certificate, and `own` is what it was given.
    #[must_use]
    pub fn alert(
        &self,
        alert: AlertDescription,
        asked: bool,
        own: Option<&Certificate>,
    ) -> Option<String> {
        use AlertDescription as Alert;
        let Side { peer, its_authority, .. } = self;
        let why = match alert {
            Alert::CertificateRequired => return Some(self.demands()),
            Alert::HandshakeFailure | Alert::BadCertificate if asked && own.is_none() => {
                return Some(self.demands());
            }
            Alert::UnknownCA => {
                format!("it does not trust that authority; add the authority to {its_authority}")
            }
            Alert::CertificateExpired => "it says that it has expired; renew it".to_owned(),
            Alert::CertificateRevoked => "it says that it is revoked; have another made".to_owned(),
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError => {
                format!(
                    "its alert says {alert:?}; its log may say more, and {its_authority} holds whom it trusts"
                )
            }
            Alert::HandshakeFailure if asked => {
                format!("see its log, and {its_authority}, which holds whom it trusts")
            }
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
                return Some(format!(
                    "{peer} and this side have no version of TLS or no cipher in common; let it offer TLS 1.2 or 1.3"
                ));
            }
            Alert::UnrecognisedName => {
                return Some(format!(
                    "{peer} does not know the name that is asked for; {}",
                    self.name
                ));
            }
            _ => return None,
        };
        let own = own.map_or(String::new(), |own| format!(", {}", own.words()));
        Some(format!("{peer} does not accept this side's certificate{own}: {why}"))
    }

    /// The peer wants a certificate, and there is none.
    #[must_use]
    pub fn demands(&self) -> String {
        let Side { peer, own, .. } = self;
        format!("{peer} demands a client certificate, and none is set; set {own}")
    }

    /// The peer has ended the connection once it had our certificate, and its alert was lost: a reset overtakes it.
    #[must_use]
    pub fn unexplained(&self, own: &Certificate, now: OffsetDateTime) -> String {
        let Side { peer, its_authority, .. } = self;
        let why = if own.not_after < now {
            "it has expired; renew it".to_owned()
        } else {
            format!("its log says why, and {its_authority} holds whom it trusts")
        };
        format!("{peer} does not accept this side's certificate, {}: {why}", own.words())
    }

    /// What was said is not TLS.
    #[must_use]
    pub fn no_tls(&self) -> String {
        format!(
            "what answers there speaks no TLS: TLS has another port, or is switched off on the side of {}",
            self.peer
        )
    }
}

/// Rustls writes `DnsName("localhost")`.
fn plain(presented: &[String]) -> Vec<String> {
    let between =
        |name: &String| name.split('"').nth(1).map_or_else(|| name.clone(), str::to_owned);
    presented.iter().map(between).collect()
}

fn at(time: UnixTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(time.as_secs()).ok()?).ok()
}
