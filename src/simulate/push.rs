//! The simulated cloud as a Data Connector: pushes every published event to a receiver, signed, at least once.

use super::batch::{Frame, Item};
use super::clock::{Clock, FOREVER, micros, real_seconds};
use super::delivery_queue::{Answer, Parcel, Pushes, Queue};
use super::device::Device;
use super::disorder::Disorder;
use super::event::{Map, Quoted};
use super::sign::{Forgery, Signer};
use super::xid::{Xid, Xids};
use super::{Options, SimulateError};
use crate::base::time::instant;
use axum::body::Bytes;
use fastrand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, Url};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const SIGNATURE: &str = "X-Dt-Signature";

/// Most bytes read of an answer's body, so that its connection can be used again; with longer ones it ends.
const BODY_MAX: usize = 64 * 1024;

/// Most parcels that an unpaced replay keeps waiting.
const FEW: usize = 2_000;

/// More connections than this are no test of anything.
const MOST_PARALLEL: usize = 1_000;

/// A Data Connector: where to, and how.
#[derive(Clone)]
pub struct Push {
    /// The receiver, `http` or `https`.
    pub url: String,
    /// Signs every push; without it, they are unsigned.
    pub secret: Option<String>,
    /// Pushes at a time.
    pub parallel: usize,
    /// Real time that the receiver has for an answer.
    pub answer: Duration,
    /// Real time after the first failure of a push; then twice that and so on, up to a minute.
    pub backoff: Duration,
    /// Most events that wait; beyond, the oldest is dropped. At some 500 bytes each, most of them shared with the truth.
    pub queue: usize,
    /// Simulated time after which an event is given up.
    pub life: Duration,
    /// Real time, at the end, for what still waits.
    pub grace: Duration,
    /// Certificates (PEM) to trust beside those of the system.
    pub certificates: Option<PathBuf>,
}

impl Push {
    /// A connector as the cloud's.
    pub fn new(url: impl Into<String>, secret: Option<String>) -> Self {
        Self {
            url: url.into(),
            secret,
            parallel: 8,
            answer: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            queue: 1_000_000,
            life: Duration::from_hours(12),
            grace: Duration::from_secs(5),
            certificates: None,
        }
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push")
            .field("url", &"***") // may hold a password
            .field("secret", &self.secret.as_ref().map(|_| "***"))
            .field("parallel", &self.parallel)
            .field("answer", &self.answer)
            .field("backoff", &self.backoff)
            .field("queue", &self.queue)
            .field("life", &self.life)
            .field("grace", &self.grace)
            .field("certificates", &self.certificates)
            .finish()
    }
}

/// A connector at work.
pub(super) struct Connector {
    client: Client,
    url: Url,
    options: Push,
    project: String,
    /// Events of a replay name their own projects.
    replay: bool,
    clock: Clock,
    state: Mutex<State>,
    /// There may be something to push.
    wake: Notify,
    /// A push has been settled.
    settled: Notify,
}

struct State {
    queue: Queue,
    signer: Option<Signer>,
    forger: Forger,
    /// What follows the event, by device, to be shared for as long as it stays the same.
    tails: HashMap<usize, Bytes>,
}

