//! Ingest: keeps a stream open and its events flowing into the buffer.
//!
//! [`machine`] decides and knows no I/O: what the end of a session means, when to connect again, when to give up. [`pulse`] is
//! one session's: when it was heard, when it is over. [`run`] is the thin async shell around both.

pub mod machine;
pub(crate) mod pulse;

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::buffer::{Change, Heard, Run};
use crate::collect::{Collector, Found};
use crate::event::{Batch, CloudError, Source};
use crate::keep::{Claim, Order, Outlet, Phase, told};
use crate::meter::Meter;
use crate::settings::Mask;
use crate::sources::cloud::{self, CLOCK_OFF, Cloud, CloudFailure, Stream};
use crate::time::{self, Micros, Moment, SECOND};

use machine::{Act, End, Input, Machine};
use pulse::Pulse;

pub use machine::{IngestError, Plan};

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
/// Who is asked to leave reads what lies there for at most so long.
const LEAVES_WITHIN: Duration = Duration::from_millis(250);
/// First signs of life that nobody has looked at yet: of a few sessions at once.
const NEWS: usize = 16;

/// How a session went.
struct Ended {
    session: u64,
    end: End,
    lived: Duration,
    heard: Option<(Heard, Moment)>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Stream, CloudFailure>> + Send>>;

/// Everything that the acts of a machine are carried out with.
struct Shell {
    plan: Plan,
    cloud: Arc<Cloud>,
    outlet: Outlet,
    opening: Option<Opening>,
    running: JoinSet<Ended>,
    live: HashMap<u64, watch::Sender<bool>>,
    news: (mpsc::Sender<(u64, Moment)>, mpsc::Receiver<(u64, Moment)>),
    told_clock: bool,
    /// The run of which the ledger knows how far the cloud's clock is from its own.
    told_run: Option<u64>,
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
    mut stop: watch::Receiver<Phase>,
) -> Result<(), IngestError> {
    let (mut machine, acts) = Machine::start(plan.clone(), Arc::clone(&outlet.numbers), fastrand::Rng::new(), time::moment());
    let (live, running) = (HashMap::new(), JoinSet::new());
    let mut shell = Shell {
        plan,
        cloud,
        outlet,
        opening: None,
        running,
        live,
        news: mpsc::channel(NEWS),
        told_clock: false,
        told_run: None,
        gaps,
    };
    let mut finished = shell.carry_out(acts).await;
    let mut stopping = false;
    while finished.is_none() {
        let input = tokio::select! {
            // What a session says last comes before its end.
            biased;
            phase = told(&mut stop), if !stopping => {
                stopping = true;
                Input::Stop(phase)
            }
            Some((session, at)) = shell.news.1.recv() => Input::Spoke { session, at },
            Some(ended) = shell.running.join_next_with_id() => shell.ended(ended),
            opened = maybe(shell.opening.as_mut()) => {
                shell.opening = None;
                shell.tell_clock(machine.run()).await;
                match opened {
                    Ok(stream) => shell.start(stream, machine.run()),
                    Err(failure) => Input::NotOpened(failure),
                }
            }
            () = until(machine.wake_at()) => Input::Time,
        };
        let acts = machine.on(input, time::moment());
        finished = shell.carry_out(acts).await;
    }
    finished.unwrap_or(Ok(()))
}

impl Shell {
    /// Carries out what the machine decided; gives how it all ended, once that is so.
    async fn carry_out(&mut self, acts: Vec<Act>) -> Option<Result<(), IngestError>> {
        let mut finished = None;
        for act in acts {
            match act {
                Act::Open { renew } => self.open(renew),
                Act::DoNotOpen => self.opening = None,
                Act::Leave(session) => drop(self.live.get(&session).map(|stop| stop.send_replace(true))),
                Act::Note(change) => self.outlet.send(Order::Note(change)).await,
                Act::Say(text) => self.outlet.meter.note(time::now(), text),
                Act::Connected(since) => self.outlet.meter.connected(&self.plan.project, since),
                Act::GapEnded => self.gaps.notify_one(),
                Act::Finish(result) => finished = Some(result),
            }
        }
        finished
    }

