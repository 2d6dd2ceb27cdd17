//! A private authority, and what it certifies.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use time::{Duration, OffsetDateTime};

/// An authority whose certificates are written into a directory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    /// Its own certificate.
    pub file: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// From when until when, in days from now.
pub type Days = (i64, i64);

/// A certificate that is valid for long enough that nobody is warned.
pub const VALID: Days = (-1, 365);
/// One that was.
pub const EXPIRED: Days = (-20, -2);

impl Issued {
    /// The same with a key that a passphrase locks.
    pub fn with_locked_key(&self) -> Result<Issued> {
        let key = self.key.with_extension("locked");
        let written = std::process::Command::new("openssl")
            .args(["pkey", "-aes256", "-passout", "pass:secret", "-in"])
            .args([&self.key, std::path::Path::new("-out"), &key])
            .status()?;
        anyhow::ensure!(written.success(), "openssl ended with {written}");
        Ok(Issued { key, ..self.clone() })
    }
}

impl Authority {
    /// One of that name, with its certificate in `directory`.
    pub fn new(directory: &Path, name: &str) -> Result<Authority> {
        let mut params = params(name, &[], VALID)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = directory.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem())?;
        Ok(Authority { issuer, directory: directory.to_owned(), file })
    }

    /// A certificate for a server of these names, or for a client of that common name, in `file.pem` and `file.key`. What
    /// was there is replaced.
    pub fn issues(&self, file: &str, name: &str, names: &[&str], days: Days) -> Result<Issued> {
        let mut params = params(name, names, days)?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let [pem, private] = ["pem", "key"].map(|end| self.directory.join(format!("{file}.{end}")));
        std::fs::write(&pem, certificate.pem())?;
        std::fs::write(&private, key.serialize_pem())?;
        // PostgreSQL takes no key that others may read.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&private, mode)?;
        Ok(Issued { certificate: pem, key: private })
    }
}

fn params(name: &str, names: &[&str], (from, until): Days) -> Result<CertificateParams> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now + Duration::days(from);
    params.not_after = now + Duration::days(until);
    Ok(params)
}
