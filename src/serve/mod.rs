//! Serve: HTTP for whoever asks this machine, with a bound for everything that a peer can take.
//!
//! ```text
//! accept --> a place --> TLS --> header --> Host --> [Service::answer] --> answer --> received, or given up
//!              |  the idlest makes room                |
//!              '-- none: 503, and away                 '-- a stream: pieces for as long as somebody reads
//! ```
//!
//! The shell has the connections, a [`Service`] has the answers. What goes wrong is told to people once a class, then counted.

mod body;
mod connection;
mod host;
mod line;
mod places;
mod refusals;
mod tls;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use crate::base::error::plain;
use crate::model::settings::SettingsError;

use host::Hosts;
use places::Places;
use refusals::Refusals;
use tls::Hangup;

pub use body::{Answer, Body, BodyError, Streaming, empty, text, whole};
pub use connection::Visit;
pub use tls::Certificate;
pub use token::Token;

/// When to come again, in seconds: the header Retry-After of a 503.
pub const COME_AGAIN: &str = "5";
/// Bodies that are being read at once, in KiB: bounds the memory that senders can fill.
const READING_KIB: u32 = 16 * 1024;
/// At the end, connections that are in the middle of something get so long.
const GRACE: Duration = Duration::from_secs(10);
/// Connections that are being told to come again, at once; whoever comes beyond hears nothing.
const SENT_AWAY: usize = 32;
/// How often it is looked whether there are refusals to tell.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a stranger may take from us.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most bytes of a body; a push has some 500.
    pub body: usize,
    /// Longest wait for a header, which is also how long an idle connection is kept open.
    pub header_time: Duration,
    /// Longest wait for a body, and for a TLS handshake.
    pub body_time: Duration,
    /// A receiver answers at the latest after this time, unless the commit is already under way: the cloud waits 10 s. The shell leaves
    /// that to the service.
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
    /// Answers that are streams, at once; fewer than connections, since nobody makes room for others during one.
    pub streams: usize,
    /// A peer that has said everything may close its side, and is still answered. Where answers are streams this is not for, since it
    /// cannot be told from a peer that has gone.
    pub may_half_close: bool,
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
            streams: 0,
            may_half_close: true,
        }
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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

/// What answers.
pub trait Service: Send + Sync + 'static {
    /// The answer to a request. It takes the body, if it wants one, by [`Visit::body`].
    fn answer(&self, request: Request<Incoming>, visit: &Visit) -> impl Future<Output = Answer> + Send;

    /// Reads its secrets anew, at SIGHUP; false where none of them is from a file.
    ///
    /// # Errors
    /// When one does not read: all stay as they were, and so does the certificate.
    fn reload(&self) -> Result<bool, ServeError> {
        Ok(false)
    }
}

/// Whom it is told what goes on.
pub trait Told: Send + Sync {
    /// Something that people should see.
    fn note(&self, text: String);

    /// A request or a connection was refused.
    fn refused(&self) {}
}

impl<F: Fn(String) + Send + Sync> Told for F {
    fn note(&self, text: String) {
        self(text);
    }
}

/// A server that has its address, and answers once it is run.
pub struct Server {
    listener: TcpListener,
    hangup: Hangup,
    certificate: Option<Certificate>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    hosts: Option<Hosts>,
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("listener", &self.listener).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Server {
    /// Takes an address; must run within an event loop. With a certificate it speaks TLS and nothing else. From then on SIGHUP makes it
    /// read its files anew.
    ///
    /// # Errors
    /// When the address is taken, or the certificate does not read.
    pub fn bind(address: SocketAddr, certificate: Option<Certificate>, limits: Limits) -> Result<Self, ServeError> {
        let fail = |error| ServeError::Bind(address, error);
        let tls = certificate.as_ref().map(Certificate::load).transpose()?;
        let hangup = Hangup::hear().map_err(fail)?;
        let listener = std::net::TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let listener = TcpListener::from_std(listener).map_err(fail)?;
        Ok(Self { listener, hangup, certificate, tls, limits, hosts: None })
    }

    /// Answers only who calls it by its address, `localhost` or one of these names (421 to others), so that no page of the web that
    /// leads its own name here reads anything.
    #[must_use]
    pub fn only_for(self, names: &[String]) -> Self {
        let hosts = self.listener.local_addr().ok().map(|address| Hosts::new(address.ip(), names));
        Self { hosts, ..self }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |address| address.port())
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.listener.local_addr().map_or_else(|_| scheme.to_owned(), |address| format!("{scheme}://{address}"))
    }

