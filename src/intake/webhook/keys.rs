//! Keys: signature secrets, read at the start and anew at each SIGHUP, and where the certificate is.

use std::path::PathBuf;

use crate::cloud::push::Verifier;
use crate::model::settings::{Secret, read_secret};
use crate::serve::{Certificate, ServeError};

/// Where secrets and certificates are found.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// A file for each signature secret that is good.
    pub secret_files: Vec<PathBuf>,
    /// A signature secret given otherwise.
    pub secret: Option<Secret>,
    /// What to speak TLS with.
    pub certificate: Option<Certificate>,
}

impl Keys {
    /// Who may push, by the secrets as they are now.
    pub(super) fn trust(&self) -> Result<Verifier, ServeError> {
        let mut secrets: Vec<Secret> = self.secret.iter().cloned().collect();
        for path in &self.secret_files {
            secrets.push(read_secret(path)?);
        }
        Ok(if secrets.is_empty() { Verifier::Everybody } else { Verifier::Signed(secrets) })
    }
}
