//! Lines into a batch: each event is read once, into the columns of its partition.
//!
//! What is read here is never parsed again: the buffer, the roll and the export work on columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::error::ArrowError;

use crate::base::json::Cursor;
use crate::base::text::printable;
use crate::base::time::{Day, Micros};
use crate::model::event::{Batch, Fault, Line, Misfit, Partition, Source};
use crate::model::framing::{Frame, LINE_MAX};
use crate::model::schema::{Columns, Registry, Row, Schema};
use crate::model::settings::Mask;

/// About what the columns of a partition take before they hold anything.
const PARTITION_BYTES: usize = 8 * 1024;
/// Characters of a value that did not fit its column.
const EXAMPLE: usize = 80;
/// Why a whole event can be no event.
const AFTER: &str = "not JSON: unexpected text after the event";

/// What a frame turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// An event, now part of the batch.
    Event,
    /// A sign of life, nothing to keep.
    Ping,
    /// The cloud's word that the stream ends, as it came; see [`crate::model::event::CloudError::read`].
    Error(String),
    /// No event; now among the batch's faults.
    Fault,
}

/// Collects events until they are taken as a batch.
#[derive(Debug)]
pub struct Collector {
    registry: Arc<Registry>,
    source: Source,
    types: HashMap<String, Open>,
    faults: Vec<Fault>,
    misfits: Vec<Misfit>,
    row: Row,
    events: usize,
    bytes: usize,
    last_time: Option<Micros>,
    target: Option<(String, String)>,
}

/// An event type's partitions that have rows in the batch.
#[derive(Debug)]
struct Open {
    schema: Arc<Schema>,
    event_type: Arc<str>,
    days: Vec<(Day, Columns)>,
}

impl Collector {
    /// Collects events of one source.
    pub fn new(registry: Arc<Registry>, source: Source) -> Self {
        Self {
            registry,
            source,
            types: HashMap::new(),
            faults: Vec::new(),
            misfits: Vec::new(),
            row: Row::default(),
            events: 0,
            bytes: 0,
            last_time: None,
            target: None,
        }
    }

    /// Number of events and faults collected so far.
    pub fn len(&self) -> usize {
        self.events + self.faults.len()
    }

    /// True when what is collected is a batch: enough events to make a commit cheap, few enough to stay in the cache.
    pub fn is_full(&self) -> bool {
        const EVENTS: usize = 5000;
        const BYTES: usize = 4 * 1024 * 1024;
        self.len() >= EVENTS || self.bytes >= BYTES
    }

    /// True when nothing is collected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes of memory what was collected so far takes: its JSON, and what a partition costs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Time of the event that came last.
    pub fn last_time(&self) -> Option<Micros> {
        self.last_time
    }

    /// Project and device of a pushed event that was just taken, if it has both.
    pub fn target(&self) -> Option<(&str, &str)> {
        self.target.as_ref().map(|(project, device)| (project.as_str(), device.as_str()))
    }

    /// Takes a frame of a stream.
    pub fn add(&mut self, frame: &Frame<'_>, received_at: Micros) -> Found {
        self.target = None;
        match frame {
            Frame::TooLong(head, length) => {
                self.bytes += head.len();
                let reason = format!("a line of more than {LINE_MAX} bytes is too long; its beginning is kept");
                self.fault(reason, head, *length, received_at)
            }
            Frame::Line(line) => {
                self.bytes += line.len();
                match self.line(line, received_at) {
                    Ok(found) => found,
                    Err(reason) => self.fault(reason, line, line.len() as u64, received_at),
                }
            }
        }
    }

    /// Takes what was collected.
    ///
    /// # Errors
    /// When Arrow refuses the columns, which would be a fault of the program.
    pub fn take(&mut self) -> Result<Batch, ArrowError> {
        let mut parts = Vec::new();
        for open in self.types.values_mut() {
            for (day, columns) in open.days.drain(..) {
                let partition = Partition { event_type: Arc::clone(&open.event_type), day };
                parts.push((partition, columns.finish()?));
            }
        }
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        self.events = 0;
        self.bytes = 0;
        let (faults, misfits) = (std::mem::take(&mut self.faults), std::mem::take(&mut self.misfits));
        Ok(Batch { parts, faults, misfits, devices: Vec::new() })
    }