    /// Answers until told to stop. What came before is answered when this returns.
    pub async fn run<S: Service>(mut self, service: Arc<S>, told: Arc<dyn Told>, stop: impl Future<Output = ()>) {
        let (closing, closed) = watch::channel(false);
        let places = Places::new(self.limits.connections, self.limits.connections_of_peer);
        let shell = Arc::new(Shell {
            tls: RwLock::new(self.tls),
            streams: Arc::new(Semaphore::new(self.limits.streams)),
            limits: self.limits,
            hosts: self.hosts,
            reading: Semaphore::new(READING_KIB as usize),
            refusals: Refusals::default(),
            told,
            closed,
        });
        let mut connections = JoinSet::new();
        let away = Arc::new(Semaphore::new(SENT_AWAY));
        let mut tick = tokio::time::interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = pin!(stop);
        loop {
            let stream = tokio::select! {
                stream = self.listener.accept() => stream,
                _ = connections.join_next(), if !connections.is_empty() => continue,
                () = self.hangup.comes() => {
                    shell.reload(self.certificate.as_ref(), &*service);
                    continue;
                }
                _ = tick.tick() => {
                    shell.refusals.due().into_iter().for_each(|text| shell.told.note(text));
                    continue;
                }
                () = &mut stop => break,
            };
            match stream.map(|(stream, peer)| (stream, peer, places.take(peer.ip()))) {
                Ok((stream, peer, Some(place))) => {
                    drop(connections.spawn(connection::run(Arc::clone(&shell), Arc::clone(&service), stream, peer, place)));
                }
                Ok((stream, _, None)) => {
                    shell.refused(&closed_because("there are too many at once, and a push waits on each"), "");
                    let is_tls = shell.tls().is_some();
                    if let Ok(turn) = Arc::clone(&away).try_acquire_owned() {
                        connections.spawn(async move {
                            drop(tokio::time::timeout(GRACE, send_away(stream, is_tls)).await);
                            drop(turn);
                        });
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: they come back when connections end.
                    shell.refused(&closed_because("it cannot be taken"), &plain(&error));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        closing.send_replace(true);
        // Those that do not end by themselves end with the set.
        drop(tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await);
        connections.shutdown().await;
    }
}

/// The class of a connection that is closed or not taken.
fn closed_because(why: &str) -> String {
    format!("a connection was closed: {why}")
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
struct Shell {
    tls: RwLock<Option<TlsAcceptor>>,
    limits: Limits,
    hosts: Option<Hosts>,
    reading: Semaphore,
    streams: Arc<Semaphore>,
    refusals: Refusals,
    told: Arc<dyn Told>,
    /// Becomes true at the end.
    closed: watch::Receiver<bool>,
}

impl Shell {
    fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads certificate and secrets anew: all of them, or none.
    fn reload(&self, certificate: Option<&Certificate>, service: &impl Service) {
        let read = certificate.map(Certificate::load).transpose().and_then(|tls| Ok((service.reload()?, tls)));
        match read {
            Ok((false, None)) => {}
            Ok((_, tls)) => {
                *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
                self.told.note("certificate and secrets are read anew".to_owned());
            }
            Err(error) => self.told.note(format!("certificate and secrets stay as they were: {error}")),
        }
    }

    /// Counts a refusal and tells people.
    fn refused(&self, class: &str, detail: &str) {
        self.told.refused();
        self.tell(class, detail);
    }

    /// Tells people: the first of a class at once, then now and then.
    fn tell(&self, class: &str, detail: &str) {
        if let Some(text) = self.refusals.note(class, detail) {
            self.told.note(text);
        }
    }
}
