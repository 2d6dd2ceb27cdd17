//! A new private key.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use rand::{TryRng as _, rngs::SysRng};
use zeroize::Zeroizing;

use super::file;
use crate::{
    commands::{print, settings::host_name},
    config::Environment,
    ledger::{KeyError, KeyFile, KeyName, SignerKey},
};

/// Options of `bloodbank-audit keys generate`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Into this file, which must not exist; only its owner will be able to read it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The key's name in what it signs, best a URL without scheme; without it, that of the old key, or bloodbank-audit/HOST
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<KeyName>,
    /// The key that it follows, which vouches for it: its private key's file
    #[arg(long, value_name = "OLDFILE")]
    rotates: Option<PathBuf>,
}

fn name(text: &str) -> Result<KeyName, KeyError> {
    KeyName::new(text)
}

impl Options {
    /// Makes the key, and prints its public key to stdout.
    ///
    /// # Errors
    /// The file exists or cannot be made, the old key cannot be read, or the system gives no random bytes.
    pub fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let old = self.rotates.as_deref().map(|path| file::read(path, environment)).transpose()?;
        let name = match (self.name, &old) {
            (Some(name), _) => name,
            (None, Some(old)) => old.signer().verifier().name().clone(),
            (None, None) => {
                let host = host_name();
                KeyName::new(format!("bloodbank-audit/{host}")).with_context(|| {
                    format!("no name can be made of this host's, {host:?}: give one by --name")
                })?
            }
        };
        let mut seed = Zeroizing::new([0; 32]);
        SysRng.try_fill_bytes(&mut *seed).context("the system gives no random bytes")?;
        let signer = SignerKey::from_seed(name, &seed);
        let key = match &old {
            Some(old) => KeyFile::endorsed(signer, old.signer()),
            None => KeyFile::new(signer),
        };
        file::create(&self.out, &key)?;
        // The file is what was asked for: a closed stderr does not undo it.
        let _ = writeln!(
            io::stderr(),
            "the private key is in {}, for ledger.key_file: let nobody who runs the database read it, and keep a copy in a safe place\n\
             the public key is on stdout: whoever checks what this one signs needs it, from you",
            self.out.display()
        );
        Ok(print::to_stdout(format!("{}\n", key.signer().verifier()).as_bytes()))
    }
}
