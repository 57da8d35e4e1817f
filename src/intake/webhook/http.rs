//! HTTP: requests become pushes, and what becomes of those becomes answers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::base::error::plain;
use crate::base::time;
use crate::cloud::push::{About, SIGNATURE, SignatureError, Verifier};
use crate::store::meter::Meter;
use crate::store::writer::{Phase, shutdown_requested};

use super::pending::Fate;
use super::places::Place;
use super::refusals::Class;
use super::{Limits, WebhookServer};

/// Most bytes of a header; a signature has some 350.
const HEADER_MAX: usize = 16 * 1024;
/// Bodies that are being read at once, in KiB: bounds the memory that senders can fill.
pub(super) const READING_KIB: u32 = 16 * 1024;
/// Bytes of events that may wait for their commit.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// When to come again, in seconds.
pub(super) const COME_AGAIN: &str = "5";

/// Why a push gets no 200: the status, and the class for the log; the sender learns the status alone.
struct Refusal(StatusCode, Class);

impl Refusal {
    fn new(status: StatusCode, why: &'static str) -> Self {
        Self(status, Class::Push(why))
    }
}

impl From<SignatureError> for Refusal {
    fn from(why: SignatureError) -> Self {
        Self(StatusCode::UNAUTHORIZED, Class::SignatureError(why))
    }
}

/// A connection while it lasts.
struct Visit<'c> {
    place: &'c Place,
    is_settled: &'c AtomicBool,
    /// A request is being answered.
    is_at_work: AtomicBool,
    begun: Instant,
    requests: AtomicU32,
    /// Requests since the last push that was kept.
    in_vain: AtomicU32,
}

impl Visit<'_> {
    /// Counts a request; true when it is to be the last one.
    fn ends(&self, is_kept: bool, limits: &Limits) -> bool {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let in_vain = if is_kept { 0 } else { self.in_vain.load(Ordering::Relaxed) + 1 };
        self.in_vain.store(in_vain, Ordering::Relaxed);
        requests >= limits.requests || in_vain >= limits.idle_requests || time::instant() - self.begun >= limits.age
    }

    /// All of a request has come.
    fn has_come(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Resolves when nothing is being answered.
    async fn idles(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if !self.is_at_work.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl WebhookServer {
    /// Speaks HTTP on a connection until it ends; notes when all that came `is_settled`.
    pub(super) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place, is_settled: &AtomicBool) {
        let mut stop = self.stop.clone();
        let (is_at_work, requests, in_vain) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        let visit = &Visit { place, is_settled, is_at_work, begun: time::instant(), requests, in_vain };
        let service = service_fn(move |request: Request<Incoming>| async move {
            visit.is_at_work.store(true, Ordering::Relaxed);
            let is_push = request.method() == Method::POST;
            let mut answer = self.answer(request, visit).await;
            if visit.ends(is_push && answer.status() == StatusCode::OK, &self.limits) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                // The next request may be under way already.
                visit.is_settled.store(false, Ordering::Relaxed);
            }
            visit.is_at_work.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_buf_size(HEADER_MAX)
            // Who has said everything may close that side, and still reads.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = shutdown_requested(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    // Who says nothing, or only half of it, is not waited for.
                    () = visit.idles(self.limits.linger_time) => return,
                }
            }
        };
        // A connection that just breaks off, or idles for too long, is nothing to speak of.
        if let Err(error) = ended.as_ref()
            && error.is_parse()
        {
            self.refused(Class::Connection("no HTTP"), &plain(error));
        }
    }

    async fn answer(&self, request: Request<Incoming>, visit: &Visit<'_>) -> Response<Full<Bytes>> {
        if request.body().is_end_stream() {
            visit.has_come();
        }
        match (request.method(), request.uri().path()) {
            (&Method::POST, _) => self.answer_push(request, visit).await,
            (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "alive\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => match self.not_ready() {
                None => text(StatusCode::OK, "ready\n"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
            },
            _ => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "POST events here; GET /healthz and /readyz\n");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                answer
            }
        }
    }

    async fn answer_push(&self, request: Request<Incoming>, visit: &Visit<'_>) -> Response<Full<Bytes>> {
        let Err(Refusal(status, why)) = self.push(request, visit).await else {
            Meter::add(&self.writer.meter.pushes, 1);
            return Response::new(Full::default());
        };
        self.refused(why, "");
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = status;
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
            }
            // What is left of the body is not waited for.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        answer
    }

    /// Takes a push; when this returns without an error, it is kept.
    async fn push(&self, request: Request<Incoming>, visit: &Visit<'_>) -> Result<(), Refusal> {
        let begun = time::instant();
        if *self.stop.borrow() != Phase::Going {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the recorder is stopping"));
        }
        if matches!(self.guard.read().unwrap_or_else(PoisonError::into_inner).trust, Verifier::Everybody) {
            of_no_page(request.headers())?;
        }
        let signature = request.headers().get(SIGNATURE).map(HeaderValue::as_bytes);
        let voucher = self.guard.read().unwrap_or_else(PoisonError::into_inner).trust.verify(signature, time::now())?;
        if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "its body is compressed"));
        }
        let read = tokio::time::timeout(self.limits.body_time, self.body(request.into_body()));
        let body = read.await.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "its body comes too slowly"))??;
        visit.has_come();
        voucher.check(&body)?;
        if let Some(wrong) = About::read(&body).and_then(|about| about.labels().wrong) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, wrong));
        }
        visit.place.waits();
        let kept = self.wait_for_commit(body, begun).await;
        visit.place.is_known();
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

    async fn body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "its body is too large");
        let most = body.size_hint().upper().unwrap_or(self.limits.body as u64);
        let most = usize::try_from(most).ok().filter(|most| *most <= self.limits.body).ok_or_else(too_large)?;
        let kib = u32::try_from(most.div_ceil(1024)).unwrap_or(READING_KIB).min(READING_KIB);
        let _room = self.reading.acquire_many(kib).await;
        match Limited::new(body, self.limits.body).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "its body breaks off")),
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
        let is_here = host.starts_with("localhost") || host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
        is_here && text(HOST) == Some(host)
    };
    if text(ORIGIN).is_some_and(|origin| !is_own(origin)) {
        return Err(Refusal(StatusCode::FORBIDDEN, Class::Push("it comes from a page of the web, as its header Origin says")));
    }
    let kind = text(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let why = "it is not sent as application/json (the header Content-Type), as everything without a signature has to be";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    Ok(())
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body.to_owned()));
    *answer.status_mut() = status;
    answer
}
