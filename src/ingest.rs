//! Ingest: keeps a stream open and its events flowing into the buffer. The one place for policy: what the end of a
//! session means, when to connect again, when to give up.
//!
//! [`Retry`] decides and knows no I/O; [`run`] is the thin async shell around it.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::backoff::Backoff;
use crate::collect::{Collector, Found};
use crate::event::{Batch, CloudError, Source};
use crate::keep::{Order, Outlet, told};
use crate::meter::Meter;
use crate::settings::{Filters, Mask};
use crate::sources::cloud::{self, Accept, CLOCK_OFF, Cloud, CloudFailure, Stream};
use crate::time::{self, Micros};

/// A batch goes to the buffer when it has so many events: enough to make a commit cheap, few enough to stay in the cache.
const COMMIT_EVENTS: usize = 5000;
/// A batch goes to the buffer when its events had so many bytes.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
/// What bytes cost in memory is looked at behind so many of them.
const PIECE: usize = 64 * 1024;
/// A batch goes to the buffer when its first event has waited so long.
const COMMIT_EVERY: Duration = Duration::from_millis(250);
/// How often to look at clocks.
const TICK: Duration = Duration::from_millis(50);
/// While bytes come without a pause, clocks are looked at after so many pieces.
const LOOK_CHUNKS: u32 = 128;
/// A ping may be so late.
const PING_JITTER: Duration = Duration::from_secs(2);
/// A session's sign of life is noted in the buffer this often.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// A session that lived shorter does not count as a success: a server that accepts and closes must not make a busy loop.
const LIVED: Duration = Duration::from_secs(10);
/// How long a session stays after the next one has spoken. Events come in any order: one that the cloud had before the next
/// session opened may still be on its way to the older one, and to nobody else.
const OVERLAP: Duration = Duration::from_secs(5);
/// A session is replaced so long before its token dies, and is given at least so long to live.
const MARGIN: Duration = Duration::from_mins(1);
const ROTATE_LEAST: Duration = Duration::from_secs(30);
/// A rotation that failed is tried again after this time.
const ROTATE_AGAIN: Duration = Duration::from_mins(1);
/// First and longest wait between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What to record of one project.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The project.
    pub project: String,
    /// Which of its events.
    pub filters: Filters,
    /// In which format.
    pub accept: Accept,
    /// How often the cloud should ping.
    pub ping: Duration,
    /// Give up after so many failures in a row; 0: stop when the first session ends; none: never.
    pub retries_max: Option<u32>,
    /// The next session opens when one has run so long.
    pub rotate_after: Duration,
}

/// Why a stream ended for good.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The first session ended, and no more was asked for.
    #[error("the first session has ended")]
    Over,
    /// The cloud does not know the credentials.
    #[error(
        "the cloud does not accept the credentials ({0}). Check key id, secret and e-mail; Basic auth (no e-mail) has to be enabled on the service account"
    )]
    Credentials(String),
    /// The account may not read the project.
    #[error(
        "no permission to read project {project:?} ({error}). Give the service account a role in the project, Project User at least"
    )]
    Forbidden {
        /// The project.
        project: String,
        /// The cloud's words.
        error: String,
    },
    /// There is no such project.
    #[error(
        "the cloud knows no project {project:?} ({error}). Check --project: it is the id in the Studio's address, not the name"
    )]
    NoProject {
        /// The project.
        project: String,
        /// The cloud's words.
        error: String,
    },
    /// The cloud does not understand the request.
    #[error("the cloud refuses the request ({0}). Check the filters")]
    Request(String),
    /// Too many failures in a row.
    #[error("gave up after {tries} failures in a row; the last: {last}")]
    GaveUp {
        /// How many.
        tries: u32,
        /// The last one.
        last: String,
    },
}

