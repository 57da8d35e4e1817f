//! What a running recorder can tell of itself: counts, times, notes. Written by its threads, read by whoever shows it.

mod bounded;
mod histogram;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::time::{self, Micros};
use crate::model::event::Batch;
use crate::serve::Told;

use super::pressure::Pressure;

pub use bounded::{Bounded, OTHER};
pub use histogram::{Counted, Histogram};

/// Notes that nobody has read yet; older ones give way.
const NOTES_MAX: usize = 200;

/// Event types that are counted apart.
const TYPES: usize = 64;

/// Shared by the threads of one recorder.
#[derive(Debug, Default)]
pub struct Meter {
    /// What it is not only told of, but acts on.
    pub pressure: Pressure,
    /// Events committed to the buffer.
    pub kept: AtomicU64,
    /// Faults committed to the buffer.
    pub faults: AtomicU64,
    /// Events that came to a day file.
    pub rolled: AtomicU64,
    /// Events that the day file had already.
    pub doubles: AtomicU64,
    /// Sessions opened.
    pub sessions: AtomicU64,
    /// Of these, sessions of a receiver.
    pub push_sessions: AtomicU64,
    /// Pings received.
    pub pings: AtomicU64,
    /// Pushes acknowledged.
    pub pushes: AtomicU64,
    /// Pushes refused.
    pub refused: AtomicU64,
    /// Times that thread "keep" has turned: an order carried out, or a look whether there is room again.
    pub turns: AtomicU64,
    /// Times that the source had to wait because the queue to the buffer was full.
    pub waits: AtomicU64,
    /// When events were committed last, 0 before the first.
    pub last_kept: AtomicI64,
    /// How long commits of events took.
    pub commits: Histogram,
    /// From an event's own time to its commit, of what a stream or a push brought.
    pub delays: Histogram,
    /// When the last roll ended, 0 before the first.
    pub last_roll: AtomicI64,
    /// Errors of rolls.
    pub roll_errors: AtomicU64,
    parts: Mutex<Parts>,
}

/// A receiver tells what it refuses.
impl Told for Meter {
    fn note(&self, text: String) {
        Self::note(self, time::now(), text);
    }

    fn refused(&self) {
        Self::add(&self.refused, 1);
    }
}

/// What does not fit an atomic.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Events that came, by type, as the live lines show them: those of a stream from when they are handed over, before their commit.
    pub by_type: BTreeMap<String, u64>,
    /// Events committed to the buffer, by type.
    pub committed: Bounded<TYPES>,
    /// Pushes refused, by the status of the answer.
    pub refused_pushes: BTreeMap<u16, u64>,
    /// The last sign of life of each project that is noted.
    pub signs: BTreeMap<String, Micros>,
    /// Projects whose pushes are received.
    pub pushing: BTreeSet<String>,
    /// Time of the event that came last.
    pub last_event: Option<Micros>,
    /// Since when each project is connected; none while it is not.
    pub connected: BTreeMap<String, Option<Micros>>,
    /// Where pushes are received; none where they are not.
    pub listening: Option<String>,
    /// Devices of a backfill that are done, and how many there are; none while there is no backfill.
    pub backfill: Option<(u64, u64)>,
    notes: VecDeque<(Micros, String)>,
}

impl Parts {
    /// Counts the events of a batch.
    pub fn count(&mut self, batch: &Batch) {
        for (partition, rows) in &batch.parts {
            *self.by_type.entry(partition.event_type.to_string()).or_default() += rows.num_rows() as u64;
        }
    }
}

impl Meter {
    /// Adds to a count.
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Reads a count.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Changes what does not fit an atomic.
    pub fn update(&self, change: impl FnOnce(&mut Parts)) {
        change(&mut self.lock());
    }

    /// Notes since when a project is connected; none while it is not.
    pub fn connected(&self, project: &str, since: Option<Micros>) {
        self.lock().connected.insert(project.to_owned(), since);
    }

    /// Notes how far a backfill is.
    pub fn backfill(&self, devices: Option<(u64, u64)>) {
        self.lock().backfill = devices;
    }

    /// Reads what does not fit an atomic, without a copy of it.
    pub fn read<T>(&self, read: impl FnOnce(&Parts) -> T) -> T {
        read(&self.lock())
    }

    /// A copy of what does not fit an atomic.
    pub fn parts(&self) -> Parts {
        self.lock().clone()
    }

    /// Notes something that people should see, such as a reconnect.
    pub fn note(&self, at: Micros, text: impl Into<String>) {
        let mut parts = self.lock();
        if parts.notes.len() == NOTES_MAX {
            parts.notes.pop_front();
        }
        parts.notes.push_back((at, text.into()));
    }

    /// Takes the notes that were not taken yet.
    pub fn take_notes(&self) -> Vec<(Micros, String)> {
        self.lock().notes.drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // Counts stay useful even if a thread died while it held them.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
