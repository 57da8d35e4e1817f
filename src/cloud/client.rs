//! The cloud (Disruptive Technologies): sign in by Basic auth or OAuth2, open `devices:stream`.
//!
//! Redirects are off, so credentials never follow one to another host. Errors are printed without their URL. Every body
//! is read with a cap, and every time that the cloud names is held between two that make sense. Source of the API's facts: its
//! public documentation and its Python client 1.7.3.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::value::RawValue;
use sha2::Sha256;
use tokio::sync::Mutex;

use crate::base::time::{self, SECOND};
use crate::model::event::CloudError;
use crate::model::framing::Frames;
use crate::model::settings::{Credentials, Filters, Mask, Secret};

pub use super::answer::{API_URL, CloudFailure};
use super::answer::{
    PATIENCE, SIGN_IN, body_of, date, header, is_json, media, network, no_page, portal, retry_after, uncompressed, within,
};

/// The cloud's token endpoint.
pub const TOKEN_URL: &str = "https://identity.disruptive-technologies.com/oauth2/token";

/// What is asked for when a stream is.
const OPENING: &str = "opening the stream";
/// How Server-Sent Events call themselves.
const EVENTS: &str = "text/event-stream";
/// Most bytes read of an answer that is no stream.
const BODY_MAX: usize = 256 * 1024;
/// Longest access token: more is no header that a server takes.
const TOKEN_MAX: usize = 16 * 1024;
/// A token is renewed so long before it dies.
const MARGIN: Duration = Duration::from_mins(1);
/// Seconds that a token lives when the cloud does not say so, or says what cannot be; and at most.
const LIFE: (f64, f64) = (3600.0, 86_400.0);
/// A token is used for so long whatever life it is said to have: one that is dead at once must not make a busy loop of sign-ins.
const USE_LEAST: Duration = Duration::from_secs(5);
/// Clocks that differ by more than so many seconds are worth a word, and a second try.
pub const CLOCK_OFF: i64 = 30;
/// Clocks that differ by so many seconds are the same: dates of answers have whole seconds, and answers take their time.
const CLOCK_SAME: i64 = 2;
/// No answer has told the time.
const NO_CLOCK: i64 = i64::MIN;
/// A signed request for a token says that it was issued so long ago: clocks differ.
const SKEW: i64 = 5;

/// The format asked of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// JSON lines.
    Json,
    /// Server-Sent Events.
    Sse,
}

/// A connection to one cloud.
#[derive(Debug)]
pub struct Cloud {
    client: Client,
    api: Url,
    token_url: Url,
    credentials: Credentials,
    token: Mutex<Option<Token>>,
    /// Seconds that the cloud's clock is ahead of ours, by its latest answer.
    ahead: AtomicI64,
}

#[derive(Debug, Clone)]
struct Token {
    value: Secret,
    dies: Instant,
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    /// Cuts the bytes into frames.
    pub frames: Frames,
    /// When the token that it was opened with is due for renewal; none for Basic auth.
    pub dies: Option<Instant>,
    /// Of what it was opened with.
    pub mask: Mask,
    /// Something came that is no white space.
    begun: bool,
}

impl Stream {
    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// When the connection breaks, and when a page begins, whatever it said to be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CloudFailure> {
        let bytes = self.response.chunk().await.map_err(network)?;
        if !self.begun
            && let Some(first) = bytes.as_ref().and_then(|bytes| bytes.trim_ascii_start().first())
        {
            self.begun = true;
            if *first == b'<' {
                return Err(CloudFailure::strange(OPENING, &portal("a page", "stream")));
            }
        }
        Ok(bytes)
    }
}