struct Forger {
    share: f64,
    rng: Rng,
    ids: Xids,
    forged: usize,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(options: Push, cloud: &Options, clock: Clock) -> Result<Self, SimulateError> {
        let url = Url::parse(&options.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or(SimulateError::PushAddress)?;
        if cloud.habits.forge > 0.0 && options.secret.is_none() {
            return Err(SimulateError::Forge);
        }
        let mut rng = Rng::with_seed(cloud.seed ^ 0x7075_7368);
        let mut ids = || Xids::new(rng.u64(..), rng.u32(..));
        let signer = options.secret.clone().map(|secret| Signer::new(secret, ids()));
        let ids = ids();
        let forger = Forger { share: cloud.habits.forge, rng: rng.fork(), ids, forged: 0 };
        let queue = Queue::new(Disorder::new(&cloud.habits, rng), options.queue, micros(options.life), options.backoff);
        Ok(Self {
            client: client(&options, &url)?,
            url,
            options,
            project: cloud.project.clone(),
            replay: cloud.replay.is_some(),
            clock,
            state: Mutex::new(State { queue, signer, forger, tails: HashMap::new() }),
            wake: Notify::new(),
            settled: Notify::new(),
        })
    }

    /// The state; never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a published event.
    pub(super) fn offer(&self, item: &Item, device: Option<&Device>, frame: &Frame) {
        let now = self.clock.now();
        let mut state = self.state();
        let tail = tail(device, &self.project(frame));
        let tail = match item.device {
            Some(device) => match state.tails.get(&device) {
                Some(same) if *same == tail => same.clone(),
                _ => {
                    let tail = Bytes::from(tail);
                    state.tails.insert(device, tail.clone());
                    tail
                }
            },
            None => Bytes::from(tail),
        };
        let parcel = Parcel::new(frame.bare(), tail, now);
        if let Some(forged) = state.forger.forge(frame.event(), now) {
            state.queue.forge(parcel.clone(), forged);
        }
        state.queue.offer(parcel, instant());
        drop(state);
        self.wake.notify_one();
    }

    /// The project of an event.
    fn project(&self, frame: &Frame) -> Cow<'_, str> {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(borrow, rename = "targetName")]
            target: Cow<'a, str>,
        }
        let named = || {
            let head: Head<'_> = serde_json::from_slice(frame.event()).ok()?;
            Some(head.target.strip_prefix("projects/")?.split('/').next()?.to_owned())
        };
        match self.replay.then(named).flatten() {
            Some(project) => Cow::Owned(project),
            None => Cow::Borrowed(&self.project),
        }
    }

    /// Pushes, until the tasks are dropped.
    pub(super) fn start(self: &Arc<Self>) -> JoinSet<()> {
        (0..self.options.parallel.clamp(1, MOST_PARALLEL)).map(|_| Arc::clone(self).work()).collect()
    }

    async fn work(self: Arc<Self>) {
        loop {
            let parcel = self.next().await;
            let answer = self.send(&parcel).await;
            self.state().queue.settle(parcel, answer, instant(), self.clock.now());
            self.settled.notify_waiters();
        }
    }

    async fn next(&self) -> Parcel {
        loop {
            let woken = self.wake.notified();
            let taken = {
                let mut state = self.state();
                let taken = state.queue.take(instant(), self.clock.now());
                if taken.is_ok() && state.queue.has_ready(instant()) {
                    self.wake.notify_one(); // more than one may have come with one call
                }
                taken
            };
            match taken {
                Ok(parcel) => return parcel,
                Err(None) => woken.await,
                Err(Some(pause)) => tokio::select! { () = woken => {}, () = tokio::time::sleep(pause.min(FOREVER)) => {} },
            }
        }
    }

    /// One push, and its answer or why there is none.
    async fn send(&self, parcel: &Parcel) -> Result<Answer, String> {
        let honest = body(&parcel.event, &parcel.tail);
        let now = real_seconds();
        let (body, signature) = match &parcel.forged {
            None => {
                let signature = self.state().signer.as_mut().map(|signer| signer.sign(&honest, now));
                (honest, signature)
            }
            Some((forgery, event)) => {
                let body = body(event, &parcel.tail);
                let signature = self.state().signer.as_mut().and_then(|s| s.forge(*forgery, &body, &honest, now));
                (body, signature)
            }
        };
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(signature) = signature {
            request = request.header(SIGNATURE, signature);
        }
        let response = request.send().await.map_err(told)?;
        let answer = Answer { status: response.status().as_u16(), retry_after: retry_after(response.headers()) };
        read_out(response).await;
        Ok(answer)
    }

    /// Waits until there is room for so many more, as far as there ever is.
    pub(super) async fn room(&self, events: usize) {
        let most = FEW.min(self.options.queue);
        self.until(|queue| queue.load() == 0 || queue.load() + events <= most).await;
    }

    /// No later events come: for a while, tries to push those that there are.
    pub(super) async fn drain(&self) {
        self.state().queue.hurry(instant());
        self.wake.notify_waiters();
        let empty = self.until(Queue::is_done);
        tokio::time::timeout(self.options.grace, empty).await.ok();
    }

    async fn until(&self, is_so: impl Fn(&Queue) -> bool) {
        let mut settled = pin!(self.settled.notified());
        loop {
            settled.as_mut().enable(); // what is settled from here on is not missed
            if is_so(&self.state().queue) {
                return;
            }
            settled.as_mut().await;
            settled.set(self.settled.notified());
        }
    }

    /// What it has done so far.
    pub(super) fn pushes(&self) -> Pushes {
        let mut state = self.state();
        state.queue.expire(self.clock.now());
        state.queue.counts.clone()
    }
}

