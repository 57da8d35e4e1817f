//! Keep: the one writing connection takes orders. What is acknowledged here survives a crash.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;

use tokio::sync::{mpsc, oneshot, watch};

use crate::buffer::{Buffer, BufferError, GapState, Sum};
use crate::event::{Batch, DeviceRow, Partition, Source};
use crate::meter::Meter;
use crate::schema::Registry;
use crate::time::Micros;

/// Something to do with the buffer.
#[derive(Debug)]
pub enum Order {
    /// Commit a batch.
    Keep(Batch),
    /// Commit a batch if its senders still wait for that, and tell them.
    Push(Push),
    /// A day file holds the partition's rows up to this seq: delete them.
    Forget(Partition, i64),
    /// A session opened; the number is the caller's.
    Opened {
        /// Number of the session.
        session: u64,
        /// The kind of connection.
        source: Source,
        /// Its project.
        project: String,
        /// What was asked for, as JSON.
        filters: String,
    },
    /// A session gave a sign of life.
    Spoke {
        /// Number of the session.
        session: u64,
        /// When.
        at: Micros,
    },
    /// A session ended.
    Closed {
        /// Number of the session.
        session: u64,
        /// Why it ended.
        cause: String,
        /// Its last sign of life.
        spoke_at: Micros,
    },
    /// Nothing covers a project any more.
    GapBegins {
        /// The project.
        project: String,
        /// Last sign of life.
        at: Micros,
        /// What ended the last session.
        cause: String,
    },
    /// A project is covered again.
    GapEnds {
        /// The project.
        project: String,
        /// First sign of life.
        at: Micros,
    },
    /// Somebody wants a span filled.
    GapWanted {
        /// The project.
        project: String,
        /// Why it is missing.
        cause: String,
        /// Its beginning.
        begins: Micros,
        /// Its end.
        ends: Micros,
    },
    /// A gap that nobody has begun to fill reaches over this span as well.
    GapExtends {
        /// Number of the gap.
        gap: i64,
        /// The span's beginning.
        begins: Micros,
        /// Its end.
        ends: Micros,
    },
    /// Where a gap stands.
    GapStands {
        /// Number of the gap.
        gap: i64,
        /// Where it stands.
        state: GapState,
        /// Why it is lost, or what is missing.
        why: Option<String>,
    },
    /// A device's history of a gap is kept.
    GapDeviceDone {
        /// Number of the gap.
        gap: i64,
        /// The device.
        device: String,
        /// Events that it brought.
        events: u64,
    },
    /// All of a project's history was read.
    Reconciled {
        /// The project.
        project: String,
        /// When.
        at: Micros,
    },
    /// The devices of a project, as the cloud lists them.
    Devices(String, Vec<DeviceRow>),
    /// A day file was sealed, and has this checksum.
    Sealed(Partition, Sum),
    /// A sealed day file is going to change: its checksum is good no longer.
    Unsealed(Partition),
    /// A block does not read, for this reason: set it aside.
    Condemn(i64, String),
    /// Give freed space back to the disk.
    Tidy,
    /// Nothing: there are chores to look after.
    Look,
    /// Say that everything ordered before is done, by dropping this.
    Reach(Sender<()>),
    /// The same for those who wait without a thread.
    Reached(oneshot::Sender<()>),
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

/// What becomes of a push: kept or refused, never both. Whoever is first decides: the keeper begins, or the receiver, which
/// has to answer in time, withdraws.
#[derive(Debug, Default)]
pub struct Verdict(AtomicU8);

impl Verdict {
    const WAITING: u8 = 0;
    const WITHDRAWN: u8 = 1;
    const BEGUN: u8 = 2;
    const KEPT: u8 = 3;

