//! Import: events from NDJSON or Server-Sent Events, enveloped or bare, the same way as from a stream: collect, keep, roll.

mod form;
mod input;
mod utf16;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::base::time;
use crate::model::decode::{Collector, Found};
use crate::model::event::{CloudError, Source};
use crate::model::framing::Frame;
use crate::store::meter::Meter;
use crate::store::writer::{Claim, Command};

use super::{RecordError, Recorder};

pub use input::{Input, NoEvents};

/// Bytes read at a time: few, since what they cost in memory is looked at only behind them.
const READ: usize = 64 * 1024;

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

/// Reads an input to its end. `progress` is called with the bytes read since the last call, as they stand in the file.
///
/// # Errors
/// When the input does not read, or nothing can be kept. What came before is kept.
pub fn import(
    recorder: &Recorder,
    mut input: Input<'_>,
    name: &Path,
    mut progress: impl FnMut(u64),
) -> Result<Imported, RecordError> {
    let writer = recorder.writer();
    let mut collector = Collector::new(Arc::clone(&writer.registry), Source::Import);
    let mut imported = Imported::default();
    let mut bytes = vec![0; READ];
    loop {
        let read = input.read(&mut bytes);
        let received_at = time::now();
        let mut add = |frame: &Frame<'_>| match collector.add(frame, received_at) {
            Found::Event => imported.events += 1,
            Found::Fault => imported.faults += 1,
            Found::Ping => imported.passed += 1,
            Found::Error(said) => {
                let reason = format!("the cloud's word that a stream ended: {}", CloudError::read(&said));
                collector.refuse(frame, reason, received_at);
                imported.faults += 1;
            }
        };
        let mut take = |frame: Frame<'_>| match &frame {
            Frame::Line(line) if let Some(all) = form::together(line) => all.into_iter().for_each(|one| add(&Frame::Line(one))),
            _ => add(&frame),
        };
        match &read {
            Ok(0) => input.frames.end(&mut take),
            Ok(read) => input.frames.feed(&bytes[..*read], &mut take),
            // The beginning of a line is no line.
            Err(_) => {}
        }
        let is_over = !matches!(read, Ok(1..));
        if collector.is_full() || (is_over && !collector.is_empty()) {
            let batch = collector.take()?;
            writer.meter.update(|parts| parts.count(&batch));
            if writer.keep.blocking_send(Command::Keep(batch, Claim::Nothing)).is_err() {
                // The writer has failed; closing the recorder tells why.
                return Ok(imported);
            }
        }
        progress(input.progress());
        match read {
            Ok(0) => {
                Meter::add(&writer.meter.sessions, 1);
                return Ok(imported);
            }
            Ok(_) => {}
            Err(source) => return Err(RecordError::Input { path: name.to_owned(), source }),
        }
    }
}