    /// The same, collected of a server that was sent secrets: what is no event may be what it was sent.
    ///
    /// # Errors
    /// When Arrow refuses the columns.
    pub fn take_masked(&mut self, mask: &Mask) -> Result<Batch, ArrowError> {
        let mut batch = self.take()?;
        for fault in &mut batch.faults {
            mask.bytes(&mut fault.raw);
            fault.reason = mask.text(&fault.reason);
        }
        for misfit in &mut batch.misfits {
            misfit.example = mask.text(&misfit.example);
        }
        Ok(batch)
    }

    fn line(&mut self, line: &[u8], received_at: Micros) -> Result<Found, String> {
        let line = std::str::from_utf8(line).map_err(|error| format!("not UTF-8 from byte {}", error.valid_up_to() + 1))?;
        if let Some(found) = Line::usual(line).and_then(|text| self.event(text, 2, received_at).ok()) {
            return Ok(found);
        }
        match Line::open(line).map_err(|error| format!("not JSON: {error}"))? {
            Line::Error(said) => Ok(Found::Error(said.to_owned())),
            Line::Event(text) => self.event(text, 0, received_at),
        }
    }

    /// Reads the event that a text begins with; so many bytes of its envelope follow it.
    fn event(&mut self, text: &str, closing: usize, received_at: Micros) -> Result<Found, String> {
        let registry = Arc::clone(&self.registry);
        let event_type = registry.event_type(text).map_err(|error| error.to_string())?;
        if event_type == "ping" {
            // Nothing of it is kept, so it must be a ping to its end.
            let mut cursor = Cursor::new(text);
            let end = cursor.skip().map(|_| cursor.position()).map_err(|error| format!("not JSON: {error}"))?;
            return if end == text.len() - closing { Ok(Found::Ping) } else { Err(AFTER.to_owned()) };
        }
        let open = if let Some(open) = self.types.get_mut(event_type.as_ref()) {
            open
        } else {
            let schema = registry.admit(&event_type).map_err(|surplus| surplus.to_string())?;
            let open = Open { schema, event_type: event_type.as_ref().into(), days: Vec::new() };
            self.types.entry(event_type.clone().into_owned()).or_insert(open)
        };
        let end = self.row.read(&open.schema, text).map_err(|error| error.to_string())?;
        if end != text.len() - closing {
            return Err(AFTER.to_owned());
        }
        let event = &text[..end];
        let day = Day::of(self.row.time);
        let at = if let Some(at) = open.days.iter().position(|(open, _)| *open == day) {
            at
        } else {
            self.registry.admit_day(&open.event_type, day, received_at).map_err(|surplus| surplus.to_string())?;
            self.bytes += PARTITION_BYTES;
            open.days.push((day, Columns::new(&open.schema)));
            open.days.len() - 1
        };
        open.days[at].1.push(&self.row, event.trim_end(), received_at, self.source.name());
        for (column, value) in self.row.misfits(&open.schema) {
            let example = printable(value.of(event), EXAMPLE);
            let is_it = |misfit: &&mut Misfit| misfit.event_type == open.event_type && misfit.column == column;
            if let Some(misfit) = self.misfits.iter_mut().find(is_it) {
                (misfit.events, misfit.last_at, misfit.example) = (misfit.events + 1, received_at, example);
            } else {
                let (event_type, column) = (Arc::clone(&open.event_type), column.to_owned());
                self.misfits.push(Misfit { event_type, column, events: 1, last_at: received_at, example });
            }
        }
        // Only a push says more of a device than its name.
        if self.source == Source::Push {
            self.target = self.row.target(event).map(|(project, device)| (project.to_owned(), device.to_owned()));
        }
        self.events += 1;
        self.last_time = Some(self.row.time);
        Ok(Found::Event)
    }

