//! Push: what the cloud's Data Connector sends, and how to tell that it was the cloud.
//!
//! A push is one event a request: `{"event":…,"labels":{…},"metadata":{…}}`, signed by a token in [`SIGNATURE`]: HS256, with
//! the SHA-256 of the body's bytes among its claims. Everything here is checked before the body is parsed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::base::time::{Micros, SECOND};
use crate::model::event::{DeviceRow, Labels};
use crate::model::settings::Secret;

/// The header with the signature.
pub const SIGNATURE: &str = "x-dt-signature";
/// Longest text of what a push says of its device, in bytes.
const TEXT_MAX: usize = 256;
/// Two clocks may differ by so much.
const SKEW: Micros = 5 * 60 * SECOND;

/// Why a push is not believed. The sender is not told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum SignatureError {
    /// No signature at all.
    #[error("it is not signed (the header X-Dt-Signature is missing); set the same signature secret in the cloud")]
    Unsigned,
    /// The header holds no signed token.
    #[error("its signature is no signed token")]
    Malformed,
    /// Another algorithm, such as `none`.
    #[error("its signature is not by HS256")]
    Algorithm,
    /// Signed with another secret.
    #[error("it is signed with another secret; compare the signature secret here with the one in the cloud")]
    Forged,
    /// The signature is no longer good.
    #[error("its signature has expired; check this machine's clock")]
    Stale,
    /// The signature is not good yet.
    #[error("its signature is from the future; check this machine's clock")]
    Early,
    /// The body is not the one that was signed.
    #[error("its body is not the one that was signed; something on the way may have changed it")]
    Tampered,
}

/// Who may push.
#[derive(Debug, Clone)]
pub enum Verifier {
    /// Who signs with one of these secrets; several, so that a secret can be changed without a pause.
    Signed(Vec<Secret>),
    /// Everybody.
    Everybody,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    checksum_sha256: String,
    exp: i64,
    iat: i64,
}

impl Verifier {
    /// Checks the signature before the body is read, so that nobody without the secret can make us read one; in constant
    /// time where a secret is concerned. `now` is this machine's clock.
    ///
    /// # Errors
    /// When the sender is not to be believed, with the reason.
    pub fn verify(&self, signature: Option<&[u8]>, now: Micros) -> Result<SignedChecksum, SignatureError> {
        let Self::Signed(secrets) = self else { return Ok(SignedChecksum(None)) };
        let token = std::str::from_utf8(signature.ok_or(SignatureError::Unsigned)?).map_err(|_| SignatureError::Malformed)?;
        let (signed, tag) = token.trim().rsplit_once('.').ok_or(SignatureError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(SignatureError::Malformed)?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| SignatureError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| SignatureError::Malformed)?;
        if header.alg != "HS256" {
            return Err(SignatureError::Algorithm);
        }
        let tag = decode(tag)?;
        // No short cut at the first secret that fits: how many there are is not to be told by time.
        let fits = secrets.iter().filter(|secret| {
            Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
                .is_ok_and(|mac| mac.chain_update(signed).verify_slice(&tag).is_ok())
        });
        if fits.count() == 0 {
            return Err(SignatureError::Forged);
        }
        // From here on the claims are the cloud's own.
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| SignatureError::Malformed)?;
        if claims.exp.saturating_mul(SECOND).saturating_add(SKEW) < now {
            return Err(SignatureError::Stale);
        }
        if claims.iat.saturating_mul(SECOND).saturating_sub(SKEW) > now {
            return Err(SignatureError::Early);
        }
        Ok(SignedChecksum(Some(claims.checksum_sha256)))
    }
}

/// A good signature's word on the body: its SHA-256 in hex; none when everybody is trusted.
#[derive(Debug)]
pub struct SignedChecksum(Option<String>);

impl SignedChecksum {
    /// Checks that these bytes are the ones that were signed.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&self, body: &[u8]) -> Result<(), SignatureError> {
        let Some(signed) = &self.0 else { return Ok(()) };
        let sum = hex(&Sha256::digest(body));
        // No secret: whoever can compare has signed both.
        if sum.eq_ignore_ascii_case(signed) { Ok(()) } else { Err(SignatureError::Tampered) }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// What a push says of its device, still as text.
#[derive(Debug, Deserialize)]
pub struct About<'a> {
    /// The device's labels, those that were chosen in the cloud.
    #[serde(borrow)]
    pub labels: Option<&'a RawValue>,
    /// Device and project.
    #[serde(borrow)]
    pub metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    device_id: String,
    project_id: String,
    #[serde(default)]
    device_type: String,
    #[serde(default)]
    product_number: String,
}

