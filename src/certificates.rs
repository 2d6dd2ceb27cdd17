//! Certificates: what stands in one, and what is said where one is not accepted, for the broker and the database alike.

mod refusal;

use std::{net::IpAddr, path::Path};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_rustls::rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject as _},
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

pub use refusal::Side;

/// What is of interest in a certificate. Nothing in it can make a terminal stumble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for, as a distinguished name.
    pub subject: String,
    /// Who signed it, as a distinguished name.
    pub issuer: String,
    /// The names and addresses of servers that it is for.
    pub names: Vec<String>,
    /// From when on it is valid.
    pub not_before: OffsetDateTime,
    /// Until when it is valid.
    pub not_after: OffsetDateTime,
}

impl Certificate {
    /// Reads one in DER; none where it is no certificate.
    #[must_use]
    pub fn of_der(der: &[u8]) -> Option<Certificate> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let validity = parsed.validity();
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().filter_map(name).collect(),
            _ => Vec::new(),
        };
        Some(Certificate {
            subject: visible(&parsed.subject().to_string()),
            issuer: visible(&parsed.issuer().to_string()),
            names,
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
        })
    }

    /// Reads the first one of a PEM file: that of its owner, the others are of authorities.
    ///
    /// # Errors
    /// There is no such file, or no certificate in it, in words.
    pub fn of_file(path: &Path) -> Result<Certificate, String> {
        let der = CertificateDer::from_pem_file(path).map_err(|error| of_pem(&error))?;
        Certificate::of_der(&der).ok_or_else(|| "it holds no certificate".to_owned())
    }

    /// Whose it is, who signed it and until when it is valid, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let Certificate { subject, issuer, .. } = self;
        format!("of '{subject}', signed by '{issuer}', valid until {}", moment(self.not_after))
    }
}

/// What is wrong with a PEM file, in words.
#[must_use]
pub fn of_pem(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds nothing of that kind in PEM".to_owned(),
        error => error.to_string(),
    }
}

/// Whether the file holds a private key that takes a passphrase, in PKCS #8 or the older form.
#[must_use]
pub fn is_locked(key: &Path) -> bool {
    std::fs::read_to_string(key).is_ok_and(|text| text.contains("ENCRYPTED"))
}

/// What to do about such a key.
pub const LOCKED: &str = "it takes a passphrase, which nobody is there to type; write it without one (openssl pkey -in OLD -out NEW), for this \
                          user alone to read";

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(visible(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Whoever listens at a port may show what they like.
fn visible(text: &str) -> String {
    text.escape_debug().collect()
}

/// A moment, as it is shown.
#[must_use]
pub fn moment(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}