    fn open(&mut self, renew: bool) {
        let (plan, cloud) = (self.plan.clone(), Arc::clone(&self.cloud));
        self.opening = Some(Box::pin(async move {
            if renew {
                cloud.renew().await;
            }
            cloud.open(&plan.project, &plan.filters, plan.accept, plan.ping).await
        }));
    }

    /// Notes how far the cloud's clock is from ours, and says once that ours is off.
    async fn tell_clock(&mut self, run: Arc<Run>) {
        let Some(ahead) = self.cloud.clock_ahead() else { return };
        if self.told_run.replace(run.number) != Some(run.number) {
            self.outlet.send(Order::Note(Change::CloudAhead(run, ahead.saturating_mul(SECOND)))).await;
        }
        let ahead = Some(ahead).filter(|ahead| ahead.abs() > CLOCK_OFF);
        if let Some(ahead) = ahead.filter(|_| !std::mem::replace(&mut self.told_clock, true)) {
            let (seconds, which) = (ahead.abs(), if ahead > 0 { "behind" } else { "ahead of" });
            let text =
                format!("this machine's clock is {seconds} s {which} the cloud's; set it: `received_at` and gaps go by it");
            self.outlet.meter.note(time::now(), text);
        }
    }

    fn start(&mut self, stream: Stream, run: Arc<Run>) -> Input {
        let session = self.outlet.meter.sessions.fetch_add(1, Ordering::Relaxed);
        let (stop, stopped) = watch::channel(false);
        let dies = stream.dies.map(|dies| dies.saturating_duration_since(time::instant()));
        self.live.insert(session, stop);
        let (plan, outlet, news) = (self.plan.clone(), self.outlet.clone(), self.news.0.clone());
        self.running.spawn(run_session(session, plan, run, stream, outlet, news, stopped));
        Input::Opened { session, dies }
    }