impl<'a> About<'a> {
    /// Reads what stands beside the event; none when that has an unknown shape.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Its labels, and what of them can be none.
    pub fn labels(&self) -> Labels {
        self.labels.map(|labels| Labels::read(labels.get())).unwrap_or_default()
    }

    /// The device; none when the push is not about one.
    pub fn device(&self) -> Option<DeviceRow> {
        let Metadata { device_id, project_id, device_type, product_number } = serde_json::from_str(self.metadata?.get()).ok()?;
        if [&device_id, &project_id, &device_type, &product_number].iter().any(|text| text.len() > TEXT_MAX) {
            return None;
        }
        (!device_id.is_empty() && !project_id.is_empty()).then(|| DeviceRow {
            project: project_id,
            id: device_id,
            kind: device_type,
            product_number,
            labels: self.labels().json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"event":{"eventId":"a"},"labels":{"name":"x"},"metadata":{"deviceId":"d","projectId":"p","deviceType":"touch","productNumber":""}}"#;
    const NOW: Micros = 1_700_000_000 * SECOND;

    fn token(header: &str, claims: &str, secret: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&signed);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    fn claims(body: &[u8], iat: i64) -> String {
        let sum = hex(&Sha256::digest(body));
        format!(r#"{{"checksum":"0","checksum_sha256":"{sum}","exp":{},"iat":{iat},"jti":"j"}}"#, iat + 3600)
    }

    fn check(token: Option<&str>, now: Micros) -> Result<(), SignatureError> {
        let trust = Verifier::Signed(vec![Secret::new("new"), Secret::new("hunter2")]);
        trust.verify(token.map(str::as_bytes), now)?.check(BODY)
    }

    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    fn only_what_the_cloud_signed_is_believed() {
        let iat = NOW / SECOND;
        let good = token(HS256, &claims(BODY, iat), "hunter2");
        assert_eq!(check(Some(&good), NOW), Ok(()));
        assert_eq!(check(Some(&token(HS256, &claims(BODY, iat), "new")), NOW), Ok(()));
        assert_eq!(check(None, NOW), Err(SignatureError::Unsigned));
        for malformed in ["", ".", "..", "a.b", "a.b.c", "\u{1}", &good[..good.len() - 60]] {
            assert!(check(Some(malformed), NOW).is_err(), "{malformed}");
        }
        assert_eq!(check(Some(&token(HS256, &claims(BODY, iat), "guess")), NOW), Err(SignatureError::Forged));
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, r#"{"alg":"hs256"}"#, r#"{"alg":"RS256"}"#] {
            assert_eq!(
                check(Some(&token(header, &claims(BODY, iat), "hunter2")), NOW),
                Err(SignatureError::Algorithm),
                "{header}"
            );
        }
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(HS256), URL_SAFE_NO_PAD.encode(claims(BODY, iat)));
        assert_eq!(check(Some(&unsigned), NOW), Err(SignatureError::Forged));
        assert_eq!(check(Some(&token(HS256, &claims(b"another", iat), "hunter2")), NOW), Err(SignatureError::Tampered));
        assert_eq!(check(Some(&token(HS256, r#"{"exp":99999999999,"iat":0}"#, "hunter2")), NOW), Err(SignatureError::Malformed));
    }

    #[test]
    fn clocks_may_differ_by_five_minutes() {
        let good = token(HS256, &claims(BODY, NOW / SECOND), "hunter2");
        assert_eq!(check(Some(&good), NOW - SKEW), Ok(()));
        assert_eq!(check(Some(&good), NOW - SKEW - SECOND), Err(SignatureError::Early));
        assert_eq!(check(Some(&good), NOW + 3600 * SECOND + SKEW), Ok(()));
        assert_eq!(check(Some(&good), NOW + 3601 * SECOND + SKEW), Err(SignatureError::Stale));
    }

    #[test]
    fn the_device_of_a_push_is_read_and_an_unknown_shape_is_none() {
        let device = About::read(BODY).unwrap().device().unwrap();
        assert_eq!((device.project.as_str(), device.id.as_str(), device.labels.as_str()), ("p", "d", r#"{"name":"x"}"#));
        for other in ["{}", r#"{"metadata":7}"#, r#"{"metadata":{"room":"7"},"labels":[]}"#, "[]", "\u{0}"] {
            assert!(About::read(other.as_bytes()).and_then(|about| about.device()).is_none(), "{other}");
        }
    }
}
