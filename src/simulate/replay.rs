//! Streams the events of a file: one JSON object a line, a bare event or one in the stream's envelope.

use super::SimulateError;
use super::batch::Batch;
use super::cloud::{Cloud, State};
use super::device::{Device, Family};
use super::query::instant;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// The lines of a replay file.
#[derive(Debug)]
pub(super) struct Replay {
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
    line: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    result: Option<Wrapped<'a>>,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

/// As much of an event as filters and history need.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Head<'a> {
    #[serde(borrow)]
    target_name: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
}

impl Replay {
    pub(super) fn open(path: &Path) -> Result<Self, SimulateError> {
        let failed = |source| SimulateError::Replay { path: path.to_owned(), source };
        let lines = BufReader::with_capacity(1 << 18, File::open(path).map_err(failed)?);
        Ok(Self { path: path.to_owned(), lines, number: 0, line: String::new() })
    }

    /// Up to `count` more events; an empty batch at the end of the file.
    pub(super) fn read(&mut self, count: usize, cloud: &Cloud) -> Result<Batch, SimulateError> {
        let mut batch = Batch::default();
        let mut state = cloud.state();
        while batch.len() < count {
            self.line.clear();
            self.number += 1;
            let read = self.lines.read_line(&mut self.line);
            let failed = |source| SimulateError::Replay { path: self.path.clone(), source };
            if read.map_err(failed)? == 0 {
                break;
            }
            let line = self.line.trim();
            if !line.is_empty() && !take(line, &mut state, &mut batch) {
                return Err(SimulateError::Line { path: self.path.clone(), line: self.number });
            }
        }
        Ok(batch)
    }
}

/// Adds one line's event. `false` when there is no JSON object.
fn take(line: &str, state: &mut State, batch: &mut Batch) -> bool {
    let event = match serde_json::from_str::<Line<'_>>(line) {
        Ok(Line { result: Some(wrapped) }) => wrapped.event.get(),
        Ok(Line { result: None }) if line.starts_with('{') => line,
        _ => return false,
    };
    // What is not even an event by its fields is streamed all the same: recorders must stand it.
    let head: Head<'_> = serde_json::from_str(event).unwrap_or_default();
    if head.event_type == "ping" {
        return true; // ours come by themselves
    }
    let id = head.target_name.rsplit_once("/devices/").map(|(_, id)| id);
    let device = id.map(|id| known(state, id, &head.event_type));
    batch.push_text(event, instant(&head.timestamp).unwrap_or(0), device, &head.event_type);
    true
}

/// The device of an event; the first event of a device makes it.
fn known(state: &mut State, id: &str, kind: &str) -> usize {
    let index = state.world.find(id).unwrap_or_else(|| {
        let labels = BTreeMap::from([("name".to_owned(), format!("Replayed {id}"))]);
        state.world.add(Device::bare(id.to_owned(), Family::Unknown, labels, false))
    });
    if let Some(device) = state.world.devices.get_mut(index)
        // Humidity alone says less than humidity beside carbon dioxide.
        && matches!(device.family, Family::Unknown | Family::Humidity)
    {
        device.family = match Family::of_event(kind) {
            Family::Unknown => device.family,
            family => family,
        };
    }
    index
}