impl Cloud {
    /// Prepares a client. An API address without a path gets the usual `/v2`; without a token address, the cloud's own
    /// endpoint is used for the cloud's own API, and `/oauth2/token` at any other host.
    ///
    /// # Errors
    /// When an address is none.
    pub fn new(api_url: &str, token_url: Option<&str>, credentials: Credentials) -> Result<Self, CloudFailure> {
        // Fails only when a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let api = address(api_url)?;
        let token_url = match token_url.or(credentials.token_url.as_deref()) {
            Some(url) => Url::parse(url).map_err(|_| CloudFailure::Address(url.to_owned()))?,
            None if api_url.trim_end_matches('/') == API_URL => address(TOKEN_URL)?,
            None => {
                let mut url = api.clone();
                url.set_path("/oauth2/token");
                url
            }
        };
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .tcp_keepalive(Duration::from_secs(30))
            .http1_only()
            .user_agent(concat!("overnight/", env!("CARGO_PKG_VERSION")));
        if api.host_str().is_some_and(is_loopback) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(network)?,
            api,
            token_url,
            credentials,
            token: Mutex::new(None),
            ahead: AtomicI64::new(NO_CLOCK),
        })
    }

    /// True when credentials would go over the network in the clear.
    pub fn is_in_the_clear(&self) -> bool {
        [&self.api, &self.token_url].iter().any(|url| url.scheme() == "http" && !url.host_str().is_some_and(is_loopback))
    }

    /// Who asks, so that a ledger knows it again.
    pub fn account(&self) -> String {
        self.credentials.account()
    }

    /// Where the API stands, for people.
    pub fn host(&self) -> &str {
        self.api.host_str().unwrap_or("the cloud")
    }

    /// Where credentials go, for people: the API, and the token endpoint where that is another; each with its port where it is not
    /// the usual one.
    pub fn hosts(&self) -> Vec<String> {
        let signs_in = self.credentials.email.is_some();
        let urls = [Some(&self.api), Some(&self.token_url).filter(|_| signs_in)];
        let host = |url: &Url| {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{port}", url.host_str().unwrap_or_default())
        };
        let mut hosts: Vec<String> = urls.into_iter().flatten().map(host).collect();
        hosts.dedup();
        hosts
    }

    /// Seconds that the cloud's clock is ahead of ours by its latest answer, 0 up to a difference of 2; none when that told no
    /// time.
    pub fn clock_ahead(&self) -> Option<i64> {
        Some(self.ahead.load(Ordering::Relaxed)).filter(|ahead| *ahead != NO_CLOCK)
    }

    /// Drops the token, so that the next request signs in anew.
    pub async fn renew(&self) {
        *self.token.lock().await = None;
    }

    /// Opens the stream of a project.
    ///
    /// # Errors
    /// When the network or the cloud refuses.
    pub async fn open(&self, project: &str, filters: &Filters, accept: Accept, ping: Duration) -> Result<Stream, CloudFailure> {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["projects", project, "devices:stream"]);
        }
        let lists = [
            ("event_types", &filters.event_types),
            ("device_ids", &filters.devices),
            ("device_types", &filters.device_types),
            ("label_filters", &filters.labels),
            ("product_numbers", &filters.product_numbers),
        ];
        {
            let mut query = url.query_pairs_mut();
            for (key, values) in lists {
                for value in values {
                    query.append_pair(key, value);
                }
            }
            query.append_pair("ping_interval", &format!("{}s", ping.as_secs_f64()));
        }
        let asked = match accept {
            Accept::Json => "application/json",
            Accept::Sse => EVENTS,
        };
        let (authorization, dies) = self.authorization().await?;
        let request = self.client.get(url).header(ACCEPT, asked).header(AUTHORIZATION, &authorization);
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(OPENING, response, authorization.as_bytes()).await);
        }
        let mask = self.mask(authorization.as_bytes());
        uncompressed(OPENING, &response, &mask)?;
        let is_events = match media(&response, &mask) {
            Some(media) if media == EVENTS => true,
            Some(media) if is_json(&media) => false,
            Some(media) if !matches!(&*media, "text/plain" | "application/octet-stream") => {
                return Err(CloudFailure::strange(OPENING, &portal(&media, "stream")));
            }
            _ => accept == Accept::Sse,
        };
        let frames = if is_events { Frames::events() } else { Frames::lines() };
        Ok(Stream { response, frames, dies, mask, begun: false })
    }

    /// Asks for an answer that is no stream; none when it has more bytes than that. Beside it stands what the server was sent, and
    /// may say back.
    ///
    /// # Errors
    /// When the network or the cloud refuses.
    pub async fn get(
        &self,
        what: &'static str,
        path: &[&str],
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Option<(Bytes, Mask)>, CloudFailure> {
        let mut url = self.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.query_pairs_mut().extend_pairs(query);
        let (authorization, _) = self.authorization().await?;
        let request = self.client.get(url).header(ACCEPT, "application/json").header(AUTHORIZATION, &authorization);
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(what, response, authorization.as_bytes()).await);
        }
        let mask = self.mask(authorization.as_bytes());
        uncompressed(what, &response, &mask)?;
        let media = media(&response, &mask);
        if response.content_length().is_some_and(|length| length > most as u64) {
            return Ok(None);
        }
        let (body, is_whole) = body_of(response, most).await?;
        no_page(what, media, &body)?;
        Ok(is_whole.then(|| (body.into(), mask)))
    }

    /// Sends a request, and looks at what time the answer says it is.
    async fn send(&self, request: RequestBuilder) -> Result<Response, CloudFailure> {
        let asked = seconds();
        let response = within(request.send()).await?;
        let ahead = date(&response).map_or(NO_CLOCK, |date| ahead(date, asked, seconds()));
        self.ahead.store(ahead, Ordering::Relaxed);
        Ok(response)
    }

    /// The header that signs a request in, and when what it holds dies.
    async fn authorization(&self) -> Result<(HeaderValue, Option<Instant>), CloudFailure> {
        let Credentials { key_id, secret, email, .. } = &self.credentials;
        let (text, dies) = if email.is_none() {
            (format!("Basic {}", STANDARD.encode(format!("{key_id}:{}", secret.reveal()))), None)
        } else {
            let mut held = self.token.lock().await;
            let token = match held.as_ref().filter(|token| token.dies > time::instant()) {
                Some(token) => token.clone(),
                None => self.sign_in().await?,
            };
            *held = Some(token.clone());
            (format!("Bearer {}", token.value.reveal()), Some(token.dies))
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| CloudFailure::Network("the credentials hold characters that cannot be sent".to_owned()))?;
        value.set_sensitive(true);
        Ok((value, dies))
    }

    /// Signs in; should the cloud refuse and tell another time than was believed, once more with the cloud's time.
    async fn sign_in(&self) -> Result<Token, CloudFailure> {
        let ahead = || self.clock_ahead().unwrap_or_default();
        let believed = ahead();
        match self.trade(seconds() + believed).await {
            Err(CloudFailure::Answer { .. }) if (ahead() - believed).abs() > CLOCK_OFF => self.trade(seconds() + ahead()).await,
            traded => traded,
        }
    }

    /// Trades a signed request for a token (RFC 7523).
    async fn trade(&self, now: i64) -> Result<Token, CloudFailure> {
        #[derive(serde::Deserialize)]
        struct Answer<'a> {
            access_token: String,
            #[serde(borrow)]
            expires_in: Option<&'a RawValue>,
        }
        let assertion = self.assertion(now);
        let mut form = self.token_url.clone();
        form.query_pairs_mut()
            .clear()
            .append_pair("assertion", &assertion)
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let body = form.query().unwrap_or_default().to_owned();
        let asked = time::instant();
        let request =
            self.client.post(self.token_url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(SIGN_IN, response, assertion.as_bytes()).await);
        }
        let mask = self.mask(assertion.as_bytes());
        uncompressed(SIGN_IN, &response, &mask)?;
        let media = media(&response, &mask);
        let (body, _) = body_of(response, BODY_MAX).await?;
        no_page(SIGN_IN, media, &body)?;
        let is_token = |text: &str| (1..=TOKEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        match serde_json::from_slice::<Answer<'_>>(&body) {
            Ok(Answer { access_token, expires_in }) if is_token(&access_token) => {
                let dies = asked + use_of(expires_in.map(RawValue::get));
                Ok(Token { value: Secret::new(access_token), dies })
            }
            _ => Err(CloudFailure::strange(SIGN_IN, "the answer holds no access token")),
        }
    }

    /// Why the cloud gave no answer, in its own words, but for what must not be seen: some servers say what they were sent.
    async fn refused(&self, what: &'static str, response: Response, sent: &[u8]) -> CloudFailure {
        let status = response.status().as_u16();
        let now = date(&response).unwrap_or_else(seconds);
        let retry_after = header(&response, RETRY_AFTER).and_then(|text| retry_after(text, now));
        // A path that is wrong looks like a project that is.
        let address = (status == 404).then(|| {
            let url = response.url();
            format!(" at {}{}", url.origin().ascii_serialization(), url.path())
        });
        let mut error = match body_of(response, BODY_MAX).await {
            Ok((body, _)) => said(&String::from_utf8_lossy(&body), &self.mask(sent)),
            Err(broken) => CloudError { code: 0, message: format!("its reason did not arrive: {broken}") },
        };
        error.message.push_str(&address.unwrap_or_default());
        CloudFailure::Answer { what, status, error, retry_after }
    }

    /// Of the secret, and of what a request was signed with.
    fn mask(&self, sent: &[u8]) -> Mask {
        let sent = String::from_utf8_lossy(sent);
        Mask::new(&[sent.rsplit(' ').next().unwrap_or_default(), self.credentials.secret.reveal()])
    }

    fn assertion(&self, now: i64) -> String {
        let Credentials { key_id, secret, email, .. } = &self.credentials;
        let header = serde_json::json!({"alg": "HS256", "kid": key_id, "typ": "JWT"});
        let claims = serde_json::json!({
            "iat": now - SKEW, "exp": now + 3600 - 2 * SKEW,
            "aud": self.token_url.as_str(), "iss": email.as_deref().unwrap_or_default(),
        });
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
            .map(|mut mac| {
                mac.update(signed.as_bytes());
                URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
            })
            .unwrap_or_default();
        format!("{signed}.{signature}")
    }
}

