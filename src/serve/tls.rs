//! Certificates, read at the start and anew at each SIGHUP.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::model::settings::keep_to_oneself;

use super::ServeError;

/// Where a certificate is found.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The chain, as PEM.
    pub chain: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

impl Certificate {
    pub(super) fn load(&self) -> Result<TlsAcceptor, ServeError> {
        let Self { chain: cert, key } = self;
        let fail = |path: &Path, what: String| ServeError::Tls { path: path.to_owned(), what };
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
}

/// SIGHUP, heard from when this is made: it never ends a server.
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
