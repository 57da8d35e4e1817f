//! Logging in: who knows the token gets a cookie that says so, and need not say it again on this device.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap};

use crate::model::settings::SettingsError;
use crate::serve::Token;

/// So many wrong tokens in such a time, and nobody is asked any more until it is over.
const WRONG: (usize, Duration) = (10, Duration::from_mins(1));
/// What the cookie is a signature of.
const PASS: &str = "overnight watch";
/// How long a browser keeps the cookie, in seconds.
const KEPT: u32 = 400 * 86_400;

/// What came of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one.
    Right,
    /// It is not.
    Wrong,
    /// Too many were wrong lately: it was not even looked at.
    TooMany,
}

/// Who may see the page.
#[derive(Debug)]
pub struct Door {
    token: Token,
    /// What the cookie is called: a browser does not tell ports of a host apart.
    name: String,
    is_tls: bool,
    wrong: Mutex<VecDeque<Instant>>,
}

impl Door {
    /// With the token of a file, for the page on a port.
    ///
    /// # Errors
    /// When the file does not read, holds no token, or is open to everybody on this machine.
    pub fn new(path: &Path, port: u16, is_tls: bool) -> Result<Self, SettingsError> {
        Ok(Self { token: Token::of_file(path)?, name: format!("overnight-{port}"), is_tls, wrong: Mutex::default() })
    }

    /// Reads the token anew; whoever logged in with the old one has to log in again.
    ///
    /// # Errors
    /// When the file does not do: the old one stays.
    pub(super) fn reload(&self) -> Result<(), SettingsError> {
        self.token.reload()
    }

    /// The header that logs a browser in.
    pub(super) fn cookie(&self) -> Option<String> {
        let (secure, pass) = (if self.is_tls { "; Secure" } else { "" }, self.token.sign(PASS)?);
        Some(format!("{}={pass}; Path=/; Max-Age={KEPT}; HttpOnly; SameSite=Strict{secure}", self.name))
    }

    /// Whether a request is of somebody who has logged in, or says the token itself, as programs do.
    pub(super) fn lets_in(&self, headers: &HeaderMap, now: Instant) -> Verdict {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok()).flat_map(|all| all.split(';'));
        let own = cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(name, _)| *name == self.name);
        if own.is_some_and(|(_, said)| self.token.has_signed(PASS, said)) {
            return Verdict::Right;
        }
        let said = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        match said.and_then(|said| said.strip_prefix("Bearer ")) {
            Some(token) => self.try_token(token, now),
            None => Verdict::Wrong,
        }
    }

    /// Looks at a token that somebody said.
    pub(super) fn try_token(&self, said: &str, now: Instant) -> Verdict {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        while wrong.front().is_some_and(|first| now.saturating_duration_since(*first) >= WRONG.1) {
            wrong.pop_front();
        }
        if wrong.len() >= WRONG.0 {
            return Verdict::TooMany;
        }
        let is_right = self.token.is(said.trim());
        if !is_right {
            wrong.push_back(now);
        }
        if is_right { Verdict::Right } else { Verdict::Wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    fn door(folder: &Path) -> Door {
        let path = folder.join("token");
        std::fs::write(&path, "open sesame\n").unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Door::new(&path, 8802, true).unwrap()
    }

    fn says(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_cookie_or_the_token_opens_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (door, now) = (door(folder.path()), time::instant());
        let cookie = door.cookie().unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure") && !cookie.contains("sesame"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(door.lets_in(&says(COOKIE, &format!("a=b; {pair}; c=d")), now), Verdict::Right);
        assert_eq!(door.lets_in(&says(AUTHORIZATION, "Bearer open sesame"), now), Verdict::Right);
        let others = [says(COOKIE, "overnight-8802=x"), says(AUTHORIZATION, "Basic open sesame"), HeaderMap::new()];
        assert!(others.iter().all(|headers| door.lets_in(headers, now) == Verdict::Wrong));
        std::fs::write(folder.path().join("token"), "another one").unwrap();
        door.reload().unwrap();
        assert_eq!(door.lets_in(&says(COOKIE, pair), now), Verdict::Wrong, "a new token logs everybody out");
        assert!(!format!("{door:?}").contains("another one"));
    }

    #[test]
    fn after_ten_wrong_tokens_nobody_is_asked_for_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let (door, now) = (door(folder.path()), time::instant());
        assert!((0..10).all(|_| door.try_token("guess", now) == Verdict::Wrong));
        assert_eq!(door.try_token("open sesame", now + Duration::from_secs(59)), Verdict::TooMany);
        let pair = door.cookie().unwrap();
        assert_eq!(door.lets_in(&says(COOKIE, pair.split(';').next().unwrap()), now), Verdict::Right, "who is in stays in");
        assert_eq!(door.try_token("open sesame", now + Duration::from_secs(61)), Verdict::Right);
    }
}
