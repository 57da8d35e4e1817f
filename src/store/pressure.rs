//! What the threads of a recorder tell each other to act on: a full disk, a crowded buffer, a device that nobody listed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};

use crate::model::event::Batch;

/// Shared by the threads of one recorder.
#[derive(Debug, Default)]
pub struct Pressure {
    /// The disk is full: nothing is kept until there is room. The writer says so; rolls, receivers and a clean end go by it.
    pub full: AtomicBool,
    /// Events in the buffer: where there are many, rolls do not wait for their hour.
    pub buffered: AtomicI64,
    listed: Mutex<Listed>,
}

/// Devices that the cloud has listed, and whether one spoke that is not among them.
#[derive(Debug, Default)]
struct Listed {
    devices: HashSet<String>,
    is_stranger: bool,
}

impl Pressure {
    /// The cloud has listed these devices.
    pub fn list(&self, devices: impl IntoIterator<Item = String>) {
        self.lock().devices.extend(devices);
    }

    /// Looks for strangers in a batch.
    pub fn meet(&self, batch: &Batch) {
        let mut listed = self.lock();
        listed.is_stranger = listed.is_stranger || speaks_a_stranger(batch, &listed.devices);
    }

    /// Whether a device spoke that the cloud had not listed, since this was asked last.
    pub fn take_stranger(&self) -> bool {
        std::mem::take(&mut self.lock().is_stranger)
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        // What was listed stays right even if a thread died while it held it.
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
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
