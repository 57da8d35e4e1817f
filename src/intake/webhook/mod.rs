//! Listen: receives what the cloud's Data Connectors push, and acknowledges only what is kept.
//!
//! ```text
//! connection --> signature --> body --> checksum --> [PendingBatch] --(one order at a time)--> thread "keep" --> COMMIT
//!      ^                                    events become columns                                          |
//!      '------------------------------- 200, or 503 with Retry-After <---------------- verdict ------------'
//! ```
//!
//! Pushes that come while a commit runs share the next one. Whatever is refused is not kept, and whatever is kept is
//! answered 200: a verdict is one or the other, even when an answer is due while the disk is slow.

mod http;
mod keys;
mod line;
mod pending;
mod places;
mod refusals;
mod sessions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::base::error::plain;
use crate::base::time;
use crate::model::settings::SettingsError;
use crate::store::meter::Meter;
use crate::store::writer::{Phase, WriterHandle, shutdown_requested};

use keys::{Guard, Hangup};
use line::Line;
use pending::PendingBatch;
use places::{Place, Places};
use refusals::{Class, Refusals};
use sessions::Sessions;

pub use keys::Keys;

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
    /// Longest wait for a peer to take the next bytes of its answers.
    pub write_time: Duration,
    /// How long a peer that is still sending may go on when its last answer is under way, so that it is received.
    pub linger_time: Duration,
    /// Connections at once. Whoever comes beyond takes the place of the idlest, and is sent away with 503 when a push waits on each.
    pub connections: usize,
    /// Connections of one peer at once, in the same way. This machine has no such limit: a proxy stands for everybody.
    pub connections_of_peer: usize,
    /// A connection of this age ends with its next answer.
    pub age: Duration,
    /// So does one after so many requests,
    pub requests: u32,
    /// and after so many in a row that brought nothing.
    pub idle_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            header_time: Duration::from_secs(30),
            body_time: Duration::from_secs(8),
            answer_time: Duration::from_secs(9),
            write_time: Duration::from_secs(10),
            linger_time: Duration::from_secs(2),
            connections: 256,
            connections_of_peer: 128,
            age: Duration::from_mins(10),
            requests: 100_000,
            idle_requests: 100,
        }
    }
}

/// At the end, connections that are in the middle of something get so long.
const GRACE: Duration = Duration::from_secs(10);
/// Connections that are being told to come again, at once; whoever comes beyond hears nothing.
const SENT_AWAY: usize = 32;

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

/// A receiver that has its address, and receives once it is run.
#[derive(Debug)]
pub struct Receiver {
    listener: TcpListener,
    hangup: Hangup,
    keys: Keys,
    guard: Guard,
    limits: Limits,
}

impl Receiver {
    /// Takes an address; must run within an event loop. From then on SIGHUP makes it read its keys anew.
    ///
    /// # Errors
    /// When the address is taken, or a secret or certificate does not read.
    pub fn bind(address: SocketAddr, keys: Keys, limits: Limits) -> Result<Self, ListenError> {
        let fail = |error| ListenError::Bind(address, error);
        let (guard, hangup) = (keys.load()?, Hangup::hear().map_err(fail)?);
        let listener = std::net::TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        Ok(Self { listener: TcpListener::from_std(listener).map_err(fail)?, hangup, keys, guard, limits })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        let scheme = if self.guard.tls.is_some() { "https" } else { "http" };
        self.listener.local_addr().map_or_else(|_| scheme.to_owned(), |address| format!("{scheme}://{address}"))
    }

