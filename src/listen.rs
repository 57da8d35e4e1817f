//! Listen: receives what the cloud's Data Connectors push, and acknowledges only what is kept.
//!
//! ```text
//! connection --> signature --> body --> checksum --> [Desk] --(one order at a time)--> thread "keep" --> COMMIT
//!      ^                                    events become columns                                          |
//!      '------------------------------- 200, or 503 with Retry-After <---------------- verdict ------------'
//! ```
//!
//! Pushes that come while a commit runs share the next one. Whatever is refused is not kept, and whatever is kept is
//! answered 200: a [`Verdict`] is one or the other, even when an answer is due while the disk is slow.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_ENCODING, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::buffer::{Change, Heard, Run};
use crate::collect::{Collector, Found};
use crate::event::{Batch, CloudError, DeviceRow, Source};
use crate::keep::{Numbers, Order, Outlet, Phase, Push, Verdict, told};
use crate::meter::Meter;
use crate::schema::Registry;
use crate::settings::{Filters, Secret, SettingsError, keep_to_oneself, read_secret};
use crate::sources::push::{About, SIGNATURE, Trust};
use crate::time::{self, Micros, Moment};
use crate::wire::Frame;

/// What a stranger may take from us.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes of a body; a push has some 500.
    pub body: usize,
    /// Longest wait for a header, which is also how long an idle connection is kept open.
    pub header_time: Duration,
    /// Longest wait for a body, and for a TLS handshake.
    pub body_time: Duration,
    /// An answer leaves at the latest after this time, unless the commit is already under way: the cloud waits 10 s.
    pub answer_time: Duration,
    /// Connections at once; whoever comes beyond is sent away with 503.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            header_time: Duration::from_secs(30),
            body_time: Duration::from_secs(8),
            answer_time: Duration::from_secs(9),
            connections: 256,
        }
    }
}

/// Most bytes of a header; a signature has some 350.
const HEADER_MAX: usize = 16 * 1024;
/// Bodies that are being read at once, in KiB: bounds the memory that senders can fill.
const READING_KIB: u32 = 16 * 1024;
/// Bytes of events that may wait for their commit.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// When to come again, in seconds.
const COME_AGAIN: &str = "5";
/// A session's sign of life is noted in the buffer this often.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// Refusals of one kind are told at most this often.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// At the end, connections that are in the middle of something get so long.
const GRACE: Duration = Duration::from_secs(10);
/// Devices whose description is remembered, so that it is written only when it changes; beyond, it is written again.
const KNOWN_MAX: usize = 100_000;
/// Projects that get a session each; signed pushes come from a few.
const PROJECTS_MAX: usize = 1000;
/// Numbers of sessions of projects that push: apart from those of streams.
const SESSIONS_FROM: u64 = 1 << 32;

/// Why nothing is received.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}; give another address")]
    Bind(SocketAddr, std::io::Error),
    /// A certificate or a key does not do.
    #[error("{}: {what}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A secret is missing or cannot be read.
    #[error(transparent)]
    Secret(#[from] SettingsError),
}

/// Where secrets and certificates are found.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// A file for each signature secret that is good.
    pub secret_files: Vec<PathBuf>,
    /// A signature secret given otherwise.
    pub secret: Option<Secret>,
    /// Certificate chain and key, as PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Secrets and certificates, read.
#[derive(Clone)]
struct Guard {
    trust: Trust,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Guard").field("trust", &self.trust).finish_non_exhaustive()
    }
}

impl Keys {
    fn load(&self) -> Result<Guard, ListenError> {
        let mut secrets: Vec<Secret> = self.secret.iter().cloned().collect();
        for path in &self.secret_files {
            secrets.push(read_secret(path)?);
        }
        let trust = if secrets.is_empty() { Trust::Everybody } else { Trust::Signed(secrets) };
        let tls = self.tls.as_ref().map(|(cert, key)| acceptor(cert, key)).transpose()?;
        Ok(Guard { trust, tls })
    }
}

fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ListenError> {
    let fail = |path: &Path, what: String| ListenError::Tls { path: path.to_owned(), what };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fail(cert, format!("no certificate in PEM: {error}")))?;
    keep_to_oneself(key)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, format!("no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| fail(cert, format!("certificate and key do not do: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A receiver that has its address, and receives once it is run.
#[derive(Debug)]
pub struct Receiver {
    listener: TcpListener,
    keys: Keys,
    guard: Guard,
    limits: Limits,
}

impl Receiver {
    /// Takes an address; must run within an event loop.
    ///
    /// # Errors
    /// When the address is taken, or a secret or certificate does not read.
    pub fn bind(address: SocketAddr, keys: Keys, limits: Limits) -> Result<Self, ListenError> {
        let guard = keys.load()?;
        let fail = |error| ListenError::Bind(address, error);
        let listener = std::net::TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        Ok(Self { listener: TcpListener::from_std(listener).map_err(fail)?, keys, guard, limits })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        let scheme = if self.guard.tls.is_some() { "https" } else { "http" };
        self.listener.local_addr().map_or_else(|_| scheme.to_owned(), |address| format!("{scheme}://{address}"))
    }

    /// Receives until told to stop. What came before is answered when this returns. `projects` are those of which pushes came before: they
    /// are listened for from now on, for so long as is planned.
    pub async fn run(self, outlet: Outlet, projects: Vec<String>, lasts: Option<Duration>, mut stop: watch::Receiver<Phase>) {
        outlet.meter.update(|parts| parts.listening = Some(self.url()));
        let office = Arc::new(Office::new(self.guard, self.limits, outlet, stop.clone()));
        let (closing, closed) = watch::channel(Phase::Going);
        let sessions = Sessions::begin(projects, lasts, &office.outlet);
        let clerk = tokio::spawn(Arc::clone(&office).clerk(sessions, closed));
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(office.limits.connections));
        let mut reload = pin!(reloading(&office, &self.keys));
        loop {
            let stream = tokio::select! {
                stream = self.listener.accept() => stream,
                _ = connections.join_next(), if !connections.is_empty() => continue,
                () = &mut reload => continue,
                _ = told(&mut stop) => break,
            };
            match (stream, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, _)), Ok(place)) => {
                    let office = Arc::clone(&office);
                    connections.spawn(async move {
                        office.connection(stream).await;
                        drop(place);
                    });
                }
                (Ok((stream, _)), Err(_)) => {
                    office.refused("there are too many connections at once");
                    let is_tls = office.guard().tls.is_some();
                    connections.spawn(async move { drop(tokio::time::timeout(GRACE, send_away(stream, is_tls)).await) });
                }
                (Err(error), _) => {
                    // Out of descriptors, most likely: they come back when connections end.
                    office.refused(&format!("a connection cannot be taken: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        // Connections are told by their own copy of `stop`; those that do not end by themselves end with the set.
        drop(tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await);
        connections.shutdown().await;
        closing.send_replace(*stop.borrow());
        drop(clerk.await);
        office.outlet.meter.update(|parts| parts.listening = None);
    }
}

/// Reads secrets and certificates anew at each SIGHUP; never ends.
#[cfg(unix)]
async fn reloading(office: &Office, keys: &Keys) {
    use tokio::signal::unix::{SignalKind, signal};
    // Without files, SIGHUP means what it means elsewhere: the terminal is gone.
    let has_files = keys.tls.is_some() || !keys.secret_files.is_empty();
    let Some(mut hangup) = has_files.then(|| signal(SignalKind::hangup()).ok()).flatten() else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        let note = match keys.load() {
            Ok(guard) => {
                *office.guard.write().unwrap_or_else(PoisonError::into_inner) = guard;
                "certificate and secrets are read anew".to_owned()
            }
            Err(error) => format!("certificate and secrets stay as they were: {error}"),
        };
        office.outlet.meter.note(time::now(), note);
    }
    std::future::pending::<()>().await;
}

#[cfg(not(unix))]
async fn reloading(_: &Office, _: &Keys) {
    std::future::pending::<()>().await;
}

/// One connection too many gets an answer, where that costs no handshake.
async fn send_away(mut stream: TcpStream, is_tls: bool) {
    if !is_tls {
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: {COME_AGAIN}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        drop(stream.write_all(answer.as_bytes()).await);
    }
    drop(stream.shutdown().await);
}

/// Everything that connections share.
#[derive(Debug)]
struct Office {
    guard: RwLock<Guard>,
    limits: Limits,
    outlet: Outlet,
    desk: Mutex<Desk>,
    filled: Notify,
    reading: Semaphore,
    refusals: Mutex<BTreeMap<String, (u64, Instant)>>,
    stop: watch::Receiver<Phase>,
}

/// Pushes that wait for their commit.
#[derive(Debug)]
struct Desk {
    collector: Collector,
    devices: Vec<DeviceRow>,
    waiting: Vec<Waiting>,
    oldest: Option<Instant>,
    known: HashSet<u64>,
    hasher: RandomState,
}

/// A push that waits.
#[derive(Debug)]
struct Waiting {
    body: Bytes,
    fate: oneshot::Sender<Fate>,
}

/// What becomes of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is kept.
    Kept,
    /// It is not, and may be the next time.
    Later,
    /// It cannot be.
    Unfit,
}

