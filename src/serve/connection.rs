//! One connection: its requests become answers, one after the other, until it ends or its place is needed.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::base::error::plain;
use crate::base::time;

use super::body::{Answer, Body, BodyError, Streaming, text};
use super::line::Line;
use super::places::Place;
use super::{Limits, READING_KIB, Service, Shell, closed_because};

/// Most bytes of a header; a signature has some 350.
const HEADER_MAX: usize = 16 * 1024;

/// A connection while it lasts, as a service sees it.
pub struct Visit {
    shell: Arc<Shell>,
    peer: SocketAddr,
    place: Arc<Place>,
    /// All that came is answered.
    is_settled: Arc<AtomicBool>,
    /// A request is being answered.
    is_at_work: AtomicBool,
    begun: Instant,
    requests: AtomicU32,
    /// Requests since the last one that was worth it.
    in_vain: AtomicU32,
}

impl fmt::Debug for Visit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Visit").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Visit {
    /// Who is connected; behind a proxy this is the proxy.
    pub fn peer(&self) -> IpAddr {
        self.peer.ip()
    }

    /// The body of a request, once all of it has come.
    ///
    /// # Errors
    /// When it is too large, comes too slowly, or breaks off.
    pub async fn body(&self, body: Incoming) -> Result<Bytes, BodyError> {
        let read = tokio::time::timeout(self.shell.limits.body_time, self.read(body));
        let body = read.await.map_err(|_| BodyError::TooSlow)??;
        self.has_come();
        Ok(body)
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, BodyError> {
        let Limits { body: body_max, .. } = self.shell.limits;
        let most = body.size_hint().upper().unwrap_or(body_max as u64);
        let most = usize::try_from(most).ok().filter(|most| *most <= body_max).ok_or(BodyError::TooLarge)?;
        let kib = u32::try_from(most.div_ceil(1024)).unwrap_or(READING_KIB).min(READING_KIB);
        let _room = self.shell.reading.acquire_many(kib).await;
        match Limited::new(body, body_max).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
            Err(_) => Err(BodyError::BreaksOff),
        }
    }

    /// A body that is said piece by piece, and the way to it; none while there are as many streams as there may be. So long as it is
    /// said, the connection is not ended for its age. At most so many pieces wait for a peer that is slow. Once the peer has gone, or
    /// everything ends, the way is closed.
    pub fn stream(&self, pieces: usize) -> Option<(mpsc::Sender<Bytes>, Body)> {
        let turn = Arc::clone(&self.shell.streams).try_acquire_owned().ok()?;
        let (sender, pieces) = mpsc::channel(pieces);
        Some((sender, Either::Right(Streaming::new(pieces, Arc::clone(&self.place), turn))))
    }

    /// What it brought is being dealt with: nobody takes its place meanwhile.
    pub fn waits(&self) {
        self.place.waits();
    }

    /// That is done, and this is nobody who only takes a place.
    pub fn is_known(&self) {
        self.place.is_known();
    }

    /// This request was worth it: those before are no longer held against the connection.
    pub fn was_worth_it(&self) {
        self.in_vain.store(0, Ordering::Relaxed);
    }

    /// Counts what is refused, and tells people: of each class the first one at once, then how many more. A class is never of a
    /// peer's choosing; `detail` may be.
    pub fn refused(&self, class: &str, detail: &str) {
        self.shell.refused(class, detail);
    }

    /// Counts a request; true when it is to be the last one.
    fn ends(&self) -> bool {
        let limits = &self.shell.limits;
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        requests >= limits.requests
            || self.in_vain.load(Ordering::Relaxed) >= limits.idle_requests
            || time::instant() - self.begun >= limits.age
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

    async fn answer(&self, request: Request<Incoming>, service: &impl Service) -> Answer {
        self.is_at_work.store(true, Ordering::Relaxed);
        self.in_vain.fetch_add(1, Ordering::Relaxed);
        if request.body().is_end_stream() {
            self.has_come();
        }
        let mut answer = if self.shell.hosts.as_ref().is_none_or(|hosts| hosts.are_meant(&request)) {
            service.answer(request, self).await
        } else {
            self.refused("a request was refused: it is meant for another host, as its header Host says", "");
            text(StatusCode::MISDIRECTED_REQUEST, "this is another host than the one that was asked for\n")
        };
        // What is left of the body is not waited for.
        let is_cut = matches!(answer.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE);
        let ends = self.ends();
        if ends || is_cut {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if ends {
            // The next request may be under way already.
            self.is_settled.store(false, Ordering::Relaxed);
        }
        self.is_at_work.store(false, Ordering::Relaxed);
        answer
    }
}

/// Serves a connection until it ends, or its place is needed.
pub(super) async fn run<S: Service>(shell: Arc<Shell>, service: Arc<S>, stream: TcpStream, peer: SocketAddr, place: Place) {
    // An acknowledgement that waits for the next one is late.
    stream.set_nodelay(true).ok();
    forget_the_silent(&stream, shell.limits.write_time);
    let visit = Visit {
        place: Arc::new(place),
        peer,
        is_settled: Arc::new(AtomicBool::new(true)),
        is_at_work: AtomicBool::new(false),
        begun: time::instant(),
        requests: AtomicU32::new(0),
        in_vain: AtomicU32::new(0),
        shell,
    };
    let shell = &visit.shell;
    let Limits { age, header_time, body_time, answer_time, write_time, linger_time, .. } = shell.limits;
    // One of its age ends with its next answer; this is for those who never get that far.
    let longest = age + header_time + body_time + answer_time + write_time + linger_time;
    let is_never_done = async {
        tokio::time::sleep(longest).await;
        while visit.place.is_streaming() {
            tokio::time::sleep(longest).await;
        }
    };
    tokio::select! {
        () = visit.place.is_needed() => shell.tell(&closed_because("it idled, and there was no other place for somebody else"), ""),
        () = greet(&visit, &*service, stream) => {}
        () = is_never_done => shell.tell(&closed_because("it was never done"), ""),
    }
}

/// A peer that is gone without a word, as a phone out of reach, is noticed by what it does not acknowledge, however little that is.
fn forget_the_silent(stream: &TcpStream, write_time: Duration) {
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(stream, u32::try_from(2 * write_time.as_millis()).unwrap_or(u32::MAX)).ok();
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, write_time);
}

