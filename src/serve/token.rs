//! A token: what somebody beyond this machine has to know to be answered.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use hmac::{Hmac, KeyInit, Mac};
use hyper::Request;
use hyper::header::AUTHORIZATION;
use sha2::Sha256;

use crate::model::settings::{Secret, SettingsError, read_secret};

/// The token of a file, read anew at SIGHUP.
#[derive(Debug)]
pub struct Token {
    path: PathBuf,
    secret: RwLock<Secret>,
}

impl Token {
    /// Reads a token from a file of its own.
    ///
    /// # Errors
    /// When it does not read, is open to everybody on this machine, or is one that anybody would guess.
    pub fn of_file(path: &Path) -> Result<Self, SettingsError> {
        Ok(Self { path: path.to_owned(), secret: RwLock::new(read_secret(path)?) })
    }

    /// Reads it anew.
    ///
    /// # Errors
    /// As for [`Token::of_file`]; it stays as it was.
    pub fn reload(&self) -> Result<(), SettingsError> {
        let secret = read_secret(&self.path)?;
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = secret;
        Ok(())
    }

    /// What only who knows it can say of a text, as hexadecimal digits; nobody gets it out of that. None where there is no such thing.
    pub fn sign(&self, text: &str) -> Option<String> {
        let secret = self.secret.read().unwrap_or_else(PoisonError::into_inner);
        let tag = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?.chain_update(text).finalize();
        Some(base16ct::lower::encode_string(&tag.into_bytes()))
    }

    /// Whether a text is signed so; in a time that tells nothing of how much of it is right.
    pub fn has_signed(&self, text: &str, signature: &str) -> bool {
        let secret = self.secret.read().unwrap_or_else(PoisonError::into_inner);
        let tag = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok().map(|tag| tag.chain_update(text));
        let said = base16ct::lower::decode_vec(signature);
        tag.zip(said.ok()).is_some_and(|(tag, said)| tag.verify_slice(&said).is_ok())
    }

    /// Whether this is it; in a time that tells nothing of how much of it is right.
    pub fn is(&self, given: &str) -> bool {
        let secret = self.secret.read().unwrap_or_else(PoisonError::into_inner);
        let tag =
            |text: &str| Some(Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?.chain_update(text).finalize());
        tag(given).is_some_and(|given| Some(given) == tag(secret.reveal()))
    }

    /// Whether a request shows it as `Authorization: Bearer TOKEN`.
    pub fn is_borne_by<B>(&self, request: &Request<B>) -> bool {
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let borne = header.and_then(|header| header.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        borne.is_some_and(|(_, given)| self.is(given.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_itself_alone_and_what_is_read_anew_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            #[cfg(unix)]
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        };
        write("hunter2\n");
        let token = Token::of_file(&path).unwrap();
        assert!(token.is("hunter2") && !token.is("hunter") && !token.is("hunter22") && !token.is(""));
        let bears = |header: &str| token.is_borne_by(&Request::builder().header(AUTHORIZATION, header).body(()).unwrap());
        assert!(bears("Bearer hunter2") && bears("bearer  hunter2"));
        assert!(!bears("Basic hunter2") && !bears("hunter2") && !bears("Bearer"));
        assert!(!token.is_borne_by(&Request::builder().body(()).unwrap()));
        let signature = token.sign("a cookie").unwrap();
        assert!(token.has_signed("a cookie", &signature) && !signature.contains("hunter"));
        assert!(!token.has_signed("a cookie", "hunter2") && !token.has_signed("another", &signature));
        write("aaaa");
        assert!(token.reload().is_err() && token.is("hunter2"));
        write("hunter3");
        token.reload().unwrap();
        assert!(token.is("hunter3") && !token.is("hunter2"));
        assert!(!format!("{token:?}").contains("hunter"));
    }
}
