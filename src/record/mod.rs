//! Record: the threads and channels of one recorder, and its clean end.
//!
//! The main thread runs the network (one task a project), thread "keep" owns the one writing connection, thread "roll"
//! makes day files. Each is a shell of a few lines around a `step` or a call that tests make directly.

mod import;
#[cfg(test)]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::backfill::Filler;
use crate::buffer::{Buffer, BufferError};
use crate::devices;
use crate::error::Advice;
use crate::event::{DeviceRow, Partition};
use crate::ingest::{self, IngestError, Plan};
use crate::keep::{Keeper, Kept, Order, Outlet};
use crate::layout::Layout;
use crate::listen;
use crate::meter::Meter;
use crate::roll::{self, Policy, RollError, Roller, Scope, Work};
use crate::schema::Registry;
use crate::sources::cloud::{Cloud, CloudFailure};
use crate::sources::history::Pace;
use crate::time::{self, Micros};

pub use import::{Imported, import};

/// Batches between the network and the keeper: a second's worth at full speed, and at most some 50 MB of columns.
const QUEUE_BATCHES: usize = 16;
/// How often thread "roll" looks whether a partition has grown too large to wait for the timer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the end of a recording waits for gaps that are being filled.
const FILL_GRACE: Duration = Duration::from_mins(1);
/// When it takes longer than this, people are told what is waited for.
const FILL_TELL: Duration = Duration::from_secs(1);
/// How often a batch that found no room on the disk is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// Why a recorder did not record, or stopped recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The buffer cannot be used.
    #[error(transparent)]
    Buffer(#[from] BufferError),
    /// A day file cannot be read or written.
    #[error(transparent)]
    Roll(#[from] RollError),
    /// A stream ended for good.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The cloud's address is wrong.
    #[error(transparent)]
    Cloud(#[from] CloudFailure),
    /// The system refuses a thread or a timer.
    #[error("the system refuses to {0}: {1}")]
    System(&'static str, std::io::Error),
    /// A thread died.
    #[error("thread {0} died; what was kept before is safe")]
    Died(&'static str),
    /// An input cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Arrow refused to build a batch.
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

impl RecordError {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Buffer(error) => error.advice(),
            Self::Roll(error) => error.advice(),
            Self::Ingest(IngestError::GaveUp { .. }) | Self::Died(_) => Advice::Retry,
            _ => Advice::Fix,
        }
    }
}

/// When a recorder rolls.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How often to look for something to roll or seal.
    pub roll_every: Duration,
    /// What is due then.
    pub policy: Policy,
}

impl Default for Timing {
    fn default() -> Self {
        Self { roll_every: Duration::from_mins(15), policy: Policy::default() }
    }
}

/// A recording that is open for writing: both threads run.
#[derive(Debug)]
pub struct Recorder {
    layout: Layout,
    registry: Arc<Registry>,
    meter: Arc<Meter>,
    keep: mpsc::Sender<Order>,
    keeper: JoinHandle<Result<(), BufferError>>,
    roll: Sender<()>,
    roller: JoinHandle<Result<(), RollError>>,
    stopping: Arc<AtomicBool>,
    failed: watch::Receiver<bool>,
}

impl Recorder {
    /// Opens a recording, makes it whole, starts its threads.
    ///
    /// # Errors
    /// When the buffer or a day file does not open.
    pub fn open(layout: &Layout, registry: Arc<Registry>, meter: Arc<Meter>, timing: Timing) -> Result<Self, RecordError> {
        let (keeper, roller) = open_whole(layout, &registry, &meter, time::now())?;
        let (keep, orders) = mpsc::channel(QUEUE_BATCHES);
        let (failing, failed) = watch::channel(false);
        let stopping = Arc::new(AtomicBool::new(false));
        let keeper = {
            let (meter, stopping) = (Arc::clone(&meter), Arc::clone(&stopping));
            spawn("keep", move || {
                let result = keep_loop(keeper, orders, &meter, &stopping);
                if result.is_err() {
                    failing.send_replace(true);
                }
                result
            })?
        };
        let (roll, stop) = channel();
        let roller = {
            let (keep, meter) = (keep.clone(), Arc::clone(&meter));
            spawn("roll", move || roll_loop(roller, &keep, &meter, &timing, &stop))?
        };
        Ok(Self { layout: layout.clone(), registry, meter, keep, keeper, roll, roller, stopping, failed })
    }

    /// The recording.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where a source sends what it has.
    pub fn outlet(&self) -> Outlet {
        Outlet { keep: self.keep.clone(), meter: Arc::clone(&self.meter), registry: Arc::clone(&self.registry) }
    }

    /// Becomes true when nothing can be kept any more.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }

    /// Keeps what is queued, rolls everything, closes.
    ///
    /// # Errors
    /// When something could not be kept, or not be rolled; what was kept is safe in either case.
    pub fn close(self) -> Result<(), RecordError> {
        let Self { keep, keeper, roll, roller, stopping, failed, .. } = self;
        stopping.store(true, Ordering::Relaxed);
        // The roll must see what is still queued.
        let (done, wait) = channel();
        if !*failed.borrow() && keep.blocking_send(Order::Reach(done)).is_ok() {
            // Nothing is ever sent: the order's end drops the sender.
            while wait.recv().is_ok() {}
        }
        drop(keep);
        drop(roll);
        let rolled = roller.join().map_err(|_| RecordError::Died("roll"))?;
        let kept = keeper.join().map_err(|_| RecordError::Died("keep"))?;
        kept?;
        Ok(rolled?)
    }
}

/// Fills the gaps of each stream's project; see [`backfill`](crate::backfill).
#[derive(Debug, Clone, Copy)]
pub struct Filling {
    /// An event is in the history at the latest so long after it happened.
    pub index_delay: Duration,
    /// How often to read all of the history anew; none: never.
    pub reconcile: Option<Duration>,
}

/// What to record.
#[derive(Debug, Default)]
pub struct Sources {
    /// Streams, one a project.
    pub plans: Vec<(Plan, Arc<Cloud>)>,
    /// How their gaps are filled; none: not at all.
    pub filling: Option<Filling>,
    /// Receives pushes.
    pub receiver: Option<listen::Receiver>,
}

/// Records until `end` has passed or `asked` resolves, or every source has ended for good. Gaps are filled meanwhile; at the
/// end, unless somebody asked, what can still be filled within a minute is waited for.
///
/// # Errors
/// When the recording cannot be used, or a stream ended for good against the user's wish. What was kept is rolled first.
pub async fn run(
    recorder: &Recorder,
    sources: Sources,
    end: Option<Duration>,
    asked: impl Future<Output = ()>,
) -> Result<(), RecordError> {
    let Sources { plans, filling, receiver } = sources;
    let (stopping, stopped) = watch::channel(false);
    let (finishing, finish) = watch::channel(false);
    // Streams leave first: the gap that lasts when they do ends then.
    let (left, streams_left) = watch::channel(false);
    let mut failed = recorder.failed();
    let pace = Arc::new(Pace::default());
    // Tasks of their own: a future run by `block_on` itself costs two system calls each time it is woken.
    let (mut runs, mut fillers) = (JoinSet::new(), JoinSet::new());
    for (plan, cloud) in plans {
        let gaps = Arc::new(Notify::new());
        if let Some(filling) = filling {
            let filler = Filler {
                project: plan.project.clone(),
                filters: plan.filters.clone(),
                cloud: Arc::clone(&cloud),
                pace: Arc::clone(&pace),
                outlet: recorder.outlet(),
                layout: recorder.layout.clone(),
                index_delay: filling.index_delay,
                reconcile: filling.reconcile,
            };
            fillers.spawn(filler.run(Arc::clone(&gaps), streams_left.clone(), stopped.clone()));
        }
        runs.spawn(ingest::run(plan, cloud, recorder.outlet(), gaps, finish.clone()));
    }
    if let Some(receiver) = receiver {
        let received = receiver.run(recorder.outlet(), finish.clone());
        runs.spawn(async {
            received.await;
            Ok(())
        });
    }
    let timer = async {
        match end {
            Some(end) => tokio::time::sleep(end).await,
            None => std::future::pending().await,
        }
    };
    let (mut timer, mut asked) = (std::pin::pin!(timer), std::pin::pin!(asked));
    let mut results = Vec::new();
    while !runs.is_empty() {
        tokio::select! {
            Some(ended) = runs.join_next() => {
                // With several projects, one that fails must not end the others; its error comes out in the end.
                let ended = ended.map_err(|_| RecordError::Died("network"))?;
                if let Err(error) = &ended {
                    // Said at once: the other projects may go on for hours.
                    recorder.meter.note(time::now(), error.to_string());
                }
                results.push(ended);
            }
            () = &mut timer, if !*finish.borrow() => drop(finishing.send_replace(true)),
            () = &mut asked, if !*stopped.borrow() => {
                finishing.send_replace(true);
                stopping.send_replace(true);
            }
            // Nothing can be kept any more: leave; closing the recorder tells why.
            _ = failed.wait_for(|failed| *failed) => return Ok(()),
        }
    }
    // Where a stream is refused for good, the history is as well.
    left.send_replace(true);
    stopping.send_modify(|stop| *stop |= results.iter().all(Result::is_err));
    let mut filled = std::pin::pin!(async { while fillers.join_next().await.is_some() {} });
    let told = async {
        tokio::time::sleep(FILL_TELL).await;
        recorder.meter.note(
            time::now(),
            format!("gaps are being filled, for {} s at most (Ctrl-C leaves them for the next time)", FILL_GRACE.as_secs()),
        );
        tokio::time::sleep(FILL_GRACE).await;
    };
    let all_filled = tokio::select! {
        () = &mut filled => true,
        () = told => false,
        () = asked, if !*stopped.borrow() => false,
        _ = failed.wait_for(|failed| *failed) => return Ok(()),
    };
    if !all_filled {
        stopping.send_replace(true);
        filled.await;
    }
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(())
}

/// Opens a recording and makes it whole, before its threads start.
fn open_whole(layout: &Layout, registry: &Arc<Registry>, meter: &Meter, now: Micros) -> Result<(Keeper, Roller), RecordError> {
    let mut buffer = Buffer::open(layout)?;
    buffer.close_left_open()?;
    let recovered = roll::recover(&mut buffer, layout)?;
    if recovered.blocks + recovered.staged > 0 {
        let text = format!(
            "recovered: {} unfinished files swept, {} blocks that day files held already removed",
            recovered.staged, recovered.blocks
        );
        meter.note(now, text);
    }
    for damaged in recovered.damaged {
        Meter::add(&meter.roll_errors, 1);
        meter.note(now, format!("a day file does not read, and is left alone: {damaged}"));
    }
    let roller = Roller::new(layout, Arc::clone(registry), recovered.unsealed)?;
    meter.buffered.store(i64::try_from(roller.buffered()?).unwrap_or(i64::MAX), Ordering::Relaxed);
    Ok((Keeper::new(buffer), roller))
}

fn spawn<T: Send + 'static>(name: &'static str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, RecordError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| RecordError::System("start a thread", error))
}

