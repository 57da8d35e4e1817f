//! Record: the threads and channels of one recorder, and its clean end.
//!
//! The main thread runs the network (one task a project), thread "keep" owns the one writing connection, thread "roll"
//! makes day files. Each is a shell of a few lines around steps that the world test takes as well, on one thread and by its own
//! clock.

mod import;
mod merge;
mod prune;
mod rebuild;
#[cfg(feature = "lake")]
mod shipping;
mod supervised;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::base::disk;
use crate::base::error::{Advice, plain};
use crate::base::time::{self, Micros};
use crate::cloud::client::{Cloud, CloudFailure};
use crate::cloud::history::Pace;
use crate::intake::backfill::{Filler, Passes};
use crate::intake::stream::{self, IngestError, Plan};
use crate::intake::webhook;
use crate::metrics::Endpoint;
use crate::model::layout::Layout;
use crate::model::schema::Registry;
use crate::model::settings::{File, SettingsError};
use crate::store::buffer::{Buffer, BufferError, View};
use crate::store::meter::Meter;
use crate::store::roll::{self, RollError, Roller};
use crate::store::writer::{Command, Numbers, Phase, Writer, WriterHandle};

use crate::store::writer::thread::{Housekeeping, WriterThread};

pub use crate::store::roll::Timing;
pub use import::{Imported, Input, NoEvents, import};
pub use merge::{MergeError, Merged, merge, take_schemas};
pub use prune::{Keep, PruneByHandError, prune};
pub use rebuild::{Rebuilt, rebuild};
#[cfg(feature = "lake")]
pub use shipping::{Ship, Shipping};
pub use supervised::Supervised;