/// What the clerk takes from the desk.
struct Pile {
    batch: Option<Batch>,
    last: Option<Micros>,
    waiting: Vec<Waiting>,
    oldest: Instant,
}

/// Why a push gets no 200: the status, and the word for the log; the sender learns the status alone.
struct Refusal(StatusCode, String);

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self(status, why.into())
    }
}

impl Desk {
    fn new(registry: &Arc<Registry>) -> Self {
        Self {
            collector: Collector::new(Arc::clone(registry), Source::Push),
            devices: Vec::new(),
            waiting: Vec::new(),
            oldest: None,
            known: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Puts a push on the desk; gives what will tell what becomes of it.
    fn add(&mut self, body: Bytes, now: Micros) -> oneshot::Receiver<Fate> {
        let (fate, verdict) = oneshot::channel();
        self.put(Waiting { body, fate }, now);
        verdict
    }

    fn put(&mut self, push: Waiting, now: Micros) {
        let body = &push.body;
        let frame = Frame::Line(body);
        match self.collector.add(&frame, now) {
            // A push has no stream to end: whatever this is, it is kept.
            Found::Error(said) => {
                let reason = format!("an error instead of an event: {}", CloudError::read(&said));
                self.collector.refuse(&frame, reason, now);
            }
            Found::Event | Found::Ping | Found::Fault => {}
        }
        if let Some(about) = About::read(body) {
            let text = (about.labels.map(serde_json::value::RawValue::get), about.metadata.map(serde_json::value::RawValue::get));
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            if self.known.insert(self.hasher.hash_one(text)) {
                self.devices.extend(about.device());
            }
        }
        self.waiting.push(push);
        self.oldest.get_or_insert_with(time::instant);
    }

    fn take(&mut self) -> Option<Pile> {
        let oldest = self.oldest.take()?;
        let (last, devices) = (self.collector.last_time(), std::mem::take(&mut self.devices));
        let batch = self.collector.take().ok().map(|batch| Batch { devices, ..batch });
        Some(Pile { batch, last, waiting: std::mem::take(&mut self.waiting), oldest })
    }
}

impl Office {
    fn new(guard: Guard, limits: Limits, outlet: Outlet, stop: watch::Receiver<Phase>) -> Self {
        let desk = Desk::new(&outlet.registry);
        Self {
            guard: RwLock::new(guard),
            limits,
            outlet,
            desk: Mutex::new(desk),
            filled: Notify::new(),
            reading: Semaphore::new(READING_KIB as usize),
            refusals: Mutex::new(BTreeMap::new()),
            stop,
        }
    }

    fn guard(&self) -> Guard {
        self.guard.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection until it ends.
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        // An acknowledgement that waits for the next one is late.
        stream.set_nodelay(true).ok();
        let Some(tls) = self.guard().tls else { return self.serve(stream).await };
        match tokio::time::timeout(self.limits.body_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => self.refused(&format!("no TLS: {error}")),
            Err(_) => self.refused("the TLS handshake takes too long"),
        }
    }

    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut stop = self.stop.clone();
        let office = Arc::clone(&self);
        let service = service_fn(move |request| {
            let office = Arc::clone(&office);
            async move { Ok::<_, Infallible>(office.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_buf_size(HEADER_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = told(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        // A connection that just breaks off, or idles for too long, is nothing to speak of.
        if let Err(error) = ended.as_ref()
            && error.is_parse()
        {
            self.refused(&format!("no HTTP: {error}"));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, _) => self.answer_push(request).await,
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

    async fn answer_push(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Err(Refusal(status, why)) = self.push(request).await else {
            Meter::add(&self.outlet.meter.pushes, 1);
            return Response::new(Full::default());
        };
        self.refused(&why);
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
    async fn push(&self, request: Request<Incoming>) -> Result<(), Refusal> {
        let begun = time::instant();
        if *self.stop.borrow() != Phase::Going {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the recorder is stopping"));
        }
        let distrusted = |why: crate::sources::push::Distrust| Refusal::new(StatusCode::UNAUTHORIZED, why.to_string());
        let signature = request.headers().get(SIGNATURE).map(HeaderValue::as_bytes);
        let voucher = self.guard.read().unwrap_or_else(PoisonError::into_inner).trust.vouch(signature, time::now());
        let voucher = voucher.map_err(distrusted)?;
        if request.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "its body is compressed"));
        }
        let read = tokio::time::timeout(self.limits.body_time, self.body(request.into_body()));
        let body = read.await.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "its body comes too slowly"))??;
        voucher.check(&body).map_err(distrusted)?;
        if let Some(wrong) = About::read(&body).and_then(|about| about.labels().wrong) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, wrong));
        }
        let verdict = {
            let mut desk = self.desk();
            if desk.collector.bytes() + body.len() > WAITING_BYTES {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too much waits for the disk already"));
            }
            let verdict = desk.add(body, time::now());
            // The answer is due so long after the request, however long its body took.
            desk.oldest = desk.oldest.map(|oldest| oldest.min(begun));
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
        let too_large =
            || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("its body has more than {} bytes", self.limits.body));
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
        } else if self.outlet.keep.is_closed() {
            Some("nothing can be kept")
        } else if self.outlet.meter.full.load(Ordering::Relaxed) {
            Some("the disk is full")
        } else {
            None
        }
    }