/// How a session ended.
#[derive(Debug)]
pub enum End {
    /// The server closed, or said that its time was up. Normal work, once an hour.
    Over(String),
    /// No sign of life for too long.
    Silent,
    /// This process did not run, or waited for the disk, for longer than a server waits for a reader: whatever the server
    /// dropped meanwhile is missing, though the connection may still stand.
    StoodStill,
    /// The connection broke, or the stream could not be opened.
    Failed(CloudFailure),
    /// The cloud ended the stream with an error.
    Error(CloudError),
    /// The recorder stops.
    Stopped,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Connect after a while; with a new token if so.
    Connect {
        /// How long to wait.
        wait: Duration,
        /// Sign in anew.
        renew: bool,
    },
    /// Stop; an error unless the end was asked for.
    Stop(Option<IngestError>),
}

/// Decides what follows the end of a session.
#[derive(Debug)]
pub struct Retry {
    project: String,
    retries_max: Option<u32>,
    lived: Duration,
    backoff: Backoff,
    renewed: bool,
}

impl Retry {
    /// Nothing has failed yet.
    pub fn new(plan: &Plan) -> Self {
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        Self {
            project: plan.project.clone(),
            retries_max: plan.retries_max,
            lived: LIVED.min(plan.rotate_after / 2),
            backoff,
            renewed: false,
        }
    }

    /// A session spoke: the credentials are good.
    pub fn spoke(&mut self) {
        self.renewed = false;
    }

    /// After the end of a session that lived so long (zero when it never opened). `chance` lies in 0 to 1.
    pub fn after(&mut self, end: &End, lived: Duration, chance: f64) -> Next {
        if let End::Stopped = end {
            return Next::Stop(None);
        }
        let status = status(end);
        if status == Some(401) && !self.renewed && !is_sign_in(end) && self.retries_max != Some(0) {
            // The token may have died, or been revoked: once, a new one is worth a try.
            self.renewed = true;
            return Next::Connect { wait: Duration::ZERO, renew: true };
        }
        let text = describe(end);
        match status {
            Some(400 | 401) if is_sign_in(end) => return Next::Stop(Some(IngestError::Credentials(text))),
            Some(401) => return Next::Stop(Some(IngestError::Credentials(text))),
            Some(403) => return Next::Stop(Some(IngestError::Forbidden { project: self.project.clone(), error: text })),
            Some(404) => return Next::Stop(Some(IngestError::NoProject { project: self.project.clone(), error: text })),
            Some(400) => return Next::Stop(Some(IngestError::Request(text))),
            _ => {}
        }
        let normal = matches!(end, End::Over(_) | End::StoodStill);
        if self.retries_max == Some(0) && normal {
            return Next::Stop(None);
        }
        if lived >= self.lived {
            self.backoff.reset();
        }
        if normal && lived >= self.lived {
            return Next::Connect { wait: Duration::ZERO, renew: false };
        }
        let retry_after = if let End::Failed(failure) = end { failure.retry_after() } else { None };
        if let Some(most) = self.retries_max.filter(|most| self.backoff.failures() >= *most) {
            return Next::Stop(Some(IngestError::GaveUp { tries: most + 1, last: text }));
        }
        Next::Connect { wait: self.backoff.wait(chance, retry_after), renew: false }
    }
}

/// An end as an HTTP status. Errors inside a stream carry HTTP or gRPC codes.
fn status(end: &End) -> Option<u16> {
    match end {
        End::Failed(failure) => failure.status(),
        End::Error(error) => match error.code {
            16 | 401 => Some(401),
            7 | 403 => Some(403),
            5 | 404 => Some(404),
            3 | 9 | 11 | 400 => Some(400),
            _ => None,
        },
        _ => None,
    }
}

fn is_sign_in(end: &End) -> bool {
    matches!(end, End::Failed(CloudFailure::Answer { what: "signing in", .. }))
}