    /// Receives until told to stop. What came before is answered when this returns. `projects` are those of which pushes came before: they
    /// are listened for from now on, for so long as is planned.
    pub async fn run(
        mut self,
        writer: WriterHandle,
        projects: Vec<String>,
        lasts: Option<Duration>,
        mut stop: watch::Receiver<Phase>,
    ) {
        writer.meter.update(|parts| parts.listening = Some(self.url()));
        let server = Arc::new(WebhookServer::new(self.guard, self.limits, writer, stop.clone()));
        let (closing, closed) = watch::channel(Phase::Going);
        let sessions = Sessions::begin(projects, lasts, &server.writer);
        let commit_loop = tokio::spawn(Arc::clone(&server).commit_loop(sessions, closed));
        let mut connections = JoinSet::new();
        let places = Places::new(server.limits.connections, server.limits.connections_of_peer);
        let away = Arc::new(Semaphore::new(SENT_AWAY));
        loop {
            let stream = tokio::select! {
                stream = self.listener.accept() => stream,
                _ = connections.join_next(), if !connections.is_empty() => continue,
                () = self.hangup.comes() => {
                    server.reload(&self.keys);
                    continue;
                }
                _ = shutdown_requested(&mut stop) => break,
            };
            match stream.map(|(stream, peer)| (stream, places.take(peer.ip()))) {
                Ok((stream, Some(place))) => drop(connections.spawn(Arc::clone(&server).connection(stream, place))),
                Ok((stream, None)) => {
                    server.refused(Class::Connection("there are too many at once, and a push waits on each"), "");
                    let is_tls = server.guard().tls.is_some();
                    if let Ok(turn) = Arc::clone(&away).try_acquire_owned() {
                        connections.spawn(async move {
                            drop(tokio::time::timeout(GRACE, send_away(stream, is_tls)).await);
                            drop(turn);
                        });
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: they come back when connections end.
                    server.refused(Class::Connection("it cannot be taken"), &plain(&error));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        // Connections are told by their own copy of `stop`; those that do not end by themselves end with the set.
        drop(tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await);
        connections.shutdown().await;
        closing.send_replace(*stop.borrow());
        drop(commit_loop.await);
        server.writer.meter.update(|parts| parts.listening = None);
    }
}

/// One connection too many gets an answer, where that costs no handshake.
async fn send_away(mut stream: TcpStream, is_tls: bool) {
    if !is_tls {
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            http::COME_AGAIN
        );
        drop(stream.write_all(answer.as_bytes()).await);
    }
    drop(stream.shutdown().await);
}

/// Everything that connections share.
#[derive(Debug)]
struct WebhookServer {
    guard: RwLock<Guard>,
    limits: Limits,
    writer: WriterHandle,
    pending: Mutex<PendingBatch>,
    filled: Notify,
    reading: Semaphore,
    refusals: Refusals,
    stop: watch::Receiver<Phase>,
}

impl WebhookServer {
    fn new(guard: Guard, limits: Limits, writer: WriterHandle, stop: watch::Receiver<Phase>) -> Self {
        let pending = PendingBatch::new(&writer.registry);
        Self {
            guard: RwLock::new(guard),
            limits,
            writer,
            pending: Mutex::new(pending),
            filled: Notify::new(),
            reading: Semaphore::new(http::READING_KIB as usize),
            refusals: Refusals::default(),
            stop,
        }
    }

    fn guard(&self) -> Guard {
        self.guard.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pending(&self) -> MutexGuard<'_, PendingBatch> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads secrets and certificates anew.
    fn reload(&self, keys: &Keys) {
        let note = match keys.load() {
            Ok(_) if !keys.has_files() => {
                "SIGHUP: neither secret nor certificate is from a file, so there is nothing to read anew".to_owned()
            }
            Ok(guard) => {
                *self.guard.write().unwrap_or_else(PoisonError::into_inner) = guard;
                "certificate and secrets are read anew".to_owned()
            }
            Err(error) => format!("certificate and secrets stay as they were: {error}"),
        };
        self.writer.meter.note(time::now(), note);
    }

    /// Serves a connection until it ends, or its place is needed.
    async fn connection(self: Arc<Self>, stream: TcpStream, place: Place) {
        // An acknowledgement that waits for the next one is late.
        stream.set_nodelay(true).ok();
        let Limits { age, header_time, body_time, answer_time, write_time, linger_time, .. } = self.limits;
        // One of its age ends with its next answer; this is for those who never get that far.
        let longest = age + header_time + body_time + answer_time + write_time + linger_time;
        let place = Arc::new(place);
        tokio::select! {
            () = place.is_needed() => self.told(Class::Connection("it idled, and there was no other place for somebody else"), ""),
            served = tokio::time::timeout(longest, self.greet(stream, &place)) => {
                if served.is_err() {
                    self.told(Class::Connection("it was never done"), "");
                }
            }
        }
    }

    async fn greet(&self, stream: TcpStream, place: &Place) {
        let is_settled = Arc::new(AtomicBool::new(true));
        let line = Line::new(stream, self.limits.write_time, self.limits.linger_time, Arc::clone(&is_settled));
        let Some(tls) = self.guard().tls else { return self.serve(line, place, &is_settled).await };
        match tokio::time::timeout(self.limits.body_time, tls.accept(line)).await {
            Ok(Ok(stream)) => self.serve(stream, place, &is_settled).await,
            Ok(Err(error)) => self.refused(Class::Connection("no TLS"), &plain(&error)),
            Err(_) => self.refused(Class::Connection("the TLS handshake takes too long"), ""),
        }
    }

    /// Counts a refusal and tells people.
    fn refused(&self, class: Class, detail: &str) {
        Meter::add(&self.writer.meter.refused, 1);
        self.told(class, detail);
    }

    /// Tells people: the first of a class at once, then now and then.
    fn told(&self, class: Class, detail: &str) {
        if let Some(text) = self.refusals.note(class, detail) {
            self.writer.meter.note(time::now(), text);
        }
    }
}
