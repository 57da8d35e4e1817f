//! Keys: signature secrets and TLS certificates, read at the start and anew at each SIGHUP.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::cloud::push::Verifier;
use crate::model::settings::{Secret, keep_to_oneself, read_secret};

use super::ListenError;

/// Where secrets and certificates are found.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// A file for each signature secret that is good.
    pub secret_files: Vec<PathBuf>,
    /// A signature secret given otherwise.
    pub secret: Option<Secret>,
    /// Certificate chain and key, as PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Secrets and certificates, read.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) trust: Verifier,
    pub(super) tls: Option<TlsAcceptor>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Guard").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl Keys {
    /// Whether there is something to read anew.
    pub(super) fn has_files(&self) -> bool {
        self.tls.is_some() || !self.secret_files.is_empty()
    }

    pub(super) fn load(&self) -> Result<Guard, ListenError> {
        let mut secrets: Vec<Secret> = self.secret.iter().cloned().collect();
        for path in &self.secret_files {
            secrets.push(read_secret(path)?);
        }
        let trust = if secrets.is_empty() { Verifier::Everybody } else { Verifier::Signed(secrets) };
        let tls = self.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
        Ok(Guard { trust, tls })
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ListenError> {
    let fail = |path: &Path, what: String| ListenError::Tls { path: path.to_owned(), what };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fail(cert, format!("no certificate in PEM: {error}")))?;
    keep_to_oneself(key)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, format!("no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| fail(cert, format!("certificate and key do not do: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// SIGHUP, heard from when this is made: it never ends a receiver.
#[derive(Debug)]
pub(super) struct Hangup(#[cfg(unix)] tokio::signal::unix::Signal);

impl Hangup {
    /// Must be made within an event loop.
    ///
    /// # Errors
    /// When the system has no signals for us: changed secrets would never be read.
    pub(super) fn hear() -> io::Result<Self> {
        Ok(Self(
            #[cfg(unix)]
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        ))
    }

    /// Resolves at the next one.
    pub(super) async fn comes(&mut self) {
        #[cfg(unix)]
        if self.0.recv().await.is_some() {
            return;
        }
        std::future::pending::<()>().await;
    }
}