/// An end for people.
fn describe(end: &End) -> String {
    match end {
        End::Over(why) => why.clone(),
        End::Silent => "no ping came in time".to_owned(),
        End::StoodStill => "the recorder stood still: it was suspended, or the disk had no room".to_owned(),
        End::Failed(failure) => failure.to_string(),
        End::Error(error) => error.to_string(),
        End::Stopped => "the recorder stopped".to_owned(),
    }
}

/// What a session tells the one that watches it.
#[derive(Debug)]
enum News {
    /// Its first sign of life.
    Spoke(u64, Micros),
}

/// A session that runs.
#[derive(Debug)]
struct Live {
    session: u64,
    stop: watch::Sender<bool>,
    rotate_at: Instant,
    spoke: bool,
    /// When it goes, once a younger one has spoken.
    leaves_at: Option<Instant>,
}

/// How a session went.
#[derive(Debug)]
struct Ended {
    session: u64,
    end: End,
    lived: Duration,
    /// Its last sign of life; none when it never spoke.
    heard_at: Option<Micros>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Stream, CloudFailure>> + Send>>;

/// Keeps one project covered.
struct Keeping {
    plan: Plan,
    cloud: Arc<Cloud>,
    outlet: Outlet,
    retry: Retry,
    running: JoinSet<Ended>,
    live: Vec<Live>,
    news: (mpsc::UnboundedSender<News>, mpsc::UnboundedReceiver<News>),
    /// Last sign of life of any session; before the first one, the start.
    last_sign: Micros,
    covered: bool,
    told_clock: bool,
    gaps: Arc<Notify>,
}

/// Records one project until told to stop, or until the policy gives up. `gaps` is told whenever a gap has ended.
///
/// # Errors
/// When the stream ended for good and not because it was asked to.
pub async fn run(
    plan: Plan,
    cloud: Arc<Cloud>,
    outlet: Outlet,
    gaps: Arc<Notify>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), IngestError> {
    outlet.meter.connected(&plan.project, None);
    let mut keeping = Keeping {
        retry: Retry::new(&plan),
        plan,
        cloud,
        outlet,
        running: JoinSet::new(),
        live: Vec::new(),
        news: mpsc::unbounded_channel(),
        last_sign: time::now(),
        covered: false,
        told_clock: false,
        gaps,
    };
    let result = keeping.until(&mut stop).await;
    keeping.leave().await;
    match result {
        // As it was asked to be.
        Err(IngestError::Over) => Ok(()),
        result => result,
    }
}

impl Keeping {
    async fn until(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), IngestError> {
        let mut opening: Option<Opening> = Some(self.open(false));
        let mut retry_at: Option<Instant> = None;
        loop {
            let alone = opening.is_none() && retry_at.is_none() && self.live.len() == 1;
            let rotate_at = self
                .live
                .first()
                .filter(|live| alone && live.spoke && self.plan.retries_max != Some(0))
                .map(|live| live.rotate_at);
            let leaves_at = self.live.iter().filter_map(|live| live.leaves_at).min();
            tokio::select! {
                () = told(stop) => return Ok(()),
                () = until(leaves_at) => self.let_go(),
                opened = maybe(opening.as_mut()) => {
                    opening = None;
                    self.tell_clock();
                    match opened {
                        Ok(stream) => self.start(stream),
                        Err(failure) if self.live.is_empty() => retry_at = self.failed(End::Failed(failure), Duration::ZERO).await?,
                        Err(failure) => self.not_rotated(&failure),
                    }
                }
                Some(News::Spoke(session, at)) = self.news.1.recv() => self.spoke(session, at).await,
                Some(ended) = self.running.join_next() => {
                    // A session that died of a fault of the program ended without a word.
                    let ended = ended.unwrap_or(Ended { session: u64::MAX, end: End::Silent, lived: Duration::ZERO, heard_at: None });
                    if self.is_replaced(&ended) {
                        continue;
                    }
                    if self.live.is_empty() && opening.is_none() {
                        retry_at = self.failed(ended.end, ended.lived).await?;
                    } else {
                        // The next session is on its way.
                        self.uncovered(&describe(&ended.end)).await;
                    }
                }
                () = until(rotate_at) => opening = Some(self.open(true)),
                () = until(retry_at) => {
                    retry_at = None;
                    opening = Some(self.open(false));
                }
            }
        }
    }