    fn ended(&mut self, ended: Result<(tokio::task::Id, Ended), tokio::task::JoinError>) -> Input {
        match ended {
            Ok((_, Ended { session, end, lived, heard })) => {
                self.live.remove(&session);
                Input::Ended { session, end, lived, heard }
            }
            Err(error) => {
                // One that died of a fault of the program ended without a word: it is the one that nobody hears any more.
                let session = self.live.iter().find(|(_, stop)| stop.is_closed()).map(|(session, _)| *session);
                let session = session.unwrap_or(u64::MAX);
                self.live.remove(&session);
                Input::Ended { session, end: End::Lost(error.to_string()), lived: Duration::ZERO, heard: None }
            }
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

/// Until a time of the steady clock.
async fn until(at: Option<Micros>) {
    match at {
        Some(at) => tokio::time::sleep(time::duration(at - time::moment().steady)).await,
        None => std::future::pending().await,
    }
}

/// One session, from its opening to its end. What it brought has been handed to the keeper when this returns.
async fn run_session(
    session: u64,
    plan: Plan,
    run: Arc<Run>,
    mut stream: Stream,
    outlet: Outlet,
    news: mpsc::Sender<(u64, Moment)>,
    stop: watch::Receiver<bool>,
) -> Ended {
    let mut collector = Collector::new(Arc::clone(&outlet.registry), Source::Stream);
    let mut pulse = Pulse::new(run, session, plan.ping, time::moment());
    let mut end = listen(&mut stream, &mut collector, &mut pulse, &outlet, &news, &stop).await;
    if !matches!(end, End::Lost(_))
        && let Err(lost) = flush(&mut collector, &mut pulse, &stream.mask, &outlet, time::moment()).await
    {
        end = lost;
    }
    if let End::Lost(why) = &end {
        outlet.meter.note(time::now(), why.clone());
    }
    let heard = pulse.last(machine::describe(&end));
    if let Some(heard) = &heard {
        outlet.send(Order::Note(Change::Heard(heard.clone()))).await;
    }
    Ended { session, end, lived: pulse.lived(time::moment()), heard: heard.zip(pulse.last_sign()) }
}

/// Reads a stream until it ends.
async fn listen(
    stream: &mut Stream,
    collector: &mut Collector,
    pulse: &mut Pulse,
    outlet: &Outlet,
    news: &mpsc::Sender<(u64, Moment)>,
    stop: &watch::Receiver<bool>,
) -> End {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut flushed, mut chunks, mut looks, mut leaves_at) = (time::instant(), 0_u32, false, None);
    loop {
        // The stream first: while it has bytes, nothing else is polled, only looked at now and then.
        tokio::select! {
            biased;
            bytes = stream.next() => {
                let bytes = match bytes {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => {
                        let received_at = time::now();
                        stream.frames.finish(&mut |frame| drop(collector.add(&frame, received_at)));
                        return End::Over("the cloud ended the session".to_owned());
                    }
                    Err(failure) => return End::Failed(failure),
                };
                let now = time::moment();
                let (mut error, mut spoke) = (None, false);
                for piece in bytes.chunks(PIECE) {
                    error = take(stream, piece, collector, &outlet.meter, now.wall, &mut spoke);
                    if error.is_some() {
                        break;
                    }
                    if is_full(collector) {
                        flushed = time::instant();
                        if let Err(lost) = flush(collector, pulse, &stream.mask, outlet, now).await {
                            return lost;
                        }
                    }
                }
                if let Some(error) = error {
                    return match error.code {
                        1 | 4 | 408 | 504 => End::Over(format!("the session's time is up: {error}")),
                        _ => End::Error(error),
                    };
                }
                match pulse.came(spoke, now) {
                    // Its sign of life goes first: whoever hears of it finds it in the ledger.
                    Ok(true) => {
                        if let Err(lost) = flush(collector, pulse, &stream.mask, outlet, now).await {
                            return lost;
                        }
                        let Some(at) = pulse.last_sign() else { continue };
                        if news.send((pulse.session(), at)).await.is_err() {
                            return End::Stopped;
                        }
                    }
                    Ok(false) => {}
                    Err(end) => return end,
                }
                chunks = chunks.wrapping_add(1);
                if !chunks.is_multiple_of(LOOK_CHUNKS) {
                    continue;
                }
            }
            // The task that reads the socket holds what it has read until it has a turn, so only what is still silent behind one
            // was read empty.
            () = tokio::task::yield_now(), if looks => {
                looks = false;
                let now = time::moment();
                if let Err(end) = pulse.quiet(now) {
                    return end;
                }
                if leaves_at.is_some() {
                    // What may still be on its way is missing.
                    return if pulse.is_behind(now) { End::StoodStill } else { End::Stopped };
                }
            }
            _ = tick.tick(), if !looks => looks = true,
        }
        let now: Instant = time::instant();
        if *stop.borrow() {
            looks = true;
            if now > *leaves_at.get_or_insert(now + LEAVES_WITHIN) {
                return End::StoodStill;
            }
        }
        if now - flushed >= COMMIT_EVERY {
            flushed = now;
            if let Err(lost) = flush(collector, pulse, &stream.mask, outlet, time::moment()).await {
                return lost;
            }
        }
        if let Err(end) = pulse.silent(time::moment()) {
            return end;
        }
    }
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

/// Hands what was collected to the keeper, with the sign of life up to which that is all; waits while its queue is full.
///
/// # Errors
/// When the batch could not be built, and is lost.
async fn flush(collector: &mut Collector, pulse: &mut Pulse, mask: &Mask, outlet: &Outlet, now: Moment) -> Result<(), End> {
    let sign = |pulse: &mut Pulse| {
        pulse.handed_over();
        pulse.due(now)
    };
    if collector.is_empty() {
        if let Some(heard) = sign(pulse) {
            outlet.send(Order::Note(Change::Heard(heard))).await;
        }
        return Ok(());
    }
    let last = collector.last_time();
    let batch =
        collector.take_masked(mask).map_err(|error| End::Lost(format!("a batch could not be built and is lost: {error}")))?;
    outlet.meter.update(|parts| {
        parts.last_event = last.or(parts.last_event);
        parts.stranger |= speaks_a_stranger(&batch, &parts.devices);
        for (partition, rows) in &batch.parts {
            *parts.by_type.entry(partition.event_type.to_string()).or_default() += rows.num_rows() as u64;
        }
    });
    let claim = Claim::Session(pulse.run_number(), sign(pulse));
    outlet.send(Order::Keep(batch, claim)).await;
    Ok(())
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