    /// Keeps a frame as a fault that was taken for something else.
    pub fn refuse(&mut self, frame: &Frame<'_>, reason: String, received_at: Micros) {
        let (Frame::Line(raw) | Frame::TooLong(raw, _)) = frame;
        self.fault(reason, raw, raw.len() as u64, received_at);
    }

    fn fault(&mut self, reason: String, raw: &[u8], length: u64, at: Micros) -> Found {
        self.faults.push(Fault { at, source: self.source, reason, length, raw: raw.to_owned() });
        Found::Fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOUCH: &str = r#"{"eventId":"i1","targetName":"projects/p/devices/d","eventType":"touch","data":{"touch":{"updateTime":"2022-02-10T12:42:13.313949Z"}},"timestamp":"2022-02-10T12:42:13.313949Z"}"#;

    fn collector() -> Collector {
        Collector::new(Arc::new(Registry::built_in().unwrap()), Source::Stream)
    }

    fn add(collector: &mut Collector, line: &str) -> Found {
        collector.add(&Frame::Line(line.as_bytes()), 5)
    }

    #[test]
    fn enveloped_and_bare_events_are_the_same_event() {
        let mut collector = collector();
        for line in [
            TOUCH.to_owned(),
            format!("{{\"result\":{{\"event\":{TOUCH}}}}}"),
            format!(" {{\"event\": {TOUCH} }} "),
            format!("{{\"result\":{{\"event\":{TOUCH},\"labels\":{{}}}}}}"),
        ] {
            assert_eq!(add(&mut collector, &line), Found::Event, "{line}");
        }
        let batch = collector.take().unwrap();
        assert_eq!(batch.events(), 4);
        assert_eq!(batch.parts.len(), 1);
        assert_eq!(batch.parts[0].0.to_string(), "touch 2022-02-10");
        let raw = batch.parts[0].1.column_by_name("raw").unwrap();
        assert_eq!(raw.null_count(), 4);
    }

    #[test]
    fn a_ping_is_a_sign_of_life_and_an_error_ends_the_stream() {
        let mut collector = collector();
        let ping = r#"{"result":{"event":{"eventId":"c","targetName":"projects/p","eventType":"ping","data":null,"timestamp":"2021-04-21T07:50:30.604786Z"}}}"#;
        assert_eq!(add(&mut collector, ping), Found::Ping);
        assert!(matches!(add(&mut collector, r#"{"error":{"code":4,"message":"x"}}"#), Found::Error(_)));
        assert!(collector.take().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_event_is_a_fault_with_its_reason_and_its_bytes() {
        let lines: [(&[u8], &str); 12] = [
            (b"junk", "not JSON"),
            (b"{\"result\":{\"event\":junk}}", "not JSON"),
            (br#"{"result":{"event":{"eventId":"a","eventType":"touch","timestamp":"2022-02-10T12:42:13Z"}x}}"#, "not JSON"),
            (b"\xff\xfe", "not UTF-8"),
            (b"[1,2]", "expected an object"),
            (b"42", "expected an object"),
            (b"{}", "no event type"),
            (br#"{"eventId":"a","eventType":7,"timestamp":"2022-02-10T12:42:13Z"}"#, "no event type"),
            (br#"{"eventId":"a","eventType":"","timestamp":"2022-02-10T12:42:13Z"}"#, "no event type"),
            (br#"{"eventId":"","eventType":"touch","timestamp":"2022-02-10T12:42:13Z"}"#, "no event id"),
            (br#"{"eventType":"touch","timestamp":"2022-02-10T12:42:13Z"}"#, "no event id"),
            (br#"{"eventId":"a","eventType":"touch","timestamp":"yesterday"}"#, "no event time"),
        ];
        let mut collector = collector();
        for (line, _) in lines {
            assert_eq!(collector.add(&Frame::Line(line), 5), Found::Fault, "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(collector.add(&Frame::TooLong(b"xx", 99), 5), Found::Fault);
        let faults = collector.take().unwrap().faults;
        assert_eq!(faults.len(), 13);
        for ((line, reason), fault) in lines.iter().zip(&faults) {
            assert!(fault.reason.contains(reason), "{} is not {reason}", fault.reason);
            assert_eq!(fault.raw, *line);
        }
    }
}