    /// The receiver waits no longer; false when the keeper has begun, and the verdict has to be waited for.
    pub fn withdraw(&self) -> bool {
        self.0.compare_exchange(Self::WAITING, Self::WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// True when all of the push is kept.
    pub fn is_kept(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::KEPT
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
pub struct Outlet {
    /// To the keeper.
    pub keep: mpsc::Sender<Order>,
    /// What is shown to people.
    pub meter: Arc<Meter>,
    /// The schemas.
    pub registry: Arc<Registry>,
}

impl Outlet {
    /// Hands an order to the keeper; waits while its queue is full. A closed queue means that the keeper has failed, which
    /// the recorder tells.
    pub async fn send(&self, order: Order) {
        let order = match self.keep.try_send(order) {
            Ok(()) => return,
            Err(mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order)) => order,
        };
        Meter::add(&self.meter.waits, 1);
        drop(self.keep.send(order).await);
    }
}

/// Resolves when it is time to stop.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone will tell nothing more: stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Events committed.
    pub events: usize,
    /// Faults committed.
    pub faults: usize,
}

/// The keeper of the buffer.
#[derive(Debug)]
pub struct Keeper {
    buffer: Buffer,
    sessions: HashMap<u64, i64>,
}

impl Keeper {
    /// Takes over the buffer.
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, sessions: HashMap::new() }
    }

    /// The buffer, for what happens before the first order.
    pub fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Carries out an order. When it returns, the order is durable.
    ///
    /// # Errors
    /// When SQLite or the disk refuses; nothing of the order has happened then.
    pub fn step(&mut self, order: &Order, now: Micros) -> Result<Kept, BufferError> {
        let mut kept = Kept::default();
        match order {
            Order::Keep(batch) => {
                self.buffer.keep(batch, now)?;
                kept = Kept { events: batch.events(), faults: batch.faults.len() };
            }
            Order::Push(push) => {
                if push.verdict.begin() {
                    self.buffer.keep(&push.batch, now)?;
                    push.verdict.kept();
                    kept = Kept { events: push.batch.events(), faults: push.batch.faults.len() };
                }
            }
            Order::Forget(partition, seq) => drop(self.buffer.forget(partition, *seq)?),
            Order::Tidy => self.buffer.tidy()?,
            // Whoever waits is told when the order is dropped.
            Order::Reach(_) | Order::Reached(_) | Order::Look => {}
            Order::Condemn(seq, why) => self.buffer.condemn(*seq, why)?,
            Order::Sealed(partition, sum) => self.buffer.sealed(partition, sum)?,
            Order::Unsealed(partition) => self.buffer.unsealed(partition)?,
            // Ordered again when it is not sure that the first order came through.
            Order::Opened { session, .. } if self.sessions.contains_key(session) => {}
            Order::Opened { session, source, project, filters } => {
                let row = self.buffer.session_opened(*source, project, filters, now)?;
                self.sessions.insert(*session, row);
            }
            Order::Spoke { session, at } => {
                if let Some(row) = self.sessions.get(session) {
                    self.buffer.session_spoke(*row, *at)?;
                }
            }
            Order::Closed { session, cause, spoke_at } => {
                if let Some(row) = self.sessions.remove(session) {
                    self.buffer.session_closed(row, cause, *spoke_at, now)?;
                }
            }
            Order::GapBegins { project, at, cause } => self.buffer.gap_begins(project, *at, cause)?,
            Order::GapEnds { project, at } => self.buffer.gap_ends(project, *at)?,
            Order::GapWanted { project, cause, begins, ends } => {
                self.buffer.gap_wanted(project, cause, *begins, *ends).map(drop)?;
            }
            Order::GapExtends { gap, begins, ends } => self.buffer.gap_extends(*gap, *begins, *ends)?,
            Order::GapStands { gap, state, why } => self.buffer.gap_stands(*gap, *state, why.as_deref())?,
            Order::GapDeviceDone { gap, device, events } => self.buffer.gap_device_done(*gap, device, *events)?,
            Order::Reconciled { project, at } => self.buffer.reconciled(project, *at)?,
            Order::Devices(project, devices) => self.buffer.replace_devices(project, devices)?,
        }
        Ok(kept)
    }
}