fn keep_loop(
    mut keeper: Keeper,
    mut orders: mpsc::Receiver<Order>,
    meter: &Meter,
    stopping: &AtomicBool,
) -> Result<(), BufferError> {
    while let Some(order) = orders.blocking_recv() {
        carry_out(&mut keeper, &order, meter, stopping, time::now, || thread::sleep(FULL_RETRY))?;
    }
    Ok(())
}

/// Carries out an order as thread "keep" does; an error is its end.
fn carry_out(
    keeper: &mut Keeper,
    order: &Order,
    meter: &Meter,
    stopping: &AtomicBool,
    now: impl Fn() -> Micros,
    wait: impl Fn(),
) -> Result<(), BufferError> {
    let kept = match keep_one(keeper, order, meter, stopping, &now, wait) {
        Ok(kept) => kept,
        // Who pushed is told, and pushes again.
        Err(error) if error.is_full() && matches!(order, Order::Push(_)) => return Ok(()),
        // Only what brings events must not fail: the rest is housekeeping, and done again before long.
        Err(error) if !matches!(order, Order::Keep(_) | Order::Push(_)) => {
            meter.note(now(), format!("buffer: {error}"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    Meter::add(&meter.kept, kept.events as u64);
    Meter::add(&meter.faults, kept.faults as u64);
    meter.buffered.fetch_add(i64::try_from(kept.events).unwrap_or(i64::MAX), Ordering::Relaxed);
    Ok(())
}

/// Carries out an order. On a full disk a batch waits, and the stream behind it, until there is room or the recorder stops.
fn keep_one(
    keeper: &mut Keeper,
    order: &Order,
    meter: &Meter,
    stopping: &AtomicBool,
    now: impl Fn() -> Micros,
    wait: impl Fn(),
) -> Result<Kept, BufferError> {
    loop {
        let result = keeper.step(order, now());
        match &result {
            Err(error) if error.is_full() && !meter.full.swap(true, Ordering::Relaxed) => {
                meter.note(now(), format!("the disk is full, recording waits for room: {error}"));
            }
            Ok(kept) if kept.events > 0 && meter.full.swap(false, Ordering::Relaxed) => {
                meter.note(now(), "there is room on the disk again, recording goes on");
            }
            _ => {}
        }
        match result {
            Err(error) if error.is_full() && matches!(order, Order::Keep(_)) && !stopping.load(Ordering::Relaxed) => wait(),
            result => return result,
        }
    }
}

fn roll_loop(
    mut roller: Roller,
    keep: &mpsc::Sender<Order>,
    meter: &Meter,
    timing: &Timing,
    stop: &Receiver<()>,
) -> Result<(), RollError> {
    let (mut last, mut failing, mut devices) = (time::instant(), false, Vec::new());
    loop {
        let stopping = match stop.recv_timeout(LOOK_EVERY.min(timing.roll_every)) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
        };
        let crowded = meter.buffered.load(Ordering::Relaxed) >= i64::try_from(timing.policy.rows_max).unwrap_or(i64::MAX);
        let scope = match (stopping, last.elapsed() >= timing.roll_every) {
            (true, _) => Scope::All,
            (false, true) => Scope::Due,
            // What failed is not tried again before the timer.
            (false, false) if crowded && !failing => Scope::Large,
            (false, false) => continue,
        };
        if scope == Scope::Due {
            last = time::instant();
        }
        let listed = if scope == Scope::Large { Ok(()) } else { list_devices(&roller, &mut devices) };
        let result = roll_once(&mut roller, keep, meter, &timing.policy, scope, time::now).and(listed);
        failing = result.is_err();
        if let Err(error) = result {
            Meter::add(&meter.roll_errors, 1);
            if stopping {
                return Err(error);
            }
            meter.note(time::now(), format!("roll: {error}"));
        }
        if stopping {
            return Ok(());
        }
    }
}

/// Publishes the device list when it has changed.
fn list_devices(roller: &Roller, last: &mut Vec<DeviceRow>) -> Result<(), RollError> {
    let devices = roller.devices()?;
    if devices != *last {
        devices::publish(roller.layout(), &devices)?;
        *last = devices;
    }
    Ok(())
}

/// Rolls and seals what is due. A partition that fails does not keep the others from being rolled.
fn roll_once(
    roller: &mut Roller,
    keep: &mpsc::Sender<Order>,
    meter: &Meter,
    policy: &Policy,
    scope: Scope,
    now: impl Fn() -> Micros,
) -> Result<(), RollError> {
    let mut failure = None;
    let mut worked = false;
    for work in roller.due(policy, now(), scope)? {
        worked = true;
        let (Work::Roll(partition) | Work::Seal(partition)) = &work;
        let result = catch_unwind(AssertUnwindSafe(|| match &work {
            Work::Roll(partition) => roll_partition(roller, keep, meter, partition, policy, &now),
            Work::Seal(partition) => roller.seal(partition).map(drop),
        }));
        if let Err(error) = result.unwrap_or_else(|_| Err(RollError::Panicked(partition.clone()))) {
            failure = Some(error);
        }
    }
    if worked {
        meter.last_roll.store(now(), Ordering::Relaxed);
        // A closed queue means that the keeper has failed, which closing the recorder tells.
        drop(keep.blocking_send(Order::Tidy));
    }
    failure.map_or(Ok(()), Err)
}

fn roll_partition(
    roller: &mut Roller,
    keep: &mpsc::Sender<Order>,
    meter: &Meter,
    partition: &Partition,
    policy: &Policy,
    now: impl Fn() -> Micros,
) -> Result<(), RollError> {
    while let Some(rolled) = roller.roll(partition, policy, now())? {
        Meter::add(&meter.rolled, rolled.events);
        Meter::add(&meter.doubles, rolled.doubles);
        let gone = i64::try_from(rolled.events + rolled.doubles).unwrap_or(i64::MAX);
        meter.buffered.fetch_sub(gone, Ordering::Relaxed);
        drop(keep.blocking_send(Order::Forget(rolled.partition, rolled.seq)));
        if !rolled.more {
            break;
        }
    }
    Ok(())
}