    /// Opens a stream. For a rotation with a new token, since the life of the stream hangs on the token's.
    fn open(&self, rotation: bool) -> Opening {
        let (plan, cloud) = (self.plan.clone(), Arc::clone(&self.cloud));
        Box::pin(async move {
            if rotation {
                cloud.renew().await;
            }
            cloud.open(&plan.project, &plan.filters, plan.accept, plan.ping).await
        })
    }

    /// Says once that this machine's clock is off.
    fn tell_clock(&mut self) {
        let is_off = |ahead: &i64| ahead.abs() > CLOCK_OFF;
        if let Some(ahead) = self.cloud.clock_ahead().filter(is_off)
            && !std::mem::replace(&mut self.told_clock, true)
        {
            let (seconds, which) = (ahead.abs(), if ahead > 0 { "behind" } else { "ahead of" });
            let text =
                format!("this machine's clock is {seconds} s {which} the cloud's; set it: `received_at` and gaps go by it");
            self.outlet.meter.note(time::now(), text);
        }
    }

    fn start(&mut self, stream: Stream) {
        let session = self.outlet.meter.sessions.fetch_add(1, Ordering::Relaxed);
        let (stop, stopped) = watch::channel(false);
        let now = time::instant();
        // The life of a stream may hang on its token's; but a short one must not make it open one session after the other.
        let latest = now + self.plan.rotate_after;
        let least = now + ROTATE_LEAST.min(self.plan.rotate_after);
        let by_token = stream.dies.and_then(|dies| dies.checked_sub(MARGIN)).unwrap_or(latest);
        let rotate_at = by_token.clamp(least, latest);
        self.live.push(Live { session, stop, rotate_at, spoke: false, leaves_at: None });
        self.running.spawn(run_session(session, self.plan.clone(), stream, self.outlet.clone(), self.news.0.clone(), stopped));
    }

    /// A session gave its first sign of life: the project is covered, and older sessions may go, after what is on its way to them
    /// out of order.
    async fn spoke(&mut self, session: u64, at: Micros) {
        self.retry.spoke();
        let Some(place) = self.live.iter().position(|live| live.session == session) else { return };
        self.live[place].spoke = true;
        let leaves_at = time::instant() + OVERLAP.min(self.plan.rotate_after / 2);
        for older in &mut self.live[..place] {
            older.leaves_at.get_or_insert(leaves_at);
        }
        self.last_sign = self.last_sign.max(at);
        if !std::mem::replace(&mut self.covered, true) {
            self.outlet.send(Order::GapEnds { project: self.plan.project.clone(), at }).await;
            self.outlet.meter.connected(&self.plan.project, Some(at));
            self.outlet.meter.note(at, format!("{}: connected", self.plan.project));
            self.gaps.notify_one();
        }
    }

    /// Ends the sessions whose time it is.
    fn let_go(&mut self) {
        let now = time::instant();
        for live in self.live.iter_mut().filter(|live| live.leaves_at.is_some_and(|at| at <= now)) {
            live.leaves_at = None;
            live.stop.send_replace(true);
        }
    }

    /// A session is over; true when another one had taken its place.
    fn is_replaced(&mut self, ended: &Ended) -> bool {
        self.live.retain(|live| live.session != ended.session);
        // Whoever was about to leave stays when the one that was to take its place is gone.
        if self.live.iter().all(|live| live.leaves_at.is_some())
            && let Some(last) = self.live.last_mut()
        {
            last.leaves_at = None;
        }
        self.last_sign = ended.heard_at.map_or(self.last_sign, |at| at.max(self.last_sign));
        self.live.iter().any(|live| live.spoke)
    }

