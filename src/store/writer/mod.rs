//! Keep: the one writing connection takes orders. What is acknowledged here survives a crash.

mod measure;
pub mod thread;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use tokio::sync::{mpsc, oneshot, watch};

use crate::base::time::Micros;
use crate::model::event::{Batch, Partition};
use crate::model::schema::Registry;
use crate::store::buffer::{Buffer, BufferError, Change, Checksum, Heard};
use crate::store::meter::Meter;

/// The way to the one who writes to the buffer, and carries out orders one after the other.
pub(crate) trait ToWriter {
    /// Hands over an order. Where the writer has failed it comes to nothing, which closing the recorder tells.
    fn send(&self, order: Command);

    /// Waits until everything handed over so far is done; false when some of it could not be, since this was asked last.
    fn reach(&self) -> bool;
}

/// Something to do with the buffer.
#[derive(Debug)]
pub enum Command {
    /// Commit a batch, with what its sender may claim once that is done.
    Keep(Batch, Claim),
    /// Commit a batch if its senders still wait for that, and tell them.
    Push(Push),
    /// Day files hold the rows of these partitions up to these seqs: they may go.
    Forget(Vec<(Partition, i64)>),
    /// A change of the ledger.
    Note(Change),
    /// A day file was sealed, and has this checksum.
    Sealed(Partition, Checksum),
    /// A sealed day file is going to change: its checksum is good no longer.
    Unsealed(Partition),
    /// These day files go, and their checksums with them; what is before this time is given up on purpose.
    Pruned(Vec<Partition>, Micros),
    /// A block does not read, for this reason: set it aside.
    Quarantine(i64, String),
    /// Give space back to the disk.
    Vacuum,
    /// Nothing: there are chores to look after.
    Wake,
    /// Say that everything ordered before is done, by dropping this.
    Barrier(Sender<()>),
    /// The same for those who wait without a thread.
    AsyncBarrier(oneshot::Sender<()>),
}

/// What the sender of a batch says in the ledger, and must not say when the batch is not kept.
#[derive(Debug, Clone, Default)]
pub enum Claim {
    /// Nothing.
    #[default]
    Nothing,
    /// A session of the run with this number; with a sign of life, up to which the batch and those before it hold everything.
    Session(u64, Option<Heard>),
    /// Passes over the history.
    Fills(Vec<i64>),
}

/// A batch whose senders are told whether it is kept.
#[derive(Debug)]
pub struct Push {
    /// The events.
    pub batch: Batch,
    /// What becomes of it.
    pub verdict: Arc<Verdict>,
    /// Says that the verdict is there, by being dropped.
    pub reached: oneshot::Sender<()>,
}

/// What becomes of a push: kept or refused, never both. Whoever is first decides: the writer begins, or the receiver, which
/// has to answer in time, withdraws.
#[derive(Debug, Default)]
pub struct Verdict(AtomicU8);

impl Verdict {
    const WAITING: u8 = 0;
    const WITHDRAWN: u8 = 1;
    const BEGUN: u8 = 2;
    const KEPT: u8 = 3;
    const UNFIT: u8 = 4;

    /// The receiver waits no longer; false when the writer has begun, and the verdict has to be waited for.
    pub fn withdraw(&self) -> bool {
        self.0.compare_exchange(Self::WAITING, Self::WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// True when all of the push is kept.
    pub fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::KEPT
    }

    /// True when it is its content that cannot be kept, and would not be the next time.
    pub fn is_unfit(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::UNFIT
    }

    /// Its content cannot be kept.
    pub fn unfit(&self) {
        self.0.store(Self::UNFIT, Ordering::Release);
    }

    fn begin(&self) -> bool {
        self.0.compare_exchange(Self::WAITING, Self::BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn kept(&self) {
        self.0.store(Self::KEPT, Ordering::Release);
    }
}

/// Where sources send what they have.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    /// To the writer.
    pub keep: mpsc::Sender<Command>,
    /// What is shown to people.
    pub meter: Arc<Meter>,
    /// The schemas.
    pub registry: Arc<Registry>,
    /// What tells the runs of this recorder apart.
    pub numbers: Arc<Numbers>,
}

/// What tells the runs of one recorder apart.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Of the next run.
    pub runs: AtomicU64,
    /// What the steady clock counts from; empty where nobody but this recorder knows.
    pub boot: String,
}

/// Whether a recorder is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It goes on.
    Going,
    /// It was asked to end, or its planned end is there.
    Asked,
    /// Its terminal was closed, or the service is stopped: it ends, and nobody said that no more is wanted.
    HungUp,
}

impl WriterHandle {
    /// Hands an order to the writer; waits while its queue is full. A closed queue means that the writer has failed, which
    /// the recorder tells.
    pub async fn send(&self, order: Command) {
        let order = match self.keep.try_send(order) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order)) => order,
        };
        Meter::add(&self.meter.waits, 1);
        drop(self.keep.send(order).await);
    }

    /// Who asks whether the writer is alive.
    pub fn answers(&self) -> Answers {
        Answers { keep: self.keep.downgrade(), meter: Arc::clone(&self.meter), seen: Meter::get(&self.meter.turns) }
    }

    /// Hands over several, in order.
    pub async fn send_all(&self, orders: &mut Vec<Command>) {
        for order in orders.drain(..) {
            self.send(order).await;
        }
    }
}

/// Asks whether the writer is alive, without holding it up or keeping it from its end.
#[derive(Debug)]
pub struct Answers {
    keep: mpsc::WeakSender<Command>,
    meter: Arc<Meter>,
    seen: u64,
}

