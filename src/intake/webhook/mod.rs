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
mod pending;
mod sessions;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::cloud::push::Verifier;
use crate::serve::{ServeError, Server};
use crate::store::writer::{Phase, WriterHandle, shutdown_requested};

use pending::PendingBatch;
use sessions::Sessions;

pub use crate::serve::Limits;
pub use keys::Keys;

/// A receiver that has its address, and receives once it is run.
#[derive(Debug)]
pub struct Receiver {
    server: Server,
    keys: Keys,
    trust: Verifier,
    limits: Limits,
}

impl Receiver {
    /// Takes an address; must run within an event loop. From then on SIGHUP makes it read its keys anew.
    ///
    /// # Errors
    /// When the address is taken, or a secret or certificate does not read.
    pub fn bind(address: SocketAddr, keys: Keys, limits: Limits) -> Result<Self, ServeError> {
        let trust = keys.trust()?;
        let server = Server::bind(address, keys.certificate.clone(), limits.clone())?;
        Ok(Self { server, keys, trust, limits })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Receives until told to stop. What came before is answered when this returns. `projects` are those of which pushes came before: they
    /// are listened for from now on, for so long as is planned.
    pub async fn run(self, writer: WriterHandle, projects: Vec<String>, lasts: Option<Duration>, stop: watch::Receiver<Phase>) {
        let Self { server, keys, trust, limits } = self;
        let meter = Arc::clone(&writer.meter);
        meter.update(|parts| parts.listening = Some(server.url()));
        let (closing, closed) = watch::channel(Phase::Going);
        let sessions = Sessions::begin(projects, lasts, &writer);
        let webhook = Arc::new(WebhookServer {
            keys,
            trust: RwLock::new(Arc::new(trust)),
            limits,
            pending: Mutex::new(PendingBatch::new(&writer.registry)),
            filled: Notify::new(),
            stop: stop.clone(),
            writer,
        });
        let commit_loop = tokio::spawn(Arc::clone(&webhook).commit_loop(sessions, closed));
        let asked = async {
            shutdown_requested(&mut stop.clone()).await;
        };
        server.run(webhook, meter.clone(), asked).await;
        closing.send_replace(*stop.borrow());
        drop(commit_loop.await);
        meter.update(|parts| {
            parts.listening = None;
            parts.pushing.clear();
        });
    }
}

/// Everything that connections share.
#[derive(Debug)]
struct WebhookServer {
    keys: Keys,
    trust: RwLock<Arc<Verifier>>,
    limits: Limits,
    writer: WriterHandle,
    pending: Mutex<PendingBatch>,
    filled: Notify,
    stop: watch::Receiver<Phase>,
}

impl WebhookServer {
    fn pending(&self) -> MutexGuard<'_, PendingBatch> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trust(&self) -> Arc<Verifier> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
