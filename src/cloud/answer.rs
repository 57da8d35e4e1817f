//! What answers say beside what was asked for: headers, dates, how long to wait, why there is none. Bounded, and masked.

use std::num::IntErrorKind;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName};
use reqwest::{Response, StatusCode};

use crate::base::error;
use crate::base::text::printable;
use crate::model::event::CloudError;
use crate::model::settings::Mask;

/// The cloud's API.
pub const API_URL: &str = "https://api.disruptive-technologies.com/v2";
/// What is asked for when a token is.
pub(super) const SIGN_IN: &str = "signing in";
/// Longest wait for a connection, and for a whole answer that is no stream.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The cloud is left alone for so long at most, whatever it asks for: a number out of all reason must not silence a night.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// Why the cloud gave no stream, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum CloudFailure {
    /// The network, or what stands between.
    #[error("no connection: {0}")]
    Network(String),
    /// The cloud answered, but not with what was asked for.
    #[error("{what}: HTTP {status}: {error}")]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// The cloud's words.
        error: CloudError,
        /// How long the cloud wants to be left alone, a quarter of an hour at most.
        retry_after: Option<Duration>,
    },
    /// The cloud answered, and what it gives can never be taken: asking again brings the same.
    #[error("{0}")]
    Unfit(String),
    /// An address that is none. A password in it is not said.
    #[error("{:?} is no address of an API; it looks like {API_URL}", without_password(.0))]
    Address(String),
}

impl CloudFailure {
    /// An answer of status 200 that holds something else.
    pub(super) fn strange(what: &'static str, why: &str) -> Self {
        let error = CloudError { code: 0, message: why.to_owned() };
        Self::Answer { what, status: StatusCode::OK.as_u16(), error, retry_after: None }
    }

    /// Whether it is the answer to signing in.
    pub fn is_sign_in(&self) -> bool {
        matches!(self, Self::Answer { what: SIGN_IN, .. })
    }

    /// The HTTP status, if the cloud answered at all.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long the cloud wants to be left alone, a quarter of an hour at most.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A header of an answer, if it is text.
pub(super) fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// What an answer says that it is, in small letters and without parameters.
pub(super) fn media(response: &Response, mask: &Mask) -> Option<String> {
    let media = mask.text(header(response, CONTENT_TYPE)?).split(';').next()?.trim().to_ascii_lowercase();
    Some(media).filter(|media| !media.is_empty())
}

pub(super) fn is_json(media: &str) -> bool {
    media.starts_with("application/") && media.contains("json")
}

/// Refuses what is compressed, for which nobody asked.
pub(super) fn uncompressed(what: &'static str, response: &Response, mask: &Mask) -> Result<(), CloudFailure> {
    match header(response, CONTENT_ENCODING).filter(|encoding| !matches!(encoding.trim(), "" | "identity")) {
        Some(encoding) => {
            let encoding = printable(&mask.text(encoding), 40);
            let why = format!("the answer is compressed ({encoding}), for which nobody asked; a proxy in between may do that");
            Err(CloudFailure::strange(what, &why))
        }
        None => Ok(()),
    }
}

/// Refuses a page where JSON should be.
pub(super) fn no_page(what: &'static str, media: Option<String>, body: &[u8]) -> Result<(), CloudFailure> {
    let is_page = body.trim_ascii_start().starts_with(b"<");
    match media.filter(|media| media.contains("html")).or(is_page.then(|| "a page".to_owned())) {
        Some(kind) => Err(CloudFailure::strange(what, &portal(&kind, "JSON"))),
        None => Ok(()),
    }
}

/// What people should know of a page that comes instead.
pub(super) fn portal(kind: &str, wanted: &str) -> String {
    format!("the answer is {}, no {wanted}; a portal of this network may want you to log in first", printable(kind, 80))
}

/// When an answer was made, by the cloud's clock, in seconds since 1970.
pub(super) fn date(response: &Response) -> Option<i64> {
    header(response, DATE).and_then(http_date)
}

/// Seconds since 1970 of an HTTP date.
pub(super) fn http_date(text: &str) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second())
}

/// How long the cloud wants to be left alone: seconds, or an HTTP date by a clock that says `now`.
pub(super) fn retry_after(text: &str, now: i64) -> Option<Duration> {
    let text = text.trim();
    let seconds = match text.parse::<i64>().map_err(|error| *error.kind()) {
        Ok(seconds) => seconds,
        Err(IntErrorKind::PosOverflow) => i64::MAX,
        Err(IntErrorKind::NegOverflow) => 0,
        Err(_) => http_date(text)?.saturating_sub(now),
    };
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()).min(RETRY_AFTER_MAX))
}

pub(super) async fn within(answer: impl Future<Output = reqwest::Result<Response>>) -> Result<Response, CloudFailure> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(network),
        Err(_) => Err(CloudFailure::Network(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// An address without what stands before an `@`.
fn without_password(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((before, after)) => {
            format!("{}***@{after}", before.split_once("://").map_or("", |(scheme, _)| &before[..scheme.len() + 3]))
        }
        None => address.to_owned(),
    }
}

/// The error in plain words, and without its URL, which may hold a token.
pub(super) fn network(error: reqwest::Error) -> CloudFailure {
    CloudFailure::Network(error::plain(&error.without_url()))
}

/// The body of an answer as far as the cap goes, and whether that is all of it.
pub(super) async fn body_of(mut response: Response, most: usize) -> Result<(Vec<u8>, bool), CloudFailure> {
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            let room = (most - body.len()).min(chunk.len());
            body.extend_from_slice(&chunk[..room]);
            if room < chunk.len() {
                return Ok((body, false));
            }
        }
        Ok((body, true))
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(CloudFailure::Network("the answer stalls".to_owned())))
}