    async fn uncovered(&mut self, cause: &str) {
        self.covered = false;
        self.outlet.meter.connected(&self.plan.project, None);
        let (project, cause) = (self.plan.project.clone(), cause.to_owned());
        self.outlet.send(Order::GapBegins { project, at: self.last_sign, cause }).await;
    }

    /// Nothing covers the project: when to try again, or the error that ends it all.
    async fn failed(&mut self, end: End, lived: Duration) -> Result<Option<Instant>, IngestError> {
        let text = describe(&end);
        match self.retry.after(&end, lived, fastrand::f64()) {
            Next::Stop(None) => Err(IngestError::Over),
            Next::Stop(Some(error)) => {
                if self.covered {
                    self.uncovered(&text).await;
                }
                Err(error)
            }
            Next::Connect { wait, renew } => {
                self.uncovered(&text).await;
                if renew {
                    self.cloud.renew().await;
                }
                let when = if wait.is_zero() { "now".to_owned() } else { format!("in {:.1} s", wait.as_secs_f64()) };
                self.outlet.meter.note(time::now(), format!("{}: {text}; connecting again {when}", self.plan.project));
                Ok(Some(time::instant() + wait))
            }
        }
    }

    /// The next session did not open while the one before still runs: a server may allow only one. Nothing is missed yet.
    fn not_rotated(&mut self, failure: &CloudFailure) {
        let later = time::instant() + ROTATE_AGAIN.min(self.plan.rotate_after);
        for live in &mut self.live {
            live.rotate_at = later;
        }
        self.outlet.meter.note(time::now(), format!("{}: the next session does not open yet: {failure}", self.plan.project));
    }

