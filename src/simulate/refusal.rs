//! How answers look: a 200 with JSON, and errors in the shapes that the cloud gives them.

use super::event::Quoted;
use super::habits::Mishap;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

const HELP: &str = "https://developer.disruptive-technologies.com/docs/error-codes";

/// An error answer. Flat unless it is turned into the wrapped shape.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    wrapped: bool,
    retry_after: Option<HeaderValue>,
    /// Not from the cloud but from something in front of it.
    html: bool,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), wrapped: false, retry_after: None, html: false }
    }

    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid or expired credentials")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "the role lacks the permission")
    }

    /// Too many calls or streams.
    pub(super) fn limited(retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after.into()), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests") }
    }

    /// With the status's own words.
    pub(super) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, status.canonical_reason().unwrap_or_default())
    }

    pub(super) fn mishap(mishap: Mishap) -> Self {
        let refusal = Self::status(mishap.status);
        let html = refusal.status == StatusCode::BAD_GATEWAY;
        Self { retry_after: mishap.retry_after.map(HeaderValue::from), html, ..refusal }
    }

    /// Where the status asks for patience, with these words for how much.
    pub(super) fn patiently(self, words: Option<&HeaderValue>) -> Self {
        match (self.status, words) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(words)) => {
                Self { retry_after: Some(words.clone()), ..self }
            }
            _ => self,
        }
    }

    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
    }

    /// The shape in which an error stands in a stream; the cloud's own client can read no other one there.
    pub(super) fn wrapped(self) -> Self {
        Self { wrapped: true, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, message) = (self.status.as_u16(), Quoted(&self.message));
        let body = if self.html {
            let title = format!("{code} {}", self.message);
            format!("<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n")
        } else if self.wrapped {
            format!(r#"{{"error":{{"code":{code},"message":{message},"details":[{{"help":"{HELP}#{code}"}}]}}}}"#)
        } else {
            format!(r#"{{"error":{message},"code":{code},"help":"{HELP}#{code}"}}"#)
        };
        let kind = if self.html { "text/html" } else { "application/json" };
        let mut response = (self.status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Some(words) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, words);
        }
        response
    }
}

/// A 200 with a JSON body.
pub(super) fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
