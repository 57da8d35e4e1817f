//! HTTP: requests become pushes, and what becomes of those becomes answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};

use crate::base::time;
use crate::cloud::push::{About, SIGNATURE, SignatureError, Verifier};
use crate::serve::{Answer, BodyError, COME_AGAIN, ServeError, Service, Visit, empty, text};
use crate::store::meter::Meter;
use crate::store::writer::Phase;

use super::WebhookServer;
use super::pending::Fate;

/// Bytes of events that may wait for their commit.
const WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Why a push gets no 200: the status, and the class for the log; the sender learns the status alone.
struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self(status, why.into())
    }
}

impl From<SignatureError> for Refusal {
    fn from(why: SignatureError) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, why.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(why: BodyError) -> Self {
        let said = match why {
            BodyError::TooLarge => "its body is too large",
            BodyError::TooSlow => "its body comes too slowly",
            BodyError::BreaksOff => "its body breaks off",
        };
        Self::new(why.status(), said)
    }
}

impl Service for WebhookServer {
    async fn answer(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::POST, _) => self.answer_push(request, visit).await,
            (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "alive\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => match self.not_ready() {
                None => text(StatusCode::OK, "ready\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            _ => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "POST events here; GET /healthz and /readyz\n");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                answer
            }
        }
    }

    fn reload(&self) -> Result<bool, ServeError> {
        let has_files = !self.keys.secret_files.is_empty();
        if has_files {
            *self.trust.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(self.keys.trust()?);
        } else if self.keys.certificate.is_none() {
            let text = "SIGHUP: neither secret nor certificate is from a file, so there is nothing to read anew";
            self.writer.meter.note(time::now(), text);
        }
        Ok(has_files)
    }
}

impl WebhookServer {
    async fn answer_push(&self, request: Request<Incoming>, visit: &Visit) -> Answer {
        let Err(Refusal(status, why)) = self.push(request, visit).await else {
            Meter::add(&self.writer.meter.pushes, 1);
            visit.was_worth_it();
            return empty(StatusCode::OK);
        };
        visit.refused(&format!("a push was refused: {why}"), "");
        self.writer.meter.update(|parts| *parts.refused_pushes.entry(status.as_u16()).or_default() += 1);
        let mut answer = empty(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
        }
        answer
    }

    /// Takes a push; when this returns without an error, it is kept.
    async fn push(&self, request: Request<Incoming>, visit: &Visit) -> Result<(), Refusal> {
        let begun = time::instant();
        if *self.stop.borrow() != Phase::Going {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the recorder is stopping"));
        }
        let trust = self.trust();
        if matches!(*trust, Verifier::Everybody) {
            of_no_page(request.headers())?;
        }
        let signature = request.headers().get(SIGNATURE).map(HeaderValue::as_bytes);
        let voucher = trust.verify(signature, time::now())?;
        if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "its body is compressed"));
        }
        let body = visit.body(request.into_body()).await?;
        voucher.check(&body)?;
        if let Some(wrong) = About::read(&body).and_then(|about| about.labels().wrong) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, wrong));
        }
        visit.waits();
        let kept = self.wait_for_commit(body, begun).await;
        visit.is_known();
        kept
    }

    /// Hands a push to the commit loop; when this returns without an error, it is kept.
    async fn wait_for_commit(&self, body: Bytes, begun: Instant) -> Result<(), Refusal> {
        let verdict = {
            let mut pending = self.pending();
            if pending.collector.bytes() + body.len() > WAITING_BYTES {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too much waits for the disk already"));
            }
            let verdict = pending.add(body, time::now());
            // The answer is due so long after the request, however long its body took.
            pending.oldest = pending.oldest.map(|oldest| oldest.min(begun));
            verdict
        };
        self.filled.notify_one();
        match verdict.await {
            Ok(Fate::Kept) => Ok(()),
            Ok(Fate::Unfit) => Err(Refusal::new(StatusCode::BAD_REQUEST, "it does not fit the buffer; see above for the reason")),
            _ => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "it could not be kept; see above for the reason")),
        }
    }

    /// Why nothing can be kept at the moment.
    fn not_ready(&self) -> Option<&'static str> {
        if *self.stop.borrow() != Phase::Going {
            Some("stopping")
        } else if self.writer.keep.is_closed() {
            Some("nothing can be kept")
        } else if self.writer.meter.pressure.full.load(Ordering::Relaxed) {
            Some("the disk is full")
        } else {
            None
        }
    }
}

/// Where everybody is trusted, pages that somebody here looks at in a browser are not: what those may send to another address
/// without asking first names where it comes from, or is no JSON.
fn of_no_page(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // An address of numbers is nobody's name, and so no page of somebody else's.
    let is_own = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| host).unwrap_or_default();
        let is_named = host.split(':').next() == Some("localhost");
        let is_here = is_named || host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
        is_here && text(HOST) == Some(host)
    };
    if text(ORIGIN).is_some_and(|origin| !is_own(origin)) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "it comes from a page of the web, as its header Origin says"));
    }
    let kind = text(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let why = "it is not sent as application/json (the header Content-Type), as everything without a signature has to be";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    Ok(())
}
