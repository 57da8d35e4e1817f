//! How pushes are received: secrets, certificates, where; the same for `listen` and `record --listen`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::intake::webhook::{Keys, Limits, Receiver};
use crate::model::settings::Secret;
use crate::serve::Certificate;

use super::Failure;

/// The variable that holds the signature secret.
pub(super) const SECRET: &str = "DT_SIGNATURE_SECRET";

/// How to receive pushes.
#[derive(Debug, clap::Args)]
pub(super) struct Listening {
    /// File with the signature secret of the Data Connector [default: the variable DT_SIGNATURE_SECRET, which no longer counts with
    /// this]; may be given several times while a secret is being changed
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Take pushes from everybody who reaches the address
    #[arg(long, conflicts_with = "secret_file")]
    allow_unsigned: bool,
    /// Certificate chain (PEM) to speak TLS with; read anew at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Listening {
    /// The first of its flags that is given, apart from those on the certificate.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [("--secret-file", !self.secret_file.is_empty()), ("--allow-unsigned", self.allow_unsigned)];
        flags.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
    }

    /// What to speak TLS with, at every address.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.tls_cert.clone().zip(self.tls_key.clone()).map(|(chain, key)| Certificate { chain, key })
    }

    /// The secret of the environment, where no file replaces it.
    fn secret(&self) -> Result<Option<Secret>, Failure> {
        let variable = std::env::var_os(SECRET).filter(|secret| !secret.is_empty() && !self.allow_unsigned);
        let Some(secret) = variable else { return Ok(None) };
        if !self.secret_file.is_empty() {
            warn!("{SECRET} is set as well, and not used: --secret-file takes its place");
            return Ok(None);
        }
        let secret = secret.to_str().ok_or("it is no UTF-8").and_then(Secret::shared);
        secret.map(Some).map_err(|why| Failure::usage(format!("{SECRET}: {why}")))
    }

    /// What makes the receiver, within the event loop, and says where it listens.
    pub(super) fn receiver(&self, address: SocketAddr) -> Result<impl FnOnce() -> Result<Receiver, Failure> + use<>, Failure> {
        let secret = self.secret()?;
        match (self.allow_unsigned, secret.is_some() || !self.secret_file.is_empty()) {
            (false, false) => {
                return Err(Failure::usage(format!(
                    "no signature secret: give --secret-file FILE or set {SECRET}, the same as in the cloud's Data Connector; without one anybody could push (--allow-unsigned, to try things at home)"
                )));
            }
            (true, _) => {
                warn!("--allow-unsigned keeps whatever anybody pushes to {address}; events can be forged");
            }
            (false, true) => {}
        }
        let certificate = self.certificate();
        if certificate.is_none() && !address.ip().is_loopback() {
            warn!(
                "{address} is open to the network and speaks plain HTTP; give --tls-cert and --tls-key, or put a proxy with TLS before it"
            );
        }
        let keys = Keys { secret_files: self.secret_file.clone(), secret, certificate };
        Ok(move || {
            let receiver = Receiver::bind(address, keys, Limits::default())?;
            // Who started it may have read what it wanted to know and closed the pipe; the receiver goes on.
            super::say(format_args!("listening on {}", receiver.url()))
                .or_else(|failure| if matches!(failure, Failure::EndOfOutput) { Ok(()) } else { Err(failure) })?;
            Ok(receiver)
        })
    }
}
