//! TLS towards the broker. Files are read at each connection, so that the next one goes by what they hold then.

mod seen;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use amqprs::tls::TlsAdaptor;
use time::OffsetDateTime;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        client::WebPkiServerVerifier,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        sign::CertifiedKey,
    },
};

use super::{Address, Fault, Kind};
use crate::certificates::{Certificate, LOCKED, Side, is_locked, of_pem};

pub(super) use seen::Seen;

/// How the broker is spoken of, and the settings that concern it.
pub(super) const BROKER: Side = Side {
    peer: "the broker",
    authority: "rabbitmq.tls_ca_file",
    name: "connect by one of its names, or set rabbitmq.tls_server_name to one",
    own: "rabbitmq.tls_client_cert and rabbitmq.tls_client_key",
    its_authority: "its ssl_options.cacertfile",
};

/// Whom to trust, and by what to be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificate authorities to trust, in PEM; the system's where there is none.
    pub ca_file: Option<PathBuf>,
    /// A certificate of our own.
    pub identity: Option<Identity>,
}

/// A certificate of our own, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM file of the certificate, and of those between it and its authority.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// Until when the certificates of a connection are valid; none where there is no such certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry {
    /// The broker's.
    pub broker: Option<OffsetDateTime>,
    /// Our own.
    pub client: Option<OffsetDateTime>,
}

impl Trust {
    /// Until when our own certificate is valid, by its file; none where there is none that can be read.
    #[must_use]
    pub fn expiry(&self) -> Option<OffsetDateTime> {
        Certificate::of_file(&self.identity.as_ref()?.certificate).ok().map(|own| own.not_after)
    }

    /// Reads the files, to find out at once whether they can be used.
    ///
    /// # Errors
    /// A [`Fault`] of kind [`Kind::Clash`] that names the file and what is wrong with it.
    pub fn look(&self) -> Result<(), Fault> {
        self.client(&Arc::default()).map(drop).map_err(|fault| Fault { kind: Kind::Clash, ..fault })
    }

    /// A client that goes by it, and that notes what it sees.
    pub(super) fn client(&self, seen: &Arc<Seen>) -> Result<ClientConfig, Fault> {
        let roots = Arc::new(match &self.ca_file {
            Some(file) => authorities(file)?,
            None => of_this_machine()?,
        });
        let identity = self.identity.as_ref().map(Identity::read).transpose()?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| refused(format!("TLS: {error}")))?;
        Ok(builder(provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(seen::Verifier::new(verifier, seen)))
            .with_client_cert_resolver(Arc::new(seen::Resolver::new(identity, seen))))
    }
}

impl Identity {
    fn read(&self) -> Result<CertifiedKey, Fault> {
        let Identity { certificate, key } = self;
        let wrong = |setting: &str, file: &Path, what: String| {
            refused(format!("rabbitmq.{setting} {}: {what}", file.display()))
        };
        let of_certificate = |error| wrong("tls_client_cert", certificate, of_pem(&error));
        let chain = CertificateDer::pem_file_iter(certificate)
            .map_err(of_certificate)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(of_certificate)?;
        if chain.is_empty() {
            return Err(wrong("tls_client_cert", certificate, "holds no certificate".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            let what = if is_locked(key) { LOCKED.to_owned() } else { of_pem(&error) };
            wrong("tls_client_key", key, what)
        })?;
        CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| {
            let what = format!(
                "it is no key of the certificate in rabbitmq.tls_client_cert {} ({error})",
                certificate.display()
            );
            wrong("tls_client_key", key, what)
        })
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, Fault> {
    let wrong = |error: &dyn std::fmt::Display| {
        refused(format!("rabbitmq.tls_ca_file {}: {error}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(file).map_err(|error| wrong(&of_pem(&error)))?
    {
        roots
            .add(certificate.map_err(|error| wrong(&of_pem(&error)))?)
            .map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"holds no certificate"));
    }
    Ok(roots)
}

fn of_this_machine() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(refused(
            "this machine trusts no certificate authority: install ca-certificates, or set rabbitmq.tls_ca_file",
        ));
    }
    Ok(roots)
}

/// For a client that wants one and is to speak without TLS.
pub(super) fn trusting_nobody() -> Result<ClientConfig, Fault> {
    let client = builder(Arc::new(ring::default_provider()))?;
    Ok(client.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<
    tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier>,
    Fault,
> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(format!("TLS: {error}")))
}

/// Somebody may be replacing the file just now.
fn refused(message: impl Into<String>) -> Fault {
    Fault::new(Kind::Refused, message)
}

/// What one connection is secured by.
pub(super) struct Secured {
    connector: TlsConnector,
    name: String,
    /// What comes of it.
    pub seen: Arc<Seen>,
}

impl Secured {
    /// For a connection to that address; none where it is to be plain.
    pub fn of(address: &Address) -> Result<Option<Secured>, Fault> {
        if !address.tls {
            return Ok(None);
        }
        let seen = Arc::default();
        let connector = TlsConnector::from(Arc::new(address.trust.client(&seen)?));
        let name = address.server_name.clone().unwrap_or_else(|| address.host.clone());
        Ok(Some(Secured { connector, name, seen }))
    }

    /// For the AMQP client.
    pub fn adaptor(&self) -> TlsAdaptor {
        TlsAdaptor::new(self.connector.clone(), self.name.clone())
    }

    /// Shakes hands over a socket.
    pub async fn connect(
        &self,
        socket: tokio::net::TcpStream,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        let name = ServerName::try_from(self.name.clone()).map_err(std::io::Error::other)?;
        self.connector.connect(name, socket).await
    }
}
