//! A simulated sensor cloud on one port: for demonstrations, for tests, and for work without an account.
//!
//! It speaks the cloud's API (`/v2`, `/oauth2/token`, `/emulator/v2`), and for tests `/simulator/truth` and
//! `/simulator/stats`. A bad habit (doubles, cuts, stalls, refusals) is a field of [`Habits`], and one look at it:
//! in `call.rs` for refusals, in `history.rs` for those of the history, in `stream.rs` and `net.rs` for what happens to a
//! connection, in `mangle.rs` for what happens to an event on one stream, in `late.rs` and `cloud.rs` for what happens to
//! it everywhere, in `push.rs` for forged pushes.
//!
//! As a Data Connector it also pushes every published event to a receiver: `push.rs` talks, `parcels.rs` holds what waits.

mod actions;
mod auth;
mod batch;
mod call;
mod clock;
mod cloud;
mod delivery_queue;
mod device;
mod disorder;
mod emulator;
mod event;
mod filter;
mod habits;
mod history;
mod host;
mod late;
mod ledger;
mod live;
mod mangle;
mod net;
mod push;
#[cfg(test)]
mod push_tests;
mod query;
mod refusal;
mod replay;
mod rest;
mod sensors;
mod sign;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod truth;
mod world;
mod xid;

pub use delivery_queue::Pushes;
pub use habits::{Habits, Spell};
pub use push::Push;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use call::Page;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// What the simulated cloud is like.
#[derive(Clone)]
pub struct Options {
    /// Number of devices; the first 13 have one of each type.
    pub devices: usize,
    /// Events per real second over the whole project; `None`: what the sensors do by themselves at `speed`.
    pub rate: Option<f64>,
    /// Simulated seconds per real second.
    pub speed: f64,
    /// Same seed: same devices, same events.
    pub seed: u64,
    /// How far back history exists at start (never beyond `retention`).
    pub history: Duration,
    /// NDJSON streamed instead of generated events, at `rate` (`None`: as fast as clients read), from the first
    /// stream on; then only pings.
    pub replay: Option<PathBuf>,
    /// Key id of the service account.
    pub key: String,
    /// Secret of the service account.
    pub secret: String,
    /// E-mail address of the service account.
    pub email: String,
    /// Id of the project.
    pub project: String,
    /// Real time after which every stream ends.
    pub session_life: Duration,
    /// Real time for which an access token is good.
    pub token_life: Duration,
    /// Real time after publishing from which on the history shows an event.
    pub index_delay: Duration,
    /// Simulated time for which the history keeps an event.
    pub retention: Duration,
    /// Pushes every published event as well.
    pub push: Option<Push>,
    /// What it does wrong.
    pub habits: Habits,
}

impl Default for Options {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            devices: 40,
            rate: None,
            speed: 1.0,
            seed: 1,
            history: DAY,
            replay: None,
            key: "demo-key".to_owned(),
            secret: "demo-secret".to_owned(),
            email: "demo@demo.serviceaccount.d21s.com".to_owned(),
            project: "demo".to_owned(),
            session_life: Duration::from_hours(1),
            token_life: Duration::from_hours(1),
            index_delay: Duration::from_secs(1),
            retention: DAY * 31,
            push: None,
            habits: Habits::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("devices", &self.devices)
            .field("rate", &self.rate)
            .field("speed", &self.speed)
            .field("seed", &self.seed)
            .field("history", &self.history)
            .field("replay", &self.replay)
            .field("key", &self.key)
            .field("secret", &"***")
            .field("email", &self.email)
            .field("project", &self.project)
            .field("session_life", &self.session_life)
            .field("token_life", &self.token_life)
            .field("index_delay", &self.index_delay)
            .field("retention", &self.retention)
            .field("push", &self.push)
            .field("habits", &self.habits)
            .finish()
    }
}

/// What a run of the simulator did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Events published since start, pings not counted.
    pub published: u64,
    /// What became of them as a Data Connector.
    pub pushes: Option<Pushes>,
}

