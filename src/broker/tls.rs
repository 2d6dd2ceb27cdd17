//! TLS towards the broker.

use std::{path::Path, sync::Arc};

use amqprs::tls::TlsAdaptor;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

use super::{Address, Fault, Kind};

/// Trusts `ca_file` where there is one, else what this machine trusts.
pub(super) fn connector(address: &Address) -> Result<TlsConnector, Fault> {
    Ok(TlsConnector::from(Arc::new(client(address.ca_file.as_deref())?)))
}

/// The same, before anything is connected by it.
pub(super) fn client(ca_file: Option<&Path>) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let wrong = |error: &dyn std::fmt::Display| {
                Fault::new(Kind::Clash, format!("rabbitmq.tls_ca_file {}: {error}", file.display()))
            };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                roots
                    .add(certificate.map_err(|error| wrong(&error))?)
                    .map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"holds no certificate"));
            }
        }
        None => {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
            if roots.is_empty() {
                return Err(Fault::new(
                    Kind::Refused,
                    "this machine trusts no certificate authority: install ca-certificates, or set rabbitmq.tls_ca_file",
                ));
            }
        }
    }
    trusting(roots)
}

/// For a client that wants one and is to speak without TLS.
pub(super) fn trusting_nobody() -> Result<ClientConfig, Fault> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, Fault> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::new(Kind::Refused, format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The same for the client.
pub(super) fn adaptor(address: &Address) -> Result<TlsAdaptor, Fault> {
    Ok(TlsAdaptor::new(connector(address)?, address.host.clone()))
}