    /// Ends all sessions, in order: what they brought is handed to the keeper.
    async fn leave(&mut self) {
        for live in &self.live {
            live.stop.send_replace(true);
        }
        while self.running.join_next().await.is_some() {}
        self.outlet.meter.connected(&self.plan.project, None);
        if !self.covered {
            self.outlet.send(Order::GapEnds { project: self.plan.project.clone(), at: time::now() }).await;
        }
    }
}

/// Resolves when there is something to wait for and it is there.
async fn maybe<T>(future: Option<&mut Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// One session, from its opening to its end. What it brought has been handed to the keeper when this returns.
async fn run_session(
    session: u64,
    plan: Plan,
    mut stream: Stream,
    outlet: Outlet,
    news: mpsc::UnboundedSender<News>,
    stop: watch::Receiver<bool>,
) -> Ended {
    let meter = &outlet.meter;
    let mut collector = Collector::new(Arc::clone(&outlet.registry), Source::Stream);
    let filters = serde_json::to_string(&plan.filters).unwrap_or_default();
    outlet.send(Order::Opened { session, source: Source::Stream, project: plan.project.clone(), filters }).await;

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = time::instant();
    let (mut heard, mut noted, mut flushed) = (begun, begun, begun);
    let mut heard_at = None;
    // Bytes that lay in the socket while nobody read say nothing of how long the cloud went on sending.
    let mut drained_at = None;
    let mut spoke = false;
    let mut chunks = 0_u32;
    let (still, mut looked_at) = (time::micros(plan.ping + PING_JITTER), time::now());
    let end = loop {
        // The stream first: while it has bytes, nothing else is polled, only looked at now and then.
        tokio::select! {
            biased;
            bytes = stream.next() => {
                let bytes = match bytes {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => {
                        let received_at = time::now();
                        stream.frames.finish(&mut |frame| drop(collector.add(&frame, received_at)));
                        break End::Over("the cloud ended the session".to_owned());
                    }
                    Err(failure) => break End::Failed(failure),
                };
                let received_at = time::now();
                let stood_still = received_at - std::mem::replace(&mut looked_at, received_at) > still;
                let mut error = None;
                for piece in bytes.chunks(PIECE) {
                    error = take(&mut stream, piece, &mut collector, meter, received_at, &mut spoke);
                    if error.is_some() {
                        break;
                    }
                    if is_full(&collector) {
                        flushed = time::instant();
                        flush(&mut collector, &stream.mask, &outlet).await;
                    }
                }
                if let Some(error) = error {
                    break match error.code {
                        1 | 4 | 408 | 504 => End::Over(format!("the session's time is up: {error}")),
                        _ => End::Error(error),
                    };
                }
                if stood_still {
                    break End::StoodStill;
                }
                if spoke {
                    if heard_at.is_none() && news.send(News::Spoke(session, received_at)).is_err() {
                        break End::Stopped;
                    }
                    heard_at = Some(received_at);
                    drained_at = drained_at.or(heard_at);
                }
                chunks = chunks.wrapping_add(1);
                if !chunks.is_multiple_of(LOOK_CHUNKS) {
                    continue;
                }
            }
            _ = tick.tick() => {
                // The stream had nothing: all that the cloud sent up to here is read.
                drained_at = heard_at;
                let now = time::now();
                if now - std::mem::replace(&mut looked_at, now) > still {
                    break End::StoodStill;
                }
            }
        }
        if *stop.borrow() {
            break End::Stopped;
        }
        let now = time::instant();
        if std::mem::take(&mut spoke) {
            heard = now;
        }
        if now - flushed >= COMMIT_EVERY {
            flushed = now;
            flush(&mut collector, &stream.mask, &outlet).await;
        }
        if let Some(at) = drained_at.filter(|_| now - noted >= NOTE_EVERY && heard > noted) {
            noted = now;
            outlet.send(Order::Spoke { session, at }).await;
        }
        if now - heard > plan.ping + PING_JITTER {
            break End::Silent;
        }
    };
    flush(&mut collector, &stream.mask, &outlet).await;
    let spoke_at = drained_at.unwrap_or_default();
    outlet.send(Order::Closed { session, cause: describe(&end), spoke_at }).await;
    Ended { session, end, lived: begun.elapsed(), heard_at: drained_at }
}

/// Reads the frames of some bytes into the collector; gives the error with which the cloud ends the stream, if it does.
fn take(
    stream: &mut Stream,
    bytes: &[u8],
    collector: &mut Collector,
    meter: &Meter,
    received_at: Micros,
    spoke: &mut bool,
) -> Option<CloudError> {
    let mut error = None;
    stream.frames.feed(bytes, &mut |frame| {
        *spoke = true;
        match collector.add(&frame, received_at) {
            Found::Event | Found::Fault => {}
            Found::Ping => Meter::add(&meter.pings, 1),
            Found::Error(said) => error = Some(cloud::said(&said, &stream.mask)),
        }
    });
    error
}

fn is_full(collector: &Collector) -> bool {
    collector.len() >= COMMIT_EVENTS || collector.bytes() >= COMMIT_BYTES
}

/// Hands what was collected to the keeper; waits while its queue is full.
async fn flush(collector: &mut Collector, mask: &Mask, outlet: &Outlet) {
    if collector.is_empty() {
        return;
    }
    let last = collector.last_time();
    match collector.take_masked(mask) {
        Ok(batch) => {
            outlet.meter.update(|parts| {
                parts.last_event = last.or(parts.last_event);
                parts.stranger |= speaks_a_stranger(&batch, &parts.devices);
                for (partition, rows) in &batch.parts {
                    *parts.by_type.entry(partition.event_type.to_string()).or_default() += rows.num_rows() as u64;
                }
            });
            outlet.send(Order::Keep(batch)).await;
        }
        Err(error) => outlet.meter.note(time::now(), format!("a batch could not be built and is lost: {error}")),
    }
}

/// A device that the cloud has not listed is among those that spoke last of each type. Not every event is looked at: who is
/// missed now is found in another batch.
fn speaks_a_stranger(batch: &Batch, devices: &HashSet<String>) -> bool {
    let last = |rows: &RecordBatch| {
        let ids = rows.column_by_name("device_id")?.as_string_opt::<i32>()?;
        let row = ids.len().checked_sub(1).filter(|row| ids.is_valid(*row))?;
        Some(!devices.contains(ids.value(row)))
    };
    !devices.is_empty() && batch.parts.iter().any(|(_, rows)| last(rows).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(retries_max: Option<u32>) -> Retry {
        let plan = Plan {
            project: "p".to_owned(),
            filters: Filters::default(),
            accept: Accept::Json,
            ping: Duration::from_secs(10),
            retries_max,
            rotate_after: Duration::from_mins(55),
        };
        Retry::new(&plan)
    }

    fn answer(what: &'static str, status: u16) -> End {
        let error = CloudError { code: i64::from(status), message: "no".to_owned() };
        End::Failed(CloudFailure::Answer { what, status, error, retry_after: (status == 429).then(|| Duration::from_secs(7)) })
    }

    fn wait(next: &Next) -> Duration {
        match next {
            Next::Connect { wait, .. } => *wait,
            Next::Stop(error) => panic!("stopped: {error:?}"),
        }
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_hourly_end_reconnects_at_once_and_a_server_that_closes_at_once_makes_no_busy_loop() {
        let mut retry = retry(None);
        assert_eq!(wait(&retry.after(&End::Over(String::new()), HOUR, 1.0)), Duration::ZERO);
        let waits: Vec<_> =
            (0..8).map(|_| wait(&retry.after(&End::Over(String::new()), Duration::ZERO, 1.0)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn failures_back_off_for_ever_and_honour_retry_after() {
        let mut retry = retry(None);
        assert_eq!(wait(&retry.after(&answer("opening the stream", 429), Duration::ZERO, 0.0)), Duration::from_secs(7));
        for _ in 0..1000 {
            assert!(wait(&retry.after(&answer("opening the stream", 503), Duration::ZERO, 1.0)) <= Duration::from_mins(1));
        }
    }

    #[test]
    fn a_refused_token_is_renewed_once_and_wrong_credentials_end() {
        let mut retry = retry(None);
        assert!(matches!(
            retry.after(&answer("opening the stream", 401), Duration::ZERO, 1.0),
            Next::Connect { renew: true, .. }
        ));
        assert!(matches!(
            retry.after(&answer("opening the stream", 401), Duration::ZERO, 1.0),
            Next::Stop(Some(IngestError::Credentials(_)))
        ));
        retry.spoke();
        assert!(matches!(retry.after(&answer("opening the stream", 401), HOUR, 1.0), Next::Connect { renew: true, .. }));
        assert!(matches!(
            retry.after(&answer("signing in", 400), Duration::ZERO, 1.0),
            Next::Stop(Some(IngestError::Credentials(_)))
        ));
    }

    #[test]
    fn a_missing_project_and_a_missing_permission_end_at_once() {
        assert!(matches!(
            retry(None).after(&answer("opening the stream", 404), Duration::ZERO, 1.0),
            Next::Stop(Some(IngestError::NoProject { .. }))
        ));
        assert!(matches!(
            retry(None).after(&answer("opening the stream", 403), Duration::ZERO, 1.0),
            Next::Stop(Some(IngestError::Forbidden { .. }))
        ));
    }

    #[test]
    fn retries_end_where_they_should() {
        assert!(matches!(retry(Some(0)).after(&End::Over(String::new()), HOUR, 1.0), Next::Stop(None)));
        let mut retry = retry(Some(2));
        for _ in 0..2 {
            wait(&retry.after(&End::Silent, Duration::ZERO, 1.0));
        }
        assert!(matches!(retry.after(&End::Silent, Duration::ZERO, 1.0), Next::Stop(Some(IngestError::GaveUp { tries: 3, .. }))));
    }
}
