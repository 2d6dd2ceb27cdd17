//! What a handshake showed. The AMQP client tells of one that failed in the words of an input error, and of one that
//! went well nothing.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio_rustls::rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

use super::{BROKER, Expiry};
use crate::{certificates::Certificate, event::now};

/// What was seen of both sides in one handshake.
#[derive(Debug, Default)]
pub struct Seen {
    /// What the broker showed.
    shown: OnceLock<Certificate>,
    /// Why it was not accepted.
    verdict: Mutex<Option<CertificateError>>,
    /// Whether the broker asked for a certificate of ours.
    asked: AtomicBool,
    own: OnceLock<Certificate>,
}

/// The alerts that tell something of certificates, or of what both sides can.
const ALERTS: &[AlertDescription] = &[
    AlertDescription::CertificateRequired,
    AlertDescription::HandshakeFailure,
    AlertDescription::BadCertificate,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
    AlertDescription::ProtocolVersion,
    AlertDescription::InsufficientSecurity,
    AlertDescription::UnrecognisedName,
];

impl Seen {
    /// What is wrong between the two, where a connection failed with that error; none where TLS is not known to be at
    /// fault. The broker hears of our certificate last, and what it has against it may come in place of its first words.
    pub fn trouble(&self, error: &str) -> Option<String> {
        let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, own) = (self.shown.get(), self.own.get());
        if let Some(verdict) = &*verdict {
            return Some(BROKER.refusal(verdict, shown));
        }
        let asked = self.asked.load(Ordering::Relaxed);
        let received = error.split_once("received fatal alert: ").map(|(_, alert)| alert);
        if let Some(received) = received {
            let alert = ALERTS.iter().find(|alert| received.starts_with(&format!("{alert:?}")));
            return BROKER.alert(*alert?, asked, own);
        }
        if error.contains("corrupt message") {
            return Some(BROKER.no_tls());
        }
        None
    }

    /// The broker asked for a certificate, there was none, and nothing came of the connection.
    pub fn left_wanting(&self) -> Option<String> {
        let asked = self.asked.load(Ordering::Relaxed);
        (asked && self.own.get().is_none()).then(|| BROKER.demands())
    }

    /// The broker asked for our certificate, was given it, and ended the connection before its first words.
    pub fn turned_away(&self) -> Option<String> {
        let asked = self.asked.load(Ordering::Relaxed);
        self.own.get().filter(|_| asked).map(|own| BROKER.unexplained(own, now()))
    }

    /// Until when the certificates are valid that were shown.
    pub fn expiry(&self) -> Expiry {
        let until = |certificate: &OnceLock<Certificate>| certificate.get().map(|c| c.not_after);
        Expiry { broker: until(&self.shown), client: until(&self.own) }
    }
}

/// Verifies as rustls does, and notes what it verifies.
#[derive(Debug)]
pub struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    seen: Arc<Seen>,
}

impl Verifier {
    pub fn new(verifier: Arc<WebPkiServerVerifier>, seen: &Arc<Seen>) -> Verifier {
        Verifier { verifier, seen: Arc::clone(seen) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(shown) = Certificate::of_der(end_entity) {
            self.seen.shown.get_or_init(|| shown);
        }
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if let Err(Error::InvalidCertificate(error)) = &verified {
            let mut verdict = self.seen.verdict.lock().unwrap_or_else(PoisonError::into_inner);
            *verdict = Some(error.clone());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Gives our certificate to whoever asks for one, and notes that it was asked for.
#[derive(Debug)]
pub struct Resolver {
    identity: Option<Arc<CertifiedKey>>,
    seen: Arc<Seen>,
}

impl Resolver {
    pub fn new(identity: Option<CertifiedKey>, seen: &Arc<Seen>) -> Resolver {
        let own = identity.as_ref().and_then(|own| Certificate::of_der(own.cert.first()?));
        if let Some(own) = own {
            seen.own.get_or_init(|| own);
        }
        Resolver { identity: identity.map(Arc::new), seen: Arc::clone(seen) }
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.seen.asked.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}
