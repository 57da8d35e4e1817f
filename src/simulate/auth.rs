//! Credentials: Basic, and OAuth2 with a signed token (RFC 7523) for an access token.

use super::clock::FOREVER;
use crate::base::time::instant;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fastrand::Rng;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far a client's clock may be ahead of ours.
const SKEW: i64 = 60;

/// Why somebody may not come in. Clients see less of it than tests do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthError {
    #[error("no credentials")]
    Missing,
    #[error("neither Basic nor Bearer")]
    Scheme,
    #[error("wrong key or secret")]
    Basic,
    #[error("unknown or expired access token")]
    Token,
    #[error("the assertion is no signed token")]
    Malformed,
    #[error("the algorithm is not HS256")]
    Algorithm,
    #[error("unknown key id")]
    Key,
    #[error("wrong signature")]
    Signature,
    #[error("wrong issuer")]
    Issuer,
    #[error("wrong audience")]
    Audience,
    #[error("expired, not valid yet, or valid for more than an hour")]
    Time,
}

/// The service account and the access tokens given out.
#[derive(Debug)]
pub(super) struct Auth {
    key: String,
    secret: String,
    email: String,
    pub(super) life: Duration,
    tokens: Mutex<(HashMap<String, Token>, Rng)>,
}

/// An access token that was given out.
#[derive(Debug, Clone, Copy)]
struct Token {
    expiry: Instant,
    /// No stream opens with it any more.
    soured: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

#[derive(Deserialize)]
struct Claims {
    iat: f64,
    exp: f64,
    aud: Audience,
    iss: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Auth {
    pub(super) fn new(key: &str, secret: &str, email: &str, life: Duration) -> Self {
        let (key, secret, email) = (key.to_owned(), secret.to_owned(), email.to_owned());
        Self { key, secret, email, life, tokens: Mutex::new((HashMap::new(), Rng::new())) }
    }

    /// Checks an `Authorization` header.
    pub(super) fn header(&self, header: &str) -> Result<(), AuthError> {
        let (scheme, value) = header.split_once(' ').ok_or(AuthError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => self.token(value.trim()),
            "basic" => {
                let given = STANDARD.decode(value.trim()).map_err(|_| AuthError::Basic)?;
                let right = format!("{}:{}", self.key, self.secret);
                if given == right.as_bytes() { Ok(()) } else { Err(AuthError::Basic) }
            }
            _ => Err(AuthError::Scheme),
        }
    }

    /// Checks an access token.
    pub(super) fn token(&self, token: &str) -> Result<(), AuthError> {
        match self.tokens().0.get(token) {
            Some(token) if token.expiry > instant() => Ok(()),
            _ => Err(AuthError::Token),
        }
    }

    fn tokens(&self) -> MutexGuard<'_, (HashMap<String, Token>, Rng)> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When an access token dies.
    pub(super) fn expiry(&self, token: &str) -> Option<Instant> {
        self.tokens().0.get(token).map(|token| token.expiry)
    }

    /// From now on no stream opens with this token.
    pub(super) fn sour(&self, token: &str) {
        if let Some(token) = self.tokens().0.get_mut(token) {
            token.soured = true;
        }
    }

    /// Whether the token is too bad for streams.
    pub(super) fn soured(&self, token: &str) -> bool {
        self.tokens().0.get(token).is_none_or(|token| token.soured)
    }

    /// A new access token.
    pub(super) fn issue(&self) -> String {
        let mut tokens = self.tokens();
        let now = instant();
        tokens.0.retain(|_, token| token.expiry > now);
        let token = format!("{:032x}{:032x}", tokens.1.u128(..), tokens.1.u128(..));
        tokens.0.insert(token.clone(), Token { expiry: now + self.life.min(FOREVER), soured: false });
        token
    }

    /// Checks a signed token of the service account.
    pub(super) fn assertion(&self, jwt: &str, now: i64) -> Result<(), AuthError> {
        let parts: Vec<&str> = jwt.split('.').collect();
        let &[head, claims, signature] = parts.as_slice() else { return Err(AuthError::Malformed) };
        let header: Header = part(head)?;
        if header.alg != "HS256" {
            return Err(AuthError::Algorithm);
        }
        if header.kid != self.key {
            return Err(AuthError::Key);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| AuthError::Malformed)?;
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).map_err(|_| AuthError::Signature)?;
        let mac = mac.chain_update(head).chain_update(".").chain_update(claims);
        mac.verify_slice(&signature).map_err(|_| AuthError::Signature)?;

        let claims: Claims = part(claims)?;
        if claims.iss != self.email {
            return Err(AuthError::Issuer);
        }
        let ours = |aud: &String| aud.ends_with("/oauth2/token");
        let meant = match &claims.aud {
            Audience::One(aud) => ours(aud),
            Audience::Many(auds) => auds.iter().any(ours),
        };
        if !meant {
            return Err(AuthError::Audience);
        }
        let (now, skew) = (seconds(now), seconds(SKEW));
        let valid = claims.exp > now && claims.iat <= now + skew && claims.exp - claims.iat <= 3600.0;
        if valid { Ok(()) } else { Err(AuthError::Time) }
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| AuthError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| AuthError::Malformed)
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
fn seconds(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn jwt(header: &str, claims: &str, secret: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key does").chain_update(&text);
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn try_claims(claims: &str) -> Result<(), AuthError> {
        let auth = Auth::new("k", "s", "e@x", Duration::from_hours(1));
        auth.assertion(&jwt(r#"{"alg":"HS256","kid":"k"}"#, claims, "s"), NOW)
    }

    fn claims(iat: i64, exp: i64, aud: &str, iss: &str) -> String {
        format!(r#"{{"iat":{iat},"exp":{exp},"aud":{aud},"iss":"{iss}"}}"#)
    }

    #[test]
    fn a_signed_token_is_refused_for_each_wrong_thing() {
        let aud = r#""http://h/oauth2/token""#;
        let good = claims(NOW, NOW + 3600, aud, "e@x");
        assert_eq!(try_claims(&good), Ok(()));
        assert_eq!(try_claims(&claims(NOW - 5, NOW + 9, r#"["x","https://h/oauth2/token"]"#, "e@x")), Ok(()));
        assert_eq!(try_claims(&claims(NOW, NOW + 3601, aud, "e@x")), Err(AuthError::Time));
        assert_eq!(try_claims(&claims(NOW - 3600, NOW, aud, "e@x")), Err(AuthError::Time));
        assert_eq!(try_claims(&claims(NOW + 600, NOW + 900, aud, "e@x")), Err(AuthError::Time));
        assert_eq!(try_claims(&claims(NOW, NOW + 9, r#""http://h/other""#, "e@x")), Err(AuthError::Audience));
        assert_eq!(try_claims(&claims(NOW, NOW + 9, aud, "f@x")), Err(AuthError::Issuer));
        assert_eq!(try_claims("{}"), Err(AuthError::Malformed));

        let auth = Auth::new("k", "s", "e@x", Duration::from_hours(1));
        let with = |header: &str, secret: &str| auth.assertion(&jwt(header, &good, secret), NOW);
        assert_eq!(with(r#"{"alg":"HS256","kid":"k","typ":"JWT"}"#, "s"), Ok(()));
        assert_eq!(with(r#"{"alg":"HS256","kid":"k"}"#, "t"), Err(AuthError::Signature));
        assert_eq!(with(r#"{"alg":"HS256","kid":"j"}"#, "s"), Err(AuthError::Key));
        assert_eq!(with(r#"{"alg":"none","kid":"k"}"#, "s"), Err(AuthError::Algorithm));
        assert_eq!(auth.assertion("a.b", NOW), Err(AuthError::Malformed));
    }

    #[test]
    fn access_tokens_are_random_and_expire() {
        let auth = Auth::new("k", "s", "e", Duration::from_hours(1));
        let (a, b) = (auth.issue(), auth.issue());
        assert_ne!(a, b);
        assert_eq!(auth.header(&format!("Bearer {a}")), Ok(()));
        assert_eq!(auth.token("x"), Err(AuthError::Token));
        assert_eq!(auth.header(&format!("Basic {}", STANDARD.encode("k:s"))), Ok(()));
        assert_eq!(auth.header(&format!("Basic {}", STANDARD.encode("k:t"))), Err(AuthError::Basic));
        let dead = Auth::new("k", "s", "e", Duration::ZERO);
        assert_eq!(dead.token(&dead.issue()), Err(AuthError::Token));
    }
}