    /// Counts a refusal and tells people: the first of a kind at once, then now and then.
    fn refused(&self, why: &str) {
        Meter::add(&self.outlet.meter.refused, 1);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let now = time::instant();
        if let Some((count, told)) = refusals.get_mut(why) {
            *count += 1;
            if now - *told >= TELL_EVERY {
                let text = format!("{count} more pushes were refused in the last minute or so: {why}");
                self.outlet.meter.note(time::now(), text);
                (*count, *told) = (0, now);
            }
            return;
        }
        if refusals.len() < 100 {
            refusals.insert(why.to_owned(), (0, now));
            self.outlet.meter.note(time::now(), format!("a push was refused: {why}"));
        }
    }

    /// Takes what is on the desk to the keeper, again and again, until told that nothing more will come.
    async fn clerk(self: Arc<Self>, mut sessions: Sessions, mut closing: watch::Receiver<Phase>) {
        for order in sessions.begun() {
            self.outlet.send(order).await;
        }
        let mut tick = tokio::time::interval(NOTE_EVERY);
        loop {
            tokio::select! {
                () = self.filled.notified() => {}
                _ = tick.tick() => sessions.spoke(&self.outlet),
                _ = told(&mut closing) => break,
            }
            // In a statement of its own: the desk must not be held while its pile is carried.
            while let Some(pile) = { self.desk().take() } {
                for unfit in self.carry(pile, &mut sessions).await {
                    // Each alone: what does not fit must not take others along.
                    let mut desk = Desk::new(&self.outlet.registry);
                    desk.put(unfit, time::now());
                    let Some(alone) = desk.take() else { continue };
                    for Waiting { fate, .. } in self.carry(alone, &mut sessions).await {
                        fate.send(Fate::Unfit).unwrap_or_default();
                    }
                }
            }
        }
        let phase = *closing.borrow();
        sessions.close(phase, &self.outlet).await;
    }