/// An error in the cloud's own words, but for what must not be seen. Masked before it is cut, and behind what JSON may hide.
pub fn said(body: &str, mask: &Mask) -> CloudError {
    let CloudError { code, message } = CloudError::read(&mask.text(body));
    CloudError { code, message: mask.text(&message) }
}

fn address(text: &str) -> Result<Url, CloudFailure> {
    let mut url = Url::parse(text).map_err(|_| CloudFailure::Address(text.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(CloudFailure::Address(text.to_owned()));
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/v2");
    }
    Ok(url)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Our clock, in seconds since 1970.
fn seconds() -> i64 {
    time::now() / SECOND
}

/// Seconds that a clock is ahead of ours which says `date` in an answer that was asked for at one time of ours and came at
/// another: none, if it names a time in between.
fn ahead(date: i64, asked: i64, came: i64) -> i64 {
    // Our clock may have been set back meanwhile.
    let ahead = date - date.clamp(asked.min(came), came);
    if ahead.abs() <= CLOCK_SAME { 0 } else { ahead }
}

/// How long a token is used of which the cloud says that it lives so many seconds, as a JSON number or a string.
fn use_of(expires_in: Option<&str>) -> Duration {
    let said = expires_in.and_then(|text| text.trim_matches('"').trim().parse().ok());
    let seconds = said.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0).unwrap_or(LIFE.0).min(LIFE.1);
    let life = Duration::from_secs_f64(seconds);
    life.saturating_sub(MARGIN.min(life / 10)).max(USE_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::answer::http_date;

    fn cloud(api: &str) -> Cloud {
        let credentials = Credentials {
            key_id: "key".to_owned(),
            secret: Secret::new("hunter2"),
            email: Some("a@b".to_owned()),
            token_url: None,
        };
        Cloud::new(api, None, credentials).unwrap()
    }

    #[test]
    fn an_api_address_without_a_path_gets_the_usual_one() {
        let local = cloud("http://127.0.0.1:8800");
        assert_eq!(local.api.as_str(), "http://127.0.0.1:8800/v2");
        assert_eq!(local.token_url.as_str(), "http://127.0.0.1:8800/oauth2/token");
        assert_eq!(cloud(API_URL).token_url.as_str(), TOKEN_URL);
        assert!(cloud("http://example.org").is_in_the_clear() && !local.is_in_the_clear());
    }

    #[test]
    fn the_clouds_clock_is_read_from_its_answers() {
        assert_eq!(http_date("Mon, 23 Nov 2026 22:24:00 GMT"), Some(1_795_472_640));
        assert_eq!(http_date("yesterday"), None);
        // What is said, when it was asked for, when it came; and what that makes.
        let cases = [
            (100, 100, 100, 0),
            (98, 100, 100, 0),
            (102, 100, 100, 0),
            (97, 100, 100, -3),
            (103, 100, 100, 3),
            (105, 100, 110, 0),
            (3710, 100, 110, 3600),
            (100, 3700, 3710, -3600),
            (50, 100, 50, 0),
        ];
        for (date, asked, came, expected) in cases {
            assert_eq!(ahead(date, asked, came), expected, "{date}, {asked}, {came}");
        }
    }

    #[test]
    fn a_wish_to_be_left_alone_is_granted_for_a_quarter_of_an_hour_at_most() {
        let now = http_date("Mon, 23 Nov 2026 22:24:00 GMT").unwrap();
        let cases = [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("-7", Some(0)),
            ("900", Some(900)),
            ("901", Some(900)),
            ("99999999999", Some(900)),
            ("9223372036854775808", Some(900)),
            ("-9223372036854775809", Some(0)),
            ("Mon, 23 Nov 2026 22:24:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 22:00:00 GMT", Some(0)),
            ("Thu, 01 Jan 2099 00:00:00 GMT", Some(900)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("-", None),
            ("1.5", None),
            ("1e9", None),
            ("soon", None),
            ("7s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_used_for_a_time_that_makes_sense_whatever_life_it_is_said_to_have() {
        let cases = [
            ("3600", 3540),
            ("3600.9", 3540),
            ("\"3600\"", 3540),
            ("36e2", 3540),
            ("100", 90),
            ("86400", 86_340),
            ("86401", 86_340),
            ("1e300", 86_340),
            ("99999999999999999999999999", 86_340),
            ("1e999", 3540),
            ("\"inf\"", 3540),
            ("\"NaN\"", 3540),
            ("0", 3540),
            ("-1", 3540),
            ("-1e999", 3540),
            ("\"\"", 3540),
            ("\"an hour\"", 3540),
            ("true", 3540),
            ("{}", 3540),
            ("[3600]", 3540),
            ("1", 5),
            ("0.001", 5),
            ("1e-320", 5),
        ];
        for (text, expected) in cases {
            assert_eq!(use_of(Some(text)).as_secs(), expected, "{text}");
        }
        assert_eq!(use_of(None).as_secs(), 3540);
    }

    #[test]
    fn the_signed_request_names_key_issuer_audience_and_at_most_an_hour() {
        let assertion = cloud("http://localhost:1").assertion(1000);
        let parts: Vec<_> = assertion.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let claims: serde_json::Value = serde_json::from_slice(&parts[1]).unwrap();
        assert_eq!(claims["iss"], "a@b");
        assert_eq!(claims["aud"], "http://localhost:1/oauth2/token");
        assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 3600);
        assert!(!format!("{:?}", cloud("http://localhost:1")).contains("hunter2"));
    }
}