async fn greet(visit: &Visit, service: &impl Service, stream: TcpStream) {
    let shell = &visit.shell;
    let line = Line::new(stream, shell.limits.write_time, shell.limits.linger_time, Arc::clone(&visit.is_settled));
    let Some(tls) = shell.tls() else { return converse(visit, service, line).await };
    match tokio::time::timeout(shell.limits.body_time, tls.accept(line)).await {
        Ok(Ok(stream)) => converse(visit, service, stream).await,
        Ok(Err(error)) => shell.refused(&closed_because("no TLS"), &plain(&error)),
        Err(_) => shell.refused(&closed_because("the TLS handshake takes too long"), ""),
    }
}

/// Speaks HTTP on a connection until it ends.
async fn converse(visit: &Visit, service: &impl Service, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let shell = &visit.shell;
    let mut closed = shell.closed.clone();
    let closes = async { drop(closed.wait_for(|closed| *closed).await) };
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(visit.answer(request, service).await) });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shell.limits.header_time)
        .max_buf_size(HEADER_MAX)
        // Who has said everything may close that side, and still reads.
        .half_close(shell.limits.may_half_close)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closes => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                // Who says nothing, or only half of it, is not waited for.
                () = visit.idles(shell.limits.linger_time) => return,
            }
        }
    };
    // A connection that just breaks off, or idles for too long, is nothing to speak of.
    if let Err(error) = ended.as_ref()
        && error.is_parse()
    {
        shell.refused(&closed_because("no HTTP"), &plain(error));
    }
}
