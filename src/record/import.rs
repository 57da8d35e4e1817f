//! Import: events from NDJSON, enveloped or bare, the same way as from a stream: collect, keep, roll.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::collect::{Collector, Found};
use crate::event::{CloudError, Source};
use crate::keep::{Claim, Order};
use crate::meter::Meter;
use crate::time;
use crate::wire::{Frame, Lines};

use super::{RecordError, Recorder};

/// Bytes read at a time: few, since what they cost in memory is looked at only behind them.
const READ: usize = 64 * 1024;
/// Bytes of events in one commit.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
/// Events in one commit.
const COMMIT_EVENTS: usize = 5000;

/// What an import read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Events.
    pub events: u64,
    /// Lines that were no event.
    pub faults: u64,
    /// Pings of a recorded stream, which are nothing to keep.
    pub passed: u64,
}

/// Reads NDJSON to its end. `progress` is called with the bytes read since the last call.
///
/// # Errors
/// When the input does not read, or nothing can be kept.
pub fn import(
    recorder: &Recorder,
    mut input: impl Read,
    name: &Path,
    mut progress: impl FnMut(usize),
) -> Result<Imported, RecordError> {
    let outlet = recorder.outlet();
    let mut collector = Collector::new(Arc::clone(&outlet.registry), Source::Import);
    let mut lines = Lines::default();
    let mut imported = Imported::default();
    let mut bytes = vec![0; READ];
    loop {
        let read = input.read(&mut bytes).map_err(|source| RecordError::Input { path: name.to_owned(), source })?;
        let received_at = time::now();
        let mut take = |frame: Frame<'_>| match collector.add(&frame, received_at) {
            Found::Event => imported.events += 1,
            Found::Fault => imported.faults += 1,
            Found::Ping => imported.passed += 1,
            Found::Error(said) => {
                let reason = format!("the cloud's word that a stream ended: {}", CloudError::read(&said));
                collector.refuse(&frame, reason, received_at);
                imported.faults += 1;
            }
        };
        if read == 0 {
            lines.finish(&mut take);
        } else {
            lines.feed(&bytes[..read], &mut take);
        }
        if collector.len() >= COMMIT_EVENTS || collector.bytes() >= COMMIT_BYTES || (read == 0 && !collector.is_empty()) {
            let batch = collector.take()?;
            outlet.meter.update(|parts| {
                for (partition, rows) in &batch.parts {
                    *parts.by_type.entry(partition.event_type.to_string()).or_default() += rows.num_rows() as u64;
                }
            });
            if outlet.keep.blocking_send(Order::Keep(batch, Claim::Nothing)).is_err() {
                // The keeper has failed; closing the recorder tells why.
                return Ok(imported);
            }
        }
        if read == 0 {
            Meter::add(&outlet.meter.sessions, 1);
            return Ok(imported);
        }
        progress(read);
    }
}