    /// Carries a pile to the keeper and tells those who wait for it what became of it; gives them back when something in it is
    /// unfit.
    async fn carry(&self, pile: Pile, sessions: &mut Sessions) -> Vec<Waiting> {
        let Pile { batch, last, waiting, oldest } = pile;
        let fate = match batch {
            Some(batch) if batch.is_empty() => Fate::Kept,
            Some(batch) => {
                let mut orders = sessions.open(&batch.devices, &self.outlet.meter);
                let counts: Vec<_> =
                    batch.parts.iter().map(|(part, rows)| (part.event_type.to_string(), rows.num_rows() as u64)).collect();
                let verdict = Arc::new(Verdict::default());
                let (reached, done) = oneshot::channel();
                orders.push(Order::Push(Push { batch, verdict: Arc::clone(&verdict), reached }));
                let fate = self.keep(orders, &verdict, done, oldest).await;
                if fate == Fate::Kept {
                    self.outlet.meter.update(|parts| {
                        parts.last_event = last.or(parts.last_event);
                        for (event_type, count) in counts {
                            *parts.by_type.entry(event_type).or_default() += count;
                        }
                    });
                }
                fate
            }
            None => {
                self.outlet.meter.note(time::now(), "pushes could not be built into a batch");
                Fate::Unfit
            }
        };
        if fate != Fate::Kept {
            // What was to be written with them has to come again.
            self.desk().known.clear();
        }
        if fate == Fate::Unfit {
            return waiting;
        }
        for push in waiting {
            // Whoever has gone meanwhile pushes again: that is a double, and stands once.
            push.fate.send(fate).unwrap_or_default();
        }
        Vec::new()
    }

    /// What becomes of the push that is the last of the orders. Gives up in time, if the keeper has not begun by then.
    async fn keep(&self, orders: Vec<Order>, verdict: &Verdict, done: oneshot::Receiver<()>, oldest: Instant) -> Fate {
        let carried = async {
            for order in orders {
                self.outlet.send(order).await;
            }
            drop(done.await);
        };
        let mut carried = pin!(carried);
        let mut due = oldest + self.limits.answer_time;
        loop {
            tokio::select! {
                () = &mut carried => return match verdict {
                    verdict if verdict.is_kept() => Fate::Kept,
                    verdict if verdict.is_unfit() => Fate::Unfit,
                    _ => Fate::Later,
                },
                () = tokio::time::sleep_until(due.into()) => {
                    if verdict.withdraw() {
                        return Fate::Later;
                    }
                    // The commit is under way and slow. Who came later can be told to come again, and must be.
                    let now = time::instant();
                    let mut desk = self.desk();
                    if desk.oldest.is_some_and(|oldest| oldest + self.limits.answer_time <= now) {
                        drop(desk.take());
                    }
                    due = desk.oldest.unwrap_or(now) + self.limits.answer_time;
                }
            }
        }
    }
}

/// The sessions of this receiver: one for each project that pushes. A receiver that listens is one that hears; what nobody
/// acknowledges is pushed again.
#[derive(Debug)]
struct Sessions {
    by_project: HashMap<String, Held>,
    /// By the steady clock.
    ends_at: Option<Micros>,
    numbers: Arc<Numbers>,
    /// When its clock was looked at last.
    anchor: Moment,
    next: u64,
}

/// One of them.
#[derive(Debug, Clone)]
struct Held {
    run: Arc<Run>,
    session: u64,
    opened_at: Micros,
}