/// Batches between the network and the writer: a burst of a quarter of a second, and at most some 16 MB of columns.
const QUEUE_BATCHES: usize = 4;
/// When it takes longer than this, people are told what is waited for.
const FILL_TELL: Duration = Duration::from_secs(1);

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
    #[error("the system refuses to {0}: {why}", why = plain(.1))]
    System(&'static str, std::io::Error),
    /// The settings of the recording are refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A thread died.
    #[error("thread {0} died; what was kept before is safe")]
    Died(&'static str),
    /// An input cannot be read.
    #[error("cannot read {}: {}; the events before that are kept", path.display(), plain(source))]
    Input {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Arrow refused to build a batch.
    #[error("cannot put events into columns: {}", plain(.0))]
    Arrow(#[from] arrow::error::ArrowError),
}

impl RecordError {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::Buffer(error) => error.advice(),
            Self::Roll(error) => error.advice(),
            _ if disk::is_full(self) => Advice::MakeRoom,
            Self::Ingest(IngestError::GaveUp { .. }) | Self::Died(_) => Advice::Retry,
            _ => Advice::Fix,
        }
    }
}

/// A recording that is open for writing: both threads run.
#[derive(Debug)]
pub struct Recorder {
    layout: Layout,
    registry: Arc<Registry>,
    meter: Arc<Meter>,
    keep: mpsc::Sender<Command>,
    writer: JoinHandle<(Writer, Result<(), BufferError>)>,
    roll: Sender<()>,
    roller: JoinHandle<Result<(), RollError>>,
    stopping: Arc<AtomicBool>,
    failed: watch::Receiver<bool>,
    numbers: Arc<Numbers>,
}

impl Recorder {
    /// Opens a recording, makes it whole, starts its threads.
    ///
    /// # Errors
    /// When the buffer or a day file does not open.
    pub fn open(layout: &Layout, registry: Arc<Registry>, meter: Arc<Meter>, timing: Timing) -> Result<Self, RecordError> {
        Self::open_pruning(layout, registry, meter, timing, None)
    }

    /// The same, and prunes it once a day.
    ///
    /// # Errors
    /// As for [`Recorder::open`].
    pub fn open_pruning(
        layout: &Layout,
        registry: Arc<Registry>,
        meter: Arc<Meter>,
        timing: Timing,
        keep: Option<Keep>,
    ) -> Result<Self, RecordError> {
        let (writer, roller) = open_whole(layout, &registry, &meter, time::now())?;
        let mut daily = prune::daily(layout, keep, &meter);
        let (keep, orders) = mpsc::channel(QUEUE_BATCHES);
        let (failing, failed) = watch::channel(false);
        let stopping = Arc::new(AtomicBool::new(false));
        let (chores, todo) = Housekeeping::new(keep.clone());
        let writer = {
            let (layout, stopping) = (layout.clone(), Arc::clone(&stopping));
            let keeping = WriterThread::new(writer, Arc::clone(&meter), todo);
            spawn("keep", move || {
                let (writer, result) = keeping.run(orders, &layout, &stopping);
                failing.send_replace(result.is_err());
                (writer, result)
            })?
        };
        let numbers = Arc::new(Numbers { boot: time::boot(), ..Numbers::default() });
        let (roll, stop) = channel();
        let roller = {
            let meter = Arc::clone(&meter);
            spawn("roll", move || roll::run(roller, &timing, &meter, &chores, &stop, &mut daily))?
        };
        Ok(Self { layout: layout.clone(), registry, meter, keep, writer, roll, roller, stopping, failed, numbers })
    }

    /// The recording.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where a source sends what it has.
    pub fn writer(&self) -> WriterHandle {
        WriterHandle {
            keep: self.keep.clone(),
            meter: Arc::clone(&self.meter),
            registry: Arc::clone(&self.registry),
            numbers: Arc::clone(&self.numbers),
        }
    }

    /// It is about to end: what finds no room on the disk from now on is given up, and is a gap.
    pub fn leave(&self) {
        self.stopping.store(true, Ordering::Relaxed);
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
        let Self { keep, writer, roll, roller, stopping, failed, .. } = self;
        stopping.store(true, Ordering::Relaxed);
        // The roll must see what is still queued.
        let (done, wait) = channel();
        if !*failed.borrow() && keep.blocking_send(Command::Barrier(done)).is_ok() {
            // Nothing is ever sent: the order's end drops the sender.
            while wait.recv().is_ok() {}
        }
        drop(keep);
        drop(roll);
        let rolled = roller.join().map_err(|_| RecordError::Died("roll"))?;
        let (_keeper, kept) = writer.join().map_err(|_| RecordError::Died("keep"))?;
        kept?;
        Ok(rolled?)
    }
}

/// Fills the gaps of each stream's project; see [`backfill`](crate::intake::backfill).
#[derive(Debug, Clone)]
pub struct Filling {
    /// How the history is asked.
    pub passes: Passes,
    /// How often to read all of the history anew; none: never.
    pub reconcile: Option<Duration>,
    /// How long a planned end waits for gaps that are being filled.
    pub linger: Duration,
}

/// What to record.
#[derive(Debug, Default)]
pub struct Sources {
    /// Streams, one a project.
    pub plans: Vec<(Plan, Arc<Cloud>)>,
    /// How their gaps are filled; none: not at all.
    pub filling: Option<Filling>,
    /// Receives pushes.
    pub receiver: Option<webhook::Receiver>,
    /// Tells metrics.
    pub metrics: Option<Endpoint>,
}

/// Records until `end` has passed or `asked` resolves, or every source has ended for good. Gaps are filled meanwhile; a planned
/// end may wait for those that can be filled soon.
///
/// # Errors
/// When the recording cannot be used, or a stream ended for good against the user's wish. What was kept is rolled first.
pub async fn run(
    recorder: &Recorder,
    sources: Sources,
    end: Option<Duration>,
    asked: impl Future<Output = Phase>,
) -> Result<(), RecordError> {
    let Sources { plans, filling, receiver, metrics } = sources;
    // Tells them as long as anything of this lasts.
    let mut endpoint = JoinSet::new();
    if let Some(metrics) = metrics {
        endpoint.spawn(metrics.run(recorder.writer(), recorder.layout.state()));
    }
    // Streams leave first, with what they have to say in the ledger; the fillers are told apart.
    let (finishing, finish) = watch::channel(Phase::Going);
    let (stopping, stopped) = watch::channel(Phase::Going);
    let (left, streams_left) = watch::channel(false);
    let mut failed = recorder.failed();
    let pace = Arc::new(Pace::default());
    // Tasks of their own: a future run by `block_on` itself costs two system calls each time it is woken.
    let (mut runs, mut fillers) = (JoinSet::new(), JoinSet::new());
    for (plan, cloud) in plans {
        let gaps = Arc::new(Notify::new());
        if let Some(filling) = &filling {
            let filler = Filler {
                project: plan.project.clone(),
                filters: plan.filters.clone(),
                cloud: Arc::clone(&cloud),
                pace: Arc::clone(&pace),
                writer: recorder.writer(),
                layout: recorder.layout.clone(),
                passes: filling.passes.clone(),
                reconcile: filling.reconcile,
            };
            fillers.spawn(filler.run(Arc::clone(&gaps), streams_left.clone(), stopped.clone()));
        }
        runs.spawn(stream::run(plan, cloud, recorder.writer(), gaps, finish.clone()));
    }
    if let Some(receiver) = receiver {
        let projects = View::open(&recorder.layout)?.pushing_projects()?;
        let received = receiver.run(recorder.writer(), projects, end, finish.clone());
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
    let mut is_asked = false;
    while !runs.is_empty() {
        tokio::select! {
            Some(ended) = runs.join_next() => {
                // With several projects, one that fails must not end the others; its error comes out in the end.
                let ended = ended.map_err(|_| RecordError::Died("network")).and_then(|ended: Result<(), IngestError>| Ok(ended?));
                if let Err(error) = &ended {
                    // Said at once: the other projects may go on for hours.
                    recorder.meter.note(time::now(), error.to_string());
                }
                results.push(ended);
            }
            () = &mut timer, if *finish.borrow() == Phase::Going => {
                recorder.leave();
                finishing.send_replace(Phase::Asked);
            }
            phase = &mut asked, if !is_asked => {
                is_asked = true;
                recorder.leave();
                finishing.send_replace(phase);
                stopping.send_replace(phase);
            }
            // Nothing can be kept any more: leave; closing the recorder tells why.
            _ = failed.wait_for(|failed| *failed) => return Ok(()),
        }
    }
    left.send_replace(true);
    let linger = filling.map_or(Duration::ZERO, |filling| filling.linger);
    let waits = !is_asked && !linger.is_zero() && results.iter().any(Result::is_ok);
    let mut filled = std::pin::pin!(async { while fillers.join_next().await.is_some() {} });
    let mut all_filled = false;
    if waits {
        let told = async {
            tokio::time::sleep(FILL_TELL.min(linger)).await;
            let text =
                format!("gaps are being filled, for {} s at most (Ctrl-C leaves them for the next time)", linger.as_secs());
            recorder.meter.note(time::now(), text);
            tokio::time::sleep(linger.saturating_sub(FILL_TELL)).await;
        };
        tokio::select! {
            () = &mut filled => all_filled = true,
            () = told => {}
            _ = asked => {}
            _ = failed.wait_for(|failed| *failed) => return Ok(()),
        }
    }
    stopping.send_replace(Phase::Asked);
    if !all_filled {
        filled.await;
    }
    results.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(())
}

/// Opens a recording and makes it whole, before its threads start.
pub(crate) fn open_whole(
    layout: &Layout,
    registry: &Arc<Registry>,
    meter: &Meter,
    now: Micros,
) -> Result<(Writer, Roller), RecordError> {
    let readers = File::read(&layout.settings())?.readers()?;
    let mut buffer = Buffer::open(layout, now)?;
    buffer.join_sessions(now)?;
    if let Some(upgraded) = buffer.upgraded() {
        meter.note(now, upgraded.to_string());
    }
    if let Some(rescued) = buffer.rescued() {
        Meter::add(&meter.roll_errors, 1);
        meter.note(now, rescued.to_string());
    }
    let recovered = roll::recover(&mut buffer, layout, now)?;
    if recovered.blocks + recovered.staged > 0 {
        let text = format!(
            "recovered: {} unfinished files swept, {} blocks that day files held already removed",
            recovered.staged, recovered.blocks
        );
        meter.note(now, text);
    }
    for damage in &recovered.damaged {
        Meter::add(&meter.roll_errors, 1);
        meter.note(now, damage.to_string());
    }
    for unreadable in &recovered.unreadable {
        Meter::add(&meter.roll_errors, 1);
        meter.note(now, format!("a day file does not read, and is left alone: {unreadable}"));
    }
    let mut roller = Roller::new(layout, Arc::clone(registry), recovered.unsealed, recovered.unlisted)?;
    roller.admit(readers)?;
    for partition in recovered.partitions.into_iter().chain(roller.pending()?) {
        registry.meet(&partition.event_type, partition.day, now);
    }
    meter.pressure.buffered.store(i64::try_from(roller.buffered()?).unwrap_or(i64::MAX), Ordering::Relaxed);
    Ok((Writer::new(buffer), roller))
}

fn spawn<T: Send + 'static>(name: &'static str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, RecordError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| RecordError::System("start a thread", error))
}
