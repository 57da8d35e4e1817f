//! Where a recorder tells its metrics, and to whom; the same for `listen` and `record`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::metrics::Endpoint;
use crate::model::settings::File;
use crate::serve::{Certificate, Token};

use super::Failure;

/// Where to tell metrics.
#[derive(Debug, clap::Args)]
pub(super) struct Metering {
    /// Tell Prometheus how the recorder is doing, at this address: /metrics, /healthz, /readyz; see src/docs/watching.md
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// File with the token that whoever reads them, or sees the page, has to show; beyond this machine there has to be one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Metering {
    /// Where, by flag or settings.
    pub(super) fn address(&self, file: &File) -> Result<Option<SocketAddr>, Failure> {
        Ok(if self.metrics.is_some() { self.metrics } else { file.metrics()? })
    }

    /// The file of the token, by flag or settings.
    pub(super) fn token_file(&self, file: &File) -> Result<Option<PathBuf>, Failure> {
        Ok(if self.token_file.is_some() { self.token_file.clone() } else { file.token_file()? })
    }

    /// Refuses a token that nobody is to show: neither metrics are read, nor is there a `page`.
    pub(super) fn refuse_idle_token(&self, file: &File, page: Option<SocketAddr>) -> Result<(), Failure> {
        if self.token_file.is_some() && page.is_none() && self.address(file)?.is_none() {
            return Err(Failure::usage(
                "--token-file is for who reads metrics, or sees the page: give --metrics or --page IP:PORT as well",
            ));
        }
        Ok(())
    }

    /// Whether metrics are told with a token or a certificate, which SIGHUP makes it read anew.
    pub(super) fn has_keys(&self, file: &File, certificate: Option<&Certificate>) -> Result<bool, Failure> {
        Ok(self.address(file)?.is_some() && (certificate.is_some() || self.token_file(file)?.is_some()))
    }

    /// What makes the endpoint, within the event loop, and says where it is; none where nobody asked for one.
    pub(super) fn endpoint(
        &self,
        file: &File,
        certificate: Option<Certificate>,
    ) -> Result<Option<impl FnOnce() -> Result<Endpoint, Failure> + use<>>, Failure> {
        let token = self.token_file(file)?;
        let Some(address) = self.address(file)? else { return Ok(None) };
        if token.is_none() && !address.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "everybody who reaches {address} could read the metrics: give --token-file FILE with a token (openssl rand -hex 16), or an address of this machine alone, as 127.0.0.1"
            )));
        }
        if certificate.is_none() && !address.ip().is_loopback() {
            warn!(
                "{address} is open to the network and speaks plain HTTP, which shows the token to whoever listens; give --tls-cert and --tls-key"
            );
        }
        let token = token.map(|path| Token::of_file(&path)).transpose()?;
        Ok(Some(move || {
            let endpoint = Endpoint::bind(address, token, certificate)?;
            super::say(format_args!("metrics at {}", endpoint.url()))
                .or_else(|failure| if matches!(failure, Failure::EndOfOutput) { Ok(()) } else { Err(failure) })?;
            Ok(endpoint)
        }))
    }
}