impl Held {
    fn heard(&self, spoke_at: Micros, ended: Option<String>) -> Order {
        let (run, session, opened_at) = (Arc::clone(&self.run), self.session, self.opened_at);
        Order::Note(Change::Heard(Heard { run, session, opened_at, spoke_at, ended }))
    }
}

impl Sessions {
    fn begin(projects: Vec<String>, lasts: Option<Duration>, outlet: &Outlet) -> Self {
        let now = time::moment();
        let mut sessions = Self {
            by_project: HashMap::new(),
            ends_at: lasts.map(|lasts| now.steady.saturating_add(time::micros(lasts))),
            numbers: Arc::clone(&outlet.numbers),
            anchor: now,
            next: SESSIONS_FROM,
        };
        for project in projects.into_iter().take(PROJECTS_MAX) {
            sessions.hold(project, now.wall, now);
        }
        sessions
    }

    fn hold(&mut self, project: String, begins: Micros, now: Moment) -> Held {
        let run = Run {
            number: self.numbers.runs.fetch_add(1, Ordering::Relaxed),
            boot: self.numbers.boot.clone(),
            clock: now.clock(),
            source: Source::Push,
            project: project.clone(),
            filters: Filters::default(),
            account: String::new(),
            begins,
            until: self.ends_at.map(|at| now.wall.saturating_add(at - now.steady)),
            quiet: 3 * time::micros(NOTE_EVERY),
        };
        self.next += 1;
        let held = Held { run: Arc::new(run), session: self.next, opened_at: begins };
        self.by_project.insert(project, held.clone());
        held
    }

    /// What is to be noted of those that are listened for from the beginning.
    fn begun(&self) -> Vec<Order> {
        self.by_project
            .values()
            .flat_map(|held| [Order::Note(Change::Begins(Arc::clone(&held.run))), held.heard(held.opened_at, None)])
            .collect()
    }

    /// Orders that open a session for each project that has none.
    fn open(&mut self, devices: &[DeviceRow], meter: &Meter) -> Vec<Order> {
        let mut orders = Vec::new();
        for device in devices {
            if self.by_project.contains_key(&device.project) || self.by_project.len() >= PROJECTS_MAX {
                continue;
            }
            let now = time::moment();
            let held = self.hold(device.project.clone(), now.wall, now);
            orders.extend([Order::Note(Change::Begins(Arc::clone(&held.run))), held.heard(now.wall, None)]);
            meter.note(time::now(), format!("{}: pushes arrive", device.project));
            Meter::add(&meter.sessions, 1);
        }
        orders
    }

    /// A sign of life of each, if the keeper has time for it: those who push must not wait for this.
    fn spoke(&mut self, outlet: &Outlet) {
        let now = time::moment();
        let before = std::mem::replace(&mut self.anchor, now);
        let is_set = now.step_since(before).abs() > time::STEP;
        for held in self.by_project.clone().into_values() {
            if is_set {
                // What is wanted goes on by the new clock, from the last look at the old one on.
                let project = held.run.project.clone();
                let new = self.hold(project, now.wall - (now.steady - before.steady), now);
                let cause = "this machine's clock was set".to_owned();
                for order in [
                    held.heard(before.wall, Some(cause)),
                    Order::Note(Change::Begins(Arc::clone(&new.run))),
                    Order::Note(Change::Ends(held.run, before.wall)),
                    new.heard(now.wall, None),
                ] {
                    drop(outlet.keep.try_send(order));
                }
            } else {
                drop(outlet.keep.try_send(held.heard(now.wall, None)));
            }
        }
    }

    async fn close(&mut self, phase: Phase, outlet: &Outlet) {
        let now = time::now();
        for (_, held) in self.by_project.drain() {
            outlet.send(held.heard(now, Some("the receiver stopped".to_owned()))).await;
            if phase != Phase::HungUp {
                outlet.send(Order::Note(Change::Ends(held.run, now))).await;
            }
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body.to_owned()));
    *answer.status_mut() = status;
    answer
}