impl Forger {
    /// Now and then, a push that must be refused: an event as good as the true one, but under an id that is nobody's.
    fn forge(&mut self, event: &[u8], now: i64) -> Option<(Forgery, Bytes)> {
        if self.share <= 0.0 || self.rng.f64() >= self.share {
            return None;
        }
        let event = renamed(event, self.ids.next(now))?;
        let forgery = Forgery::ALL.get(self.forged % Forgery::ALL.len())?;
        self.forged += 1;
        Some((*forgery, Bytes::from(event)))
    }
}

/// The same event under another id; none when it has no id.
fn renamed(event: &[u8], id: Xid) -> Option<String> {
    const KEY: &str = r#""eventId":""#;
    let (before, rest) = std::str::from_utf8(event).ok()?.split_once(KEY)?;
    let (_, after) = rest.split_once('"')?;
    Some(format!(r#"{before}{KEY}{id}"{after}"#))
}

/// What follows the event in a body.
fn tail(device: Option<&Device>, project: &str) -> String {
    let project = Quoted(project);
    let Some(device) = device else { return format!(r#","labels":{{}},"metadata":{{"projectId":{project}}}}}"#) };
    let labels: Vec<_> = device.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let (labels, id, kind, product) = (Map(&labels), Quoted(&device.id), device.family.name(), device.product);
    format!(
        r#","labels":{labels},"metadata":{{"deviceId":{id},"projectId":{project},"deviceType":"{kind}","productNumber":"{product}"}}}}"#
    )
}

fn body(event: &[u8], tail: &[u8]) -> Vec<u8> {
    [br#"{"event":"#, event, tail].concat()
}

fn client(options: &Push, url: &Url) -> Result<Client, SimulateError> {
    // Fails only when a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(options.answer)
        .pool_max_idle_per_host(options.parallel.clamp(1, MOST_PARALLEL))
        .tcp_nodelay(true)
        .http1_only()
        .user_agent(concat!("overnight/", env!("CARGO_PKG_VERSION")));
    if url.host_str().is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    if let Some(path) = &options.certificates {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder.build().map_err(|error| SimulateError::PushClient(told(error)))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, SimulateError> {
    let failed = |why: String| SimulateError::Certificates { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(none) if none.is_empty() => Err(failed("it holds no certificate in PEM".to_owned())),
        read => read.map_err(|error| failed(told(error))),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// How long the receiver wants to be left alone: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().or_else(|| {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second();
        Some(u64::try_from(date - real_seconds()).unwrap_or(0))
    });
    Some(Duration::from_secs(seconds?).min(FOREVER))
}

/// Reads the rest of an answer, so that its connection can be used again. It does not matter any more how it ends.
async fn read_out(mut response: Response) {
    let mut left = BODY_MAX;
    while let Ok(Some(chunk)) = response.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else { return };
        left = rest;
    }
}

/// An error with its causes, without its URL, which may hold a password.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