/// Why the simulator could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The replay file cannot be read.
    #[error("cannot read the replay file {}", path.display())]
    Replay {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of the replay file is no JSON object.
    #[error("{}:{line}: no event: want one JSON object a line", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: u64,
    },
    /// The project id does not fit into an address.
    #[error("{0:?} is no project id: want letters, digits, '-' and '_', and not '-' alone")]
    Project(String),
    /// The rate is no rate.
    #[error("a rate of {0} events per second is not possible")]
    Rate(f64),
    /// The receiver's address is none. It is not repeated: it may hold a password.
    #[error("cannot push there: want an address like https://example.com/events")]
    PushAddress,
    /// No client for pushes.
    #[error("cannot push: {0}")]
    PushClient(String),
    /// The certificates to trust cannot be read.
    #[error("cannot read the certificates in {}: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing to forge.
    #[error("forged pushes need a receiver and a secret: without one, nothing tells them from others")]
    Forge,
    /// The listener failed.
    #[error("the listener failed")]
    Listener(#[source] io::Error),
}

/// How long connections may take to notice that they have been cut.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves until `shutdown` resolves; then ends every connection at once and returns, as soon as the last pushes are settled or
/// their grace is over.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Report, SimulateError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if options.project.is_empty() || options.project == "-" || !options.project.chars().all(plain) {
        return Err(SimulateError::Project(options.project));
    }
    if let Some(rate) = options.rate.filter(|r| !(r.is_finite() && *r >= 0.0)) {
        return Err(SimulateError::Rate(rate));
    }
    let replay = options.replay.as_deref().map(replay::Replay::open).transpose()?;
    let cloud = Arc::new(cloud::Cloud::new(options)?);
    let pushing = cloud.connector.as_ref().map(push::Connector::start);
    let outages = net::Outages { habits: cloud.options.habits.clone(), clock: cloud.clock };
    let gates = net::Gates { listener, closing: cloud.closing.clone(), outages };
    let app = router(Arc::clone(&cloud)).into_make_service_with_connect_info::<net::Cut>();
    let server = axum::serve(gates, app).with_graceful_shutdown(cloud.closing.wait());
    let mut server = pin!(server.into_future());
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        failed = live::run(&cloud, replay) => failed.map(|never| match never {}),
        stopped = &mut server => return stopped.map_err(SimulateError::Listener).map(|()| report(&cloud)),
    };
    cloud.closing.now();
    let drained = async {
        if let Some(connector) = &cloud.connector {
            connector.drain().await;
        }
    };
    let (farewell, ()) = tokio::join!(tokio::time::timeout(FAREWELL, server), drained);
    farewell.ok();
    drop(pushing);
    ended.map(|()| report(&cloud))
}

fn report(cloud: &cloud::Cloud) -> Report {
    let published = cloud.state().ledger.published();
    let pushes = cloud.connector.as_ref().map(|connector| connector.pushes());
    Report { published: u64::try_from(published).unwrap_or(u64::MAX), pushes }
}

fn router(cloud: Arc<cloud::Cloud>) -> Router {
    let emulated = get(emulator::get).put(emulator::put).delete(emulator::delete).post(emulator::publish);
    let pages = |page: Page, pages: Router<Arc<cloud::Cloud>>| {
        pages.route_layer(from_fn_with_state((Arc::clone(&cloud), page), call::door))
    };
    let token = Router::new().route("/oauth2/token", post(token::token));
    let stream = Router::new().route("/v2/projects/{project}/devices:stream", get(stream::open));
    let history = Router::new().route("/v2/projects/{project}/devices/{device}/events", get(history::events));
    let rest = Router::new()
        .route("/v2/projects", get(rest::projects))
        .route("/v2/projects/{project}", get(rest::project))
        .route("/v2/projects/{project}/devices", get(rest::devices))
        .route("/v2/projects/{project}/devices:batchUpdate", post(rest::batch_update))
        .route("/v2/projects/{project}/devices/{device}", get(rest::device));
    let emulator = Router::new()
        .route("/emulator/v2/projects/{project}/devices", get(emulator::all).post(emulator::create))
        .route("/emulator/v2/projects/{project}/devices/{device}", emulated);
    Router::new()
        .merge(pages(Page::Token, token))
        .merge(pages(Page::Stream, stream))
        .merge(pages(Page::History, history))
        .merge(pages(Page::Rest, rest))
        .merge(pages(Page::Emulator, emulator))
        .route("/simulator/truth", get(truth::truth))
        .route("/simulator/stats", get(truth::stats))
        .fallback(async || refusal::Refusal::missing("page"))
        .method_not_allowed_fallback(async || refusal::Refusal::method())
        .layer(axum::middleware::from_fn(host::at_home))
        .with_state(cloud)
}
