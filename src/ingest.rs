//! Ingest: keeps a stream open and its events flowing into the buffer. The one place for policy: what the end of a
//! session means, when to connect again, when to give up.
//!
//! [`Retry`] decides and knows no I/O; [`run`] is the thin async shell around it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::backoff::Backoff;
use crate::collect::{Collector, Found};
use crate::event::{CloudError, Source};
use crate::keep::Order;
use crate::meter::Meter;
use crate::schema::Registry;
use crate::settings::Filters;
use crate::sources::cloud::{Accept, Cloud, CloudFailure, Stream};
use crate::time::{self, Micros};

/// A batch goes to the buffer when it has so many events: enough to make a commit cheap, few enough to stay in the cache.
const COMMIT_EVENTS: usize = 5000;
/// A batch goes to the buffer when its events had so many bytes.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
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
}

/// Why a stream ended for good.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
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
    backoff: Backoff,
    renewed: bool,
}

impl Retry {
    /// Nothing has failed yet.
    pub fn new(plan: &Plan) -> Self {
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        Self { project: plan.project.clone(), retries_max: plan.retries_max, backoff, renewed: false }
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
        let normal = matches!(end, End::Over(_));
        if self.retries_max == Some(0) && normal {
            return Next::Stop(None);
        }
        if lived >= LIVED {
            self.backoff.reset();
        }
        if normal && lived >= LIVED {
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
        End::Failed(failure) => failure.to_string(),
        End::Error(error) => error.to_string(),
        End::Stopped => "the recorder stopped".to_owned(),
    }
}

/// Where a recorder's streams send what they have.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// To the keeper.
    pub keep: mpsc::Sender<Order>,
    /// What is shown to people.
    pub meter: Arc<Meter>,
    /// The schemas.
    pub registry: Arc<Registry>,
}

/// Records one project until told to stop, or until the policy gives up.
///
/// # Errors
/// When the stream ended for good and not because it was asked to.
pub async fn run(plan: Plan, mut cloud: Cloud, outlet: Outlet, mut stop: watch::Receiver<bool>) -> Result<(), IngestError> {
    let mut retry = Retry::new(&plan);
    let mut collector = Collector::new(Arc::clone(&outlet.registry), Source::Stream);
    let meter = Arc::clone(&outlet.meter);
    meter.connected(&plan.project, None);
    loop {
        let opened = tokio::select! {
            opened = cloud.open(&plan.project, &plan.filters, plan.accept, plan.ping) => opened,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let (end, lived) = match opened {
            Err(failure) => (End::Failed(failure), Duration::ZERO),
            Ok(stream) => {
                let begun = time::instant();
                let end = session(&plan, stream, &mut collector, &outlet, &mut retry, &stop).await;
                (end, begun.elapsed())
            }
        };
        let text = describe(&end);
        match retry.after(&end, lived, fastrand::f64()) {
            Next::Stop(None) => return Ok(()),
            Next::Stop(Some(error)) => return Err(error),
            Next::Connect { wait, renew } => {
                if renew {
                    cloud.renew();
                }
                let when = if wait.is_zero() { "now".to_owned() } else { format!("in {:.1} s", wait.as_secs_f64()) };
                meter.note(time::now(), format!("{}: {text}; connecting again {when}", plan.project));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stop.wait_for(|stop| *stop) => return Ok(()),
                }
            }
        }
    }
}

/// One session, from its opening to its end. What it brought has been handed to the keeper when this returns.
async fn session(
    plan: &Plan,
    mut stream: Stream,
    collector: &mut Collector,
    outlet: &Outlet,
    retry: &mut Retry,
    stop: &watch::Receiver<bool>,
) -> End {
    let meter = &outlet.meter;
    let session = meter.sessions.fetch_add(1, Ordering::Relaxed);
    let now = time::now();
    send(outlet, Order::Opened { session, project: plan.project.clone() }).await;
    meter.connected(&plan.project, Some(now));
    meter.note(now, format!("{}: connected", plan.project));

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = time::instant();
    let (mut heard, mut noted, mut flushed) = (begun, begun, begun);
    let mut spoke = false;
    let mut chunks = 0_u32;
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
                if let Some(error) = take(&mut stream, &bytes, collector, meter, received_at, &mut spoke) {
                    break match error.code {
                        1 | 4 | 408 | 504 => End::Over(format!("the session's time is up: {error}")),
                        _ => End::Error(error),
                    };
                }
                if collector.len() >= COMMIT_EVENTS || collector.bytes() >= COMMIT_BYTES {
                    flushed = time::instant();
                    flush(collector, outlet).await;
                }
                chunks = chunks.wrapping_add(1);
                if !chunks.is_multiple_of(LOOK_CHUNKS) {
                    continue;
                }
            }
            _ = tick.tick() => {}
        }
        if *stop.borrow() {
            break End::Stopped;
        }
        let now = time::instant();
        if std::mem::take(&mut spoke) {
            heard = now;
            retry.spoke();
        }
        if now - flushed >= COMMIT_EVERY {
            flushed = now;
            flush(collector, outlet).await;
        }
        if now - noted >= NOTE_EVERY && heard > noted {
            noted = now;
            send(outlet, Order::Spoke(session)).await;
        }
        if now - heard > plan.ping + PING_JITTER {
            break End::Silent;
        }
    };
    flush(collector, outlet).await;
    send(outlet, Order::Closed { session, cause: describe(&end) }).await;
    meter.connected(&plan.project, None);
    end
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
            Found::Error(found) => error = Some(found),
        }
    });
    error
}

/// Hands what was collected to the keeper; waits while its queue is full.
async fn flush(collector: &mut Collector, outlet: &Outlet) {
    if collector.is_empty() {
        return;
    }
    let last = collector.last_time();
    match collector.take() {
        Ok(batch) => {
            outlet.meter.update(|parts| {
                parts.last_event = last.or(parts.last_event);
                for (partition, rows) in &batch.parts {
                    *parts.by_type.entry(partition.event_type.to_string()).or_default() += rows.num_rows() as u64;
                }
            });
            send(outlet, Order::Keep(batch)).await;
        }
        Err(error) => outlet.meter.note(time::now(), format!("a batch could not be built and is lost: {error}")),
    }
}

async fn send(outlet: &Outlet, order: Order) {
    let order = match outlet.keep.try_send(order) {
        Ok(()) => return,
        Err(mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order)) => order,
    };
    Meter::add(&outlet.meter.waits, 1);
    // A closed queue means that the keeper has failed, which the recorder reports.
    drop(outlet.keep.send(order).await);
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
