//! Keep: the one writing connection takes orders. What is acknowledged here survives a crash.

use std::collections::HashMap;
use std::sync::mpsc::Sender;

use crate::buffer::{Buffer, BufferError};
use crate::event::{Batch, Partition};
use crate::time::Micros;

/// Something to do with the buffer.
#[derive(Debug)]
pub enum Order {
    /// Commit a batch.
    Keep(Batch),
    /// A day file holds the partition's rows up to this seq: delete them.
    Forget(Partition, i64),
    /// A session opened; the number is the caller's.
    Opened {
        /// Number of the session.
        session: u64,
        /// Its project.
        project: String,
    },
    /// A session gave a sign of life.
    Spoke(u64),
    /// A session ended.
    Closed {
        /// Number of the session.
        session: u64,
        /// Why it ended.
        cause: String,
    },
    /// Give freed space back to the disk.
    Tidy,
    /// Say that everything ordered before is done, by dropping this.
    Reach(Sender<()>),
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
            Order::Forget(partition, seq) => drop(self.buffer.forget(partition, *seq)?),
            Order::Tidy => self.buffer.tidy()?,
            // Whoever waits is told when the order is dropped.
            Order::Reach(_) => {}
            Order::Opened { session, project } => {
                let row = self.buffer.session_opened("stream", project, now)?;
                self.sessions.insert(*session, row);
            }
            Order::Spoke(session) => {
                if let Some(row) = self.sessions.get(session) {
                    self.buffer.session_spoke(*row, now)?;
                }
            }
            Order::Closed { session, cause } => {
                if let Some(row) = self.sessions.remove(session) {
                    self.buffer.session_closed(row, cause, now)?;
                }
            }
        }
        Ok(kept)
    }
}
