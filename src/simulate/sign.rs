//! The signature of a push, and how forgers try to do without.

use super::event::SECOND;
use super::xid::Xids;
use base16ct::lower::encode_string;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Seconds for which a signature is good.
const LIFE: i64 = 3600;

/// A way to push without the right to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgery {
    /// Signed with another secret.
    Wrong,
    /// No signature.
    Unsigned,
    /// Signed well, long ago.
    Stale,
    /// Signed well, for another body.
    Tampered,
    /// A token that says it needs no signature.
    None,
    /// No token at all.
    Garbage,
}

impl Forgery {
    pub(super) const ALL: [Self; 6] = [Self::Wrong, Self::Unsigned, Self::Stale, Self::Tampered, Self::None, Self::Garbage];

    /// As people read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wrong => "signed with another secret",
            Self::Unsigned => "unsigned",
            Self::Stale => "stale",
            Self::Tampered => "tampered with",
            Self::None => "signed by algorithm none",
            Self::Garbage => "with a header that is no token",
        }
    }
}

/// Signs pushes.
pub(super) struct Signer {
    secret: String,
    ids: Xids,
}

impl Signer {
    pub(super) fn new(secret: String, ids: Xids) -> Self {
        Self { secret, ids }
    }

    /// The header of a body; `now` in seconds since 1970.
    pub(super) fn sign(&mut self, body: &[u8], now: i64) -> String {
        let claims = self.claims(body, now);
        token(HS256, &claims, self.secret.as_bytes())
    }

    /// The header that a forger sends with a body; `honest` is one that was really signed.
    pub(super) fn forge(&mut self, forgery: Forgery, body: &[u8], honest: &[u8], now: i64) -> Option<String> {
        Some(match forgery {
            Forgery::Unsigned => return None,
            Forgery::Wrong => {
                let claims = self.claims(body, now);
                token(HS256, &claims, format!("{}?", self.secret).as_bytes())
            }
            // Twice its life: no clock is that wrong.
            Forgery::Stale => self.sign(body, now - 2 * LIFE),
            Forgery::Tampered => self.sign(honest, now),
            Forgery::None => {
                let claims = self.claims(body, now);
                let signed = token(r#"{"alg":"none","typ":"JWT"}"#, &claims, b"");
                signed.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap_or_default()
            }
            Forgery::Garbage => "Bearer me".to_owned(),
        })
    }

    fn claims(&mut self, body: &[u8], now: i64) -> String {
        let (sha1, sha256) = (encode_string(&Sha1::digest(body)), encode_string(&Sha256::digest(body)));
        let expiry = now + LIFE;
        let id = self.ids.next(now * SECOND);
        format!(r#"{{"checksum":"{sha1}","checksum_sha256":"{sha256}","exp":{expiry},"iat":{now},"jti":"{id}"}}"#)
    }
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn token(header: &str, claims: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    // HMAC takes a key of any length.
    let mac = Hmac::<Sha256>::new_from_slice(secret).map(|mac| mac.chain_update(&signed).finalize().into_bytes());
    format!("{signed}.{}", mac.map(|mac| URL_SAFE_NO_PAD.encode(mac)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_those_of_the_cloud() {
        let mut signer = Signer::new("secret".to_owned(), Xids::new(1, 1));
        let token = signer.sign(b"abc", 1_600_000_000);
        let mut parts = token.split('.').map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()));
        assert_eq!(parts.next(), Some(Ok(HS256.to_owned())));
        let claims = parts.next().expect("claims").expect("text");
        let jti = Xids::new(1, 1).next(1_600_000_000 * SECOND);
        // The digests of "abc" as FIPS 180 gives them.
        assert_eq!(
            claims,
            format!(
                "{{\"checksum\":\"a9993e364706816aba3e25717850c26c9cd0d89d\",\"checksum_sha256\":\
                 \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\
                 \"exp\":1600003600,\"iat\":1600000000,\"jti\":\"{jti}\"}}"
            )
        );
    }
}