impl Answers {
    /// Wakes the writer; true when it has turned since this was asked last. One that waits for room on the disk turns.
    pub fn ask(&mut self) -> bool {
        let before = std::mem::replace(&mut self.seen, Meter::get(&self.meter.turns));
        if let Some(keep) = self.keep.upgrade() {
            // Where the queue is full there is enough to turn for.
            drop(keep.try_send(Command::Wake));
        }
        self.seen != before
    }
}

/// Resolves when it is time to stop; says how.
pub async fn shutdown_requested(stop: &mut watch::Receiver<Phase>) -> Phase {
    // A sender that is gone will tell nothing more: stop as well.
    stop.wait_for(|stop| *stop != Phase::Going).await.map_or(Phase::HungUp, |phase| *phase)
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Events committed.
    pub events: usize,
    /// Faults committed.
    pub faults: usize,
}

/// Most changes of the ledger that wait for room; the oldest give way, which can only make a gap larger.
const OWED_MAX: usize = 10_000;

/// The writer of the buffer.
#[derive(Debug)]
pub struct Writer {
    buffer: Buffer,
    /// Changes of the ledger that could not be written yet, in order.
    owed: VecDeque<Change>,
    /// Runs and passes of which a batch was given up: they may claim nothing any more.
    torn: (HashSet<u64>, HashSet<i64>),
}

impl Writer {
    /// Takes over the buffer.
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, owed: VecDeque::new(), torn: (HashSet::new(), HashSet::new()) }
    }

    /// The buffer, for what happens before the first order.
    pub fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Carries out an order. When it returns, the order is durable.
    ///
    /// # Errors
    /// When SQLite or the disk refuses; nothing of the order has happened then.
    pub fn step(&mut self, order: &Command, now: Micros) -> Result<Kept, BufferError> {
        let mut kept = Kept::default();
        match order {
            Command::Keep(batch, claim) => {
                let heard = match claim {
                    Claim::Session(run, heard) if !self.torn.0.contains(run) => heard.as_ref(),
                    _ => None,
                };
                self.buffer.keep(batch, heard, now)?;
                kept = Kept { events: batch.events(), faults: batch.faults.len() };
                self.pay(now);
            }
            Command::Push(push) => {
                if push.verdict.begin() {
                    self.buffer.keep(&push.batch, None, now)?;
                    push.verdict.kept();
                    kept = Kept { events: push.batch.events(), faults: push.batch.faults.len() };
                    self.pay(now);
                }
            }
            Command::Forget(rolled) => drop(self.buffer.forget(rolled)?),
            Command::Vacuum => self.buffer.tidy()?,
            // Whoever waits is told when the order is dropped.
            Command::Barrier(_) | Command::AsyncBarrier(_) | Command::Wake => self.pay(now),
            Command::Quarantine(seq, why) => self.buffer.condemn(*seq, why, now)?,
            Command::Sealed(partition, sum) => self.buffer.sealed(partition, sum)?,
            Command::Unsealed(partition) => self.buffer.unsealed(partition)?,
            Command::Pruned(partitions, before) => self.buffer.pruned(partitions, *before)?,
            Command::Note(change) => self.note(change, now)?,
        }
        Ok(kept)
    }

    /// Writes a change of the ledger. What must not be lost waits in memory when it cannot be written.
    fn note(&mut self, change: &Change, now: Micros) -> Result<(), BufferError> {
        let Some(change) = self.as_far_as_true(change, now) else { return Ok(()) };
        self.pay(now);
        let result = if self.owed.is_empty() || !change.is_owed() { self.buffer.apply(&change, now) } else { Ok(()) };
        let is_loss = matches!(change, Change::Lost { .. });
        if change.is_owed() && (result.is_err() || !self.owed.is_empty()) {
            self.owe(change);
        }
        match result {
            // It is told that there is no room; but who notes a loss has to know whether that stands.
            Err(error) if error.is_full() && !is_loss => Ok(()),
            result => result,
        }
    }

    /// Without what a batch that was given up forbids to claim.
    fn as_far_as_true(&self, change: &Change, now: Micros) -> Option<Change> {
        let (runs, fills) = &self.torn;
        Some(match change {
            Change::Heard(heard) if runs.contains(&heard.run.number) => {
                Change::Heard(Heard { spoke_at: heard.opened_at, ..heard.clone() })
            }
            Change::Ends(run, at) if runs.contains(&run.number) => Change::Ends(Arc::clone(run), now.max(*at)),
            Change::Device { fills: of, .. } if of.iter().any(|(fill, _)| fills.contains(fill)) => return None,
            Change::Filled { fill, .. } if fills.contains(fill) => return None,
            change => change.clone(),
        })
    }

    fn owe(&mut self, change: Change) {
        // Each sign of life says all that the one before it said.
        if let Change::Heard(heard) = &change {
            let is_same = |other: &Heard| other.run == heard.run && other.session == heard.session && other.ended.is_none();
            self.owed.retain(|owed| !matches!(owed, Change::Heard(other) if is_same(other)));
        }
        if self.owed.len() >= OWED_MAX {
            self.owed.pop_front();
        }
        self.owed.push_back(change);
    }

    /// Writes what waits, in order, as far as it can be written.
    pub fn pay(&mut self, now: Micros) {
        while let Some(change) = self.owed.front() {
            if self.buffer.apply(change, now).is_err() {
                return;
            }
            self.owed.pop_front();
        }
    }

    /// A batch is given up: who sent it may claim nothing any more that lies behind it.
    pub fn give_up(&mut self, order: &Command) {
        match order {
            Command::Keep(_, Claim::Session(run, _)) => drop(self.torn.0.insert(*run)),
            Command::Keep(_, Claim::Fills(fills)) => self.torn.1.extend(fills),
            _ => {}
        }
    }
}
